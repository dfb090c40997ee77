"""What is imported without torch's compiler, and that it can be imported later."""

from __future__ import annotations

import logging
import sys
from types import NoneType

import pytest

from harness.without_compiler import FLOP_COUNTER, import_flop_counter


def test_the_counter_of_operations_does_without_triton_which_stays_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [FLOP_COUNTER, *(name for name in sys.modules if name.partition(".")[0] == "triton")]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    counter = import_flop_counter()
    assert getattr(counter, "_JITFunction", NoneType) is NoneType  # torch 2.10 counts no kernels of Triton
    assert "triton" not in sys.modules  # neither imported nor left hidden
    assert not logging.getLogger(FLOP_COUNTER).disabled
    assert import_flop_counter() is counter
