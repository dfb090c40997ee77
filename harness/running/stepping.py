"""Steps configs for some seconds each, for a forecast: with their data, loader, precision and micro-batches.

Nothing is kept. The steps are those of `harness.training.loop`, timed by the clock of a run in several short blocks.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, parse_flag_from_env

from harness import registry
from harness.data.prepare import Splits, prepare
from harness.errors import HarnessError
from harness.forecast.stepped import Block, Stepped, SteppingLine
from harness.launching.launch_folder import launching_process
from harness.launching.manifest import MANIFEST_FILE, Manifest
from harness.measure.clock import Stopwatch, TrainClock
from harness.measure.memory import PeakMemory, is_out_of_memory, keep_freed_memory, release_freed_memory
from harness.measure.telemetry import Sampler
from harness.measure.torch_probe import probe
from harness.measure.usable_gpus import has_usable_gpu
from harness.records.result import Memory
from harness.running.execute import Ready, make_ready
from harness.running.one_run import decodes_itself
from harness.running.rehearsal import free_graphs
from harness.suite.plan import PlannedRun
from harness.training.distributed import sum_tally
from harness.training.loop import Batches, Diverged, EpochSoFar, begin_epoch, evaluate, train_epoch
from harness.training.telemetry_sampler import open_telemetry_sampler

T = TypeVar("T")
BLOCKS, LEAST_BLOCKS = 8, 3  # no fewer than an interval needs
UNTIMED_SHARE = 0.1  # of the time, for first steps
EVALUATION_SHARE = 0.2
LOOK_EVERY_SECONDS = 0.5  # whether the caller is still there
LEAST_SECONDS = 0.2  # of stepping, however little time is left: building took the rest


def step_configs(folder: Path, seconds: float, started: float) -> int:
    """Steps each run of the manifest in a folder, and writes what it measured there, a line each.

    Args:
        folder: with the manifest.
        seconds: for all of them; a config that it does not come to has no line.
        started: the moment at which this process was started, by the clock that all processes share.
    """
    manifest = Manifest.read(folder / MANIFEST_FILE)
    keep_freed_memory()
    registry.load(manifest.plugins)
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not has_usable_gpu(probe())
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="no", dynamo_backend="no")
    torch.zeros(1, device=accelerator.device)  # the device is opened now, and not by the first config
    is_main, several = accelerator.is_main_process, accelerator.num_processes > 1
    if is_main:
        SteppingLine(started_seconds=time.monotonic() - started).write(folder)
    end = time.monotonic() + seconds
    for place, run in enumerate(manifest.runs):
        now = time.monotonic()
        if not _agreed(now < end):
            break
        if is_main:
            SteppingLine(begins=run.config_id).write(folder)
        stepped = _step(run, accelerator, now + (end - now) / (len(manifest.runs) - place))
        if is_main or (several and not stepped.blocks):
            SteppingLine(stepped=stepped).write(folder)
        if several and not stepped.blocks:
            os._exit(
                1
            )  # the other ranks may wait for this one: the launcher ends them, and another launch does the rest
    return 0


def _agreed(told: T) -> T:
    """Returns what rank 0 was told."""
    return broadcast_object_list([told])[0]


def _step(run: PlannedRun, accelerator: Accelerator, end: float) -> Stepped:
    """Steps a config until a moment of the monotonic clock; what goes wrong is told in the answer."""
    try:
        return step_config(run, accelerator, end)
    except HarnessError as error:
        problem, hint = error.message, error.hint
    except Exception as error:
        first, hint = str(error).partition("\n")[0], ""
        problem = f"out of memory: {first}" if is_out_of_memory(error) else f"{type(error).__name__}: {first}"
    release_freed_memory(accelerator.device)  # here, where the error and what it holds are gone
    return Stepped(config_id=run.config_id, problem=problem, hint=hint)


def step_config(run: PlannedRun, accelerator: Accelerator, end: float) -> Stepped:
    """Builds a run and steps it until a moment of the monotonic clock.

    Raises:
        HarnessError: its data are missing, or this machine cannot build it.
    """
    device, began = accelerator.device, time.perf_counter()
    with accelerator.local_main_process_first():  # what it decodes is kept on disk for the others
        splits = prepare(run.spec.data, encoded=decodes_itself(run.spec), planned=run.fingerprint)
    data_seconds = max(0.0, time.perf_counter() - began - splits.decode_seconds)  # decoded images are kept on disk
    release_freed_memory(device)
    stopwatch = Stopwatch(device)
    ready = make_ready(run.spec, splits, accelerator, stopwatch, lambda step: None)
    try:
        peaks = ready.peaks or PeakMemory(device)
        with open_telemetry_sampler(accelerator, launching_process()) as telemetry:
            steps = _Steps(ready, telemetry)
            steps.step_until(end)
            eval_seconds = _time_evaluation(ready, splits, stopwatch, end)
        memory, _ = peaks.read()
    finally:
        ready.loader.close()
        free_graphs(ready.train, device)
        accelerator.free_memory()
    on_gpu = device.type == "cuda"
    return Stepped(
        config_id=run.config_id,
        problem=steps.problem,
        blocks=tuple(steps.blocks),
        first_seconds=steps.first_seconds(),
        samples_per_epoch=sum(ready.sampler.sizes),
        steps_per_epoch=len(ready.sampler.sizes),
        eval_seconds=eval_seconds,
        data_seconds=data_seconds,
        build_seconds=stopwatch.seconds["build"],
        compile_seconds=stopwatch.seconds.get("compile", 0.0),
        joules_per_sample=steps.joules_per_sample(),
        peak_bytes=_peak(memory, on_gpu=on_gpu),
        device_bytes=torch.cuda.mem_get_info(device)[1] if on_gpu else psutil.virtual_memory().total,
        device="cuda" if on_gpu else "cpu",
        micro_batch_size=ready.train.micro_batch_size,
    )


class _Steps:
    """The steps of one config, in blocks, each timed as a part of an epoch is; epochs begin as in a run.

    Attributes:
        blocks: after the untimed steps.
        problem: that the loss is not finite.
    """

    def __init__(self, ready: Ready, telemetry: Sampler) -> None:
        self._ready, self._telemetry = ready, telemetry
        self._clock = TrainClock(ready.train_state.accelerator.device, 0)
        self._so_far = begin_epoch(ready.train_state, 0)
        self._batches = ready.loader.epoch(0, 0)
        self._first = Block(0.0, 0)
        self._joules: float | None = 0.0
        self._step_seconds = 0.0
        self.blocks: list[Block] = []
        self.problem = ""

    def step_until(self, end: float) -> None:
        """Steps until a moment of the monotonic clock, and a few blocks at least; a step that has begun is ended."""
        left = max(LEAST_SECONDS, (end - time.monotonic()) * (1 - EVALUATION_SHARE))
        end = time.monotonic() + left
        self._first = self._block(left * UNTIMED_SHARE)
        while _agreed(len(self.blocks) < LEAST_BLOCKS or time.monotonic() < end):
            self.blocks.append(self._block(left * (1 - UNTIMED_SHARE) / BLOCKS))

    def first_seconds(self) -> float:
        """Returns what the first steps took longer than as many later ones."""
        seconds, samples = (sum(column) for column in zip(*self.blocks, strict=True))
        return max(0.0, self._first.seconds - self._first.samples * seconds / samples)

    def joules_per_sample(self) -> float | None:
        """Returns the energy of the GPUs for an image, by that of rank 0's; None where it cannot be read."""
        gpus = self._ready.train_state.accelerator.num_processes
        samples = sum(block.samples for block in (self._first, *self.blocks))
        return None if self._joules is None else self._joules * gpus / samples

    def _block(self, seconds: float) -> Block:
        """Makes steps for so many seconds, and one at least."""
        end, taken, samples = time.monotonic() + seconds, 0.0, 0
        while steps := _agreed(self._steps_until(end, least=not samples)):
            so_far, before = self._so_far, self._so_far.batch
            with self._telemetry.training() as part, self._noting_divergence():
                self._train(so_far, end, steps)
            so_far.add_joules(part.joules)
            self._joules = None if self._joules is None or part.joules is None else self._joules + part.joules
            took = self._clock.last_part().train_seconds
            self._step_seconds = took / max(1, so_far.batch - before)
            taken += took
            samples += sum(self._ready.sampler.sizes[before : so_far.batch])
            if so_far.batch == len(self._ready.sampler.sizes):
                self._begin_epoch((so_far.epoch + 1) % self._ready.train.epochs)
        return Block(taken, samples)

    def _steps_until(self, end: float, *, least: bool) -> int:
        """Returns how many steps fit until a moment: one process looks at the clock, several make as many each."""
        left = end - time.monotonic()
        if left <= 0:
            return int(least)
        return max(1, int(left / self._step_seconds)) if self._step_seconds else 1

    def _train(self, so_far: EpochSoFar, end: float, steps: int) -> None:
        accelerator, last = self._ready.train_state.accelerator, so_far.batch + steps

        def pauses() -> bool:
            return so_far.batch >= last if accelerator.num_processes > 1 else time.monotonic() >= end

        train_epoch(self._ready.train_state, self._batches, self._ready.sampler.sizes, so_far, self._clock, pauses)

    def _begin_epoch(self, epoch: int) -> None:
        self._so_far = begin_epoch(self._ready.train_state, epoch)
        self._batches = self._ready.loader.epoch(epoch, 0)

    @contextlib.contextmanager
    def _noting_divergence(self) -> Iterator[None]:
        try:
            yield
        except Diverged as error:  # after its block was timed: steps take as long with such a loss
            self.problem = self.problem or f"{error}: a run of it ends there"


def _time_evaluation(ready: Ready, splits: Splits, stopwatch: Stopwatch, end: float) -> float:
    """Returns the seconds of one evaluation of all splits: of as many batches as there is time for, and one at least,
    in proportion to the images."""
    state, train = ready.train_state, ready.train
    evaluated = splits.evaluated(train=train.evaluate_train)
    split, seen = evaluated[-1][1], []

    def for_a_while() -> Batches:
        for images, labels in ready.loader.evaluation(split, train.eval_batch_size):
            seen.append(len(labels))
            yield images, labels
            if time.monotonic() >= end:
                return

    with stopwatch("eval"):
        tally, _ = evaluate(state, for_a_while())
        sum_tally(state.accelerator, tally).metrics()
    done = sum(seen) * state.accelerator.num_processes
    return stopwatch.seconds["eval"] * sum(len(split.labels) for _, split in evaluated) / done


def _peak(memory: Memory, *, on_gpu: bool) -> int | None:
    return memory.max_reserved_bytes if on_gpu else memory.host_rss_bytes


def main(folder: str, seconds: str, caller: str, started: str) -> int:
    """Is the stepping process; the caller reads its lines, and what its stderr says where it died.

    Args:
        folder, seconds, started: see `step_configs`.
        caller: the process without which this one ends.
    """
    threading.Thread(target=_end_with, args=(int(caller),), daemon=True, name="parent").start()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as of a run; read when CUDA starts
    return step_configs(Path(folder), float(seconds), float(started))


def _end_with(caller: int) -> None:
    parent = os.getppid()  # the caller, or a launcher that it started
    while os.getppid() == parent and psutil.pid_exists(caller):
        time.sleep(LOOK_EVERY_SECONDS)
    os._exit(1)
