"""The epochs of a run: train, pause for checkpoints, evaluate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from harness.data.loading import Loader
from harness.data.prepare import Splits
from harness.measure.clock import Stopwatch, TrainClock
from harness.measure.telemetry import Sampler
from harness.records.result import Metrics
from harness.training.checkpoint_state import Progress
from harness.training.distributed import agree_on_time, average_buffers, gather_predictions, sum_tally
from harness.training.history import Epoch
from harness.training.loop import TrainState, begin_epoch, evaluate, train_epoch
from harness.training.step_control import StepAction, StepControl
from harness.training.telemetry_sampler import sum_joules


class Stopped(Exception):
    """A signal asked the run to stop. Every rank raises it, after the same step.

    Attributes:
        step: optimizer steps done.
        kept: whether a checkpoint holds them.
    """

    def __init__(self, step: int, *, kept: bool) -> None:
        super().__init__(f"stopped after {step} steps")
        self.step = step
        self.kept = kept


class Lost(Exception):
    """Another process has taken the run over. Every rank raises it, after the same step; nothing is saved."""


@dataclass
class Evaluated:
    """What the last evaluation saw.

    Attributes:
        confusion: int64 [C, C] by split; rows are labels, columns predictions.
        predictions: of the test split, int64 [n].
    """

    confusion: dict[str, Tensor] = field(default_factory=dict)
    predictions: Tensor = field(default_factory=lambda: torch.empty(0))


def run_epochs(
    train_state: TrainState,
    splits: Splits,
    loader: Loader,
    sizes: list[int],
    progress: Progress,
    pauses: StepControl,
    stopwatch: Stopwatch,
    sampler: Sampler,
    save: Callable[[], bool],
    on_epoch: Callable[[Epoch], None],
) -> Evaluated:
    """Trains the epochs that are left, and evaluates.

    Args:
        train_state: what is stepped.
        splits: what is evaluated.
        loader: of this rank.
        sizes: samples of each global batch of an epoch.
        progress: of the run; it grows.
        pauses: says when a checkpoint is due.
        stopwatch: times what is not training.
        sampler: of this rank; it samples while a part is trained.
        save: writes a checkpoint; tells whether it could. Every rank calls it.
        on_epoch: is given each epoch that is through.

    Raises:
        Diverged: a loss was not finite.
        Stopped, Lost: as the pauses say.
    """
    accelerator, train = train_state.accelerator, train_state.train
    clock, last = TrainClock(accelerator.device, train.untimed_steps), Evaluated()

    while (so_far := progress.so_far).epoch < train.epochs:
        batches = loader.epoch(so_far.epoch, so_far.batch)
        while so_far.batch < len(sizes):
            with sampler.training() as part:
                train_epoch(train_state, batches, sizes, so_far, clock, pauses)
            so_far.add_joules(part.joules)
            if pauses.action == StepAction.LEAVE:
                pauses.close()
                raise Lost
            if pauses.action > StepAction.CONTINUE:
                with stopwatch("checkpoint"):
                    kept = save()
                if pauses.action == StepAction.STOP:
                    pauses.close()
                    raise Stopped(progress.step(len(sizes)), kept=kept)
                pauses.done()

        eval_before = stopwatch.seconds.get("eval", 0.0)
        with stopwatch("eval"):
            progress.losses.append(cast(Tensor, accelerator.reduce(so_far.losses, "mean")).cpu())
            metrics: dict[str, Metrics] = {}
            metrics["train"], last.confusion["train"] = sum_tally(accelerator, so_far.tally).metrics()
            if (so_far.epoch + 1) % train.evaluate_every_epochs == 0 or so_far.epoch + 1 == train.epochs:
                average_buffers(accelerator, train_state.evaluated)
                for name, split in splits.evaluated(train=train.evaluate_train):
                    counts, own = evaluate(train_state, loader.evaluation(split, train.eval_batch_size))
                    metrics[name], last.confusion[name] = sum_tally(accelerator, counts).metrics()
                    last.predictions = gather_predictions(accelerator, own, len(split.labels))
        eval_seconds = stopwatch.seconds["eval"] - eval_before
        time, rate = agree_on_time(accelerator, so_far.time), train_state.learning_rate.value
        joules = sum_joules(accelerator, so_far.joules)
        progress.history.add(Epoch(so_far.epoch, time, so_far.timed_samples, eval_seconds, rate, metrics, joules))
        on_epoch(progress.history.epochs[-1])
        progress.so_far = begin_epoch(train_state, so_far.epoch + 1)

    pauses.close()
    return last
