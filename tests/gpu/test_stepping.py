"""The steps of a forecast, on the stand-in for a GPU."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from accelerate import Accelerator

from harness.forecast.stepped import Stepped
from harness.measure.telemetry import Part
from harness.running import stepping
from harness.running.stepping import BLOCKS, LEAST_BLOCKS, step_config
from harness.suite.plan import PlannedRun
from tests.gpu.stand_in import stand_in_gpu
from tests.running.test_execute import make_spec


def step(seconds: float, **sections: Any) -> Stepped:
    spec = make_spec(loader={"name": "resident", "compile": False}, **sections)
    with stand_in_gpu():
        run = PlannedRun(spec=spec, config_id="a", run_id="", fingerprint="")
        return step_config(run, Accelerator(), time.monotonic() + seconds)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_blocks_are_timed_by_the_device_and_its_memory_is_read(seconds: float) -> None:
    found = step(seconds)
    assert found.device == "cuda" and not found.problem
    assert LEAST_BLOCKS <= len(found.blocks) <= BLOCKS + 2
    assert all(block.seconds > 0 and block.samples > 0 for block in found.blocks)
    assert found.peak_bytes and found.device_bytes and found.peak_bytes < found.device_bytes
    assert found.joules_per_sample is None, "the stand-in has no NVML"
    assert found.eval_seconds > 0 and found.build_seconds > 0


class Metered(contextlib.nullcontext):
    """A sampler whose GPU took 64 joules in each part of training."""

    def __enter__(self) -> Metered:
        return self

    @contextlib.contextmanager
    def training(self) -> Iterator[Part]:
        yield Part(joules=64.0)


def test_joules_are_those_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "open_telemetry_sampler", lambda *_: Metered())
    found = step(0.0, train={"global_batch_size": 64, "drop_last": True})
    assert found.joules_per_sample and 0 < found.joules_per_sample <= 1.0  # a part has a step of 64 images or more
