"""A run that is thrown away: the first of a launch would otherwise pay for what a cold machine loads and speeds up."""

from __future__ import annotations

import contextlib
import math
import time

from accelerate import Accelerator

from harness.data.prepare import Splits
from harness.running.execute import Observer, execute
from harness.running.stop_request import StopRequest
from harness.spec import RunSpec
from harness.training.epochs import Stopped
from harness.training.loop import Diverged

GPU_SECONDS = 10.0  # clocks rise, kernels are loaded; on a CPU a first run took no longer than a later one


def warm_up_seconds(asked: float | None, device_type: str) -> float:
    """Returns how long to warm up: as the suite asks, or the device's default."""
    if asked is not None:
        return asked
    return GPU_SECONDS if device_type == "cuda" else 0.0


def warm_up(spec: RunSpec, splits: Splits, accelerator: Accelerator, stop: StopRequest, seconds: float) -> None:
    """Trains for some seconds as the run would, or to its end, and keeps nothing; every rank calls it.

    Raises:
        HarnessError: this machine cannot build the config, as `execute`.
    """
    end = math.inf

    def on_step(step: int) -> None:
        nonlocal end
        end = min(end, time.monotonic() + seconds)  # from the first step on: loaders and networks were compiled before

    train = spec.train.model_copy(update={"compile": False})  # it takes minutes, and is no part of the train time
    observer = Observer(on_step, lambda epoch: None, stop_requested=lambda: stop() or time.monotonic() > end)
    with contextlib.suppress(Stopped, Diverged):
        execute(spec.model_copy(update={"train": train}), splits, accelerator, observer, fingerprint="")
