"""The trained network in use, timed on the device that trained it, after the training and on a clock of its own."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from harness.compiled import compile_for_each_shape
from harness.launching.launch_folder import launching_process
from harness.measure.clock import Stopwatch
from harness.measure.disturbance import judge
from harness.measure.inference import LEAST_TIMED, LONGEST_SECONDS, time_forward
from harness.measure.memory import release_freed_memory
from harness.measure.recorded import recorded
from harness.records.result import ForwardPass, Inference, Measurements
from harness.running.build import black_images
from harness.running.rehearsal import free_graphs
from harness.spec import ImageShape, TrainSection
from harness.training.precision import autocast
from harness.training.telemetry_sampler import open_telemetry_sampler

MOST_IMAGES = 8192  # in a batch on a GPU; on a CPU as many as the run's evaluation: there memory ends a process
EAGER_ONLY = "the config does not compile: the numbers of `inference` are those"
TOO_SLOW = f"fewer than {LEAST_TIMED} images were timed in {LONGEST_SECONDS:g} s"
NULL = "inference"


@dataclass(frozen=True)
class InUse:
    """What timing came to.

    Attributes:
        inference: None where it was not, or could not be, measured.
        unavailable: the reason of each null, by the record's field.
        seconds: that it took.
    """

    inference: Inference | None
    unavailable: dict[str, str]
    seconds: float = 0.0

    def add_to(self, measured: Measurements) -> None:
        """Writes it into what was measured of the run."""
        measured.inference = self.inference
        for name in [name for name in measured.unavailable if name.partition(".")[0] == NULL]:
            del measured.unavailable[name]
        measured.unavailable |= self.unavailable
        measured.clock.inference_seconds = (measured.clock.inference_seconds or 0.0) + self.seconds


def measure_inference(
    network: nn.Module, train: TrainSection, image: ImageShape, mixed_precision: str, accelerator: Accelerator
) -> InUse:
    """Times the network; every rank calls it, and the first measures while the others wait.

    Numbers that others disturbed are null, by the limits that hold for training.

    Args:
        network: trained, on the device, in its memory format.
        train: how it was trained: compiled or not.
        image: as the network sees it.
        mixed_precision: that it was trained in.
        accelerator: tells the device and the rank.
    """
    device, stopwatch = accelerator.device, Stopwatch(accelerator.device)
    telemetry = open_telemetry_sampler(accelerator, launching_process())
    with telemetry:
        if not accelerator.is_main_process:
            return InUse(None, {})
        release_freed_memory(device)
        try:
            with stopwatch("inference"), telemetry.training():
                inference = _measure(network.eval(), train, image, mixed_precision, device)
        except Exception as error:  # no rank waits inside: a run that is trained does not end for it
            message = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300]
            return InUse(None, {NULL: message}, stopwatch.seconds["inference"])
        finally:
            free_graphs(train, device)
    seconds = stopwatch.seconds["inference"]
    sampled = recorded(telemetry.readings, None, 1).telemetry
    if disturbed := judge(telemetry.readings, sampled, uses_gpu=device.type == "cuda").sentences:
        return InUse(None, {NULL: f"disturbed: {'; '.join(disturbed)}"}, seconds)
    unavailable = {f"{NULL}.latency_p99_seconds": TOO_SLOW} if inference.latency_p99_seconds is None else {}
    if inference.eager is None:
        unavailable[f"{NULL}.eager"] = EAGER_ONLY
    elif inference.eager.latency_p99_seconds is None:
        unavailable[f"{NULL}.eager.latency_p99_seconds"] = TOO_SLOW
    return InUse(inference, unavailable, seconds)


def _measure(
    network: nn.Module, train: TrainSection, image: ImageShape, mixed_precision: str, device: torch.device
) -> Inference:
    precision = autocast(mixed_precision, device)

    def images(size: int) -> Tensor:
        # Not black: a GPU multiplies zeros with less power, and faster.
        return black_images(size, image, train, mixed_precision, device).normal_()

    def forward(model: nn.Module, batch: Tensor) -> Tensor:
        with precision:
            return model(batch)

    def timed(model: nn.Module, *sizes: int) -> ForwardPass:
        def synchronize() -> None:
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return time_forward(functools.partial(forward, model), images, synchronize, sizes)

    most = MOST_IMAGES if device.type == "cuda" else train.eval_batch_size
    eager = timed(network, *(2**power for power in range(most.bit_length())))
    if not train.compile:
        return Inference(**dict(eager), compiled=False)
    compiled = compile_for_each_shape(network, None if train.compile is True else train.compile)
    # Each size is compiled anew: it is not searched for again.
    return Inference(**dict(timed(compiled, eager.batch_size or 1)), compiled=True, eager=eager)
