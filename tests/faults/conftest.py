"""What every fault test uses: it counts the faults that were injected, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.report import FAULT, FIGURE


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Counts a fault that the test has injected; each name is a row of the table that `make test-faults` ends with.

        fault("SIGKILL in mid-run", survived=weights_are_equal, seconds_lost=1.9, steps_lost=7)

    Call it once for each fault, after it is known what became of it. The test fails in the end where one was not
    survived, and the faults of a test that fails count as not survived; one that fails before its first call counts
    as one. `survived`: no finished number was lost and no wrong one appeared. `seconds_lost`: of work that was done
    again, or of waiting; `steps_lost`: optimizer steps that were done again. Leave out what was not measured.
    """
    lost: list[str] = []

    def count(
        name: str, *, survived: bool, seconds_lost: float | None = None, steps_lost: int | None = None, times: int = 1
    ) -> None:
        values: dict[str, Any] = {"name": name, "survived": bool(survived)}
        values |= {"seconds_lost": seconds_lost, "steps_lost": steps_lost}
        request.node.user_properties.extend([(FAULT, values)] * times)
        if not survived:
            lost.append(name)

    yield count
    assert not lost, f"not survived: {', '.join(lost)}"


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Notes a figure for `faults.json`, with its unit in its name: `figure("hang_noticed_after_seconds", 4.1)`.

    Several values of one name, also of several tests, are kept each.
    """

    def note(name: str, value: float) -> None:
        request.node.user_properties.append((FIGURE, {"name": name, "value": value}))

    return note
