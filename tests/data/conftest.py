"""What tests of data share."""

from __future__ import annotations

import pytest

from tests.data.feeds import write_photographs


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of JPEG files, which no test may change."""
    return write_photographs(tmp_path_factory.mktemp("photographs"))
