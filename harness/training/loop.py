"""The training loop and the evaluation, each of which reads from top to bottom."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from harness.measure.clock import TrainClock
from harness.spec import TrainSection
from harness.training.metrics import Tally
from harness.training.precision import autocast
from harness.training.schedule import LearningRate

Batches = Iterable[tuple[Tensor, Tensor]]


class Diverged(Exception):
    """The loss of a step is not finite. Every rank raises it, after the same epoch."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss of step {step} is not finite")
        self.step = step


@dataclass
class Trainee:
    """What the loop steps.

    Attributes:
        network: the bare model, for evaluation.
        model: what is called in training: the network, compiled and wrapped in DDP as the run asks.
        on_step: called after each step with its number in the run.
    """

    accelerator: Accelerator
    train: TrainSection
    mixed_precision: str
    network: nn.Module
    model: nn.Module
    optimizer: Optimizer
    learning_rate: LearningRate
    ema: AveragedModel | None
    scaler: torch.amp.GradScaler
    num_classes: int
    on_step: Callable[[int], None]

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept: with the averaged weights, where the run averages them."""
        return self.network if self.ema is None else self.ema.module


def train_epoch(
    trainee: Trainee, batches: Iterator[tuple[Tensor, Tensor]], sizes: list[int], first_step: int, clock: TrainClock
) -> tuple[Tally, Tensor]:
    """Trains one epoch.

    Args:
        trainee: what is stepped.
        batches: this rank's share of each global batch: images [n, C, H, W] and labels [n].
        sizes: samples of each global batch, over all ranks.
        first_step: optimizer steps before this epoch.
        clock: times the steps; its `last_epoch` is this one when this returns.

    Returns:
        The counts of this rank, taken while the weights moved, and its part of each step's loss, float [steps]: the
        mean over ranks is the loss of the global batch.

    Raises:
        Diverged: a loss was not finite.
    """
    t, train = trainee, trainee.train
    precision = autocast(t.mixed_precision, t.accelerator.device)
    micro = train.micro_batch_size
    tally = Tally(t.num_classes, t.accelerator.device, train.label_smoothing)
    losses: list[Tensor] = []
    t.model.train()

    for step, (images, labels) in enumerate(clock.batches(batches), first_step):
        t.learning_rate.set(step)
        pieces = micro_batch_sizes(len(labels), micro)
        parts: list[Tensor] = []
        micro_batches = list(zip(images.split(pieces), labels.split(pieces), strict=True))
        for left, (x, y) in zip(reversed(range(len(micro_batches))), micro_batches, strict=True):
            with t.accelerator.no_sync(t.model) if left else contextlib.nullcontext():
                with precision:
                    logits = t.model(x)
                    if train.loss == "cross_entropy_after_softmax":
                        logits = logits.softmax(1)
                    loss = F.cross_entropy(logits, y, label_smoothing=train.label_smoothing)
                # DDP averages over ranks; weighted by its samples, each share counts as in one large batch.
                weight = len(y) * t.accelerator.num_processes / sizes[step - first_step]
                loss = loss if weight == 1.0 else loss * weight
                t.scaler.scale(loss).backward()
            parts.append(loss.detach())
            # A CUDA graph's next replay overwrites its outputs.
            tally.add(logits.detach().clone() if isinstance(train.compile, str) else logits.detach(), y)
        if train.clip_grad_norm:
            t.scaler.unscale_(t.optimizer)
            nn.utils.clip_grad_norm_(t.network.parameters(), train.clip_grad_norm)
        t.scaler.step(t.optimizer)
        t.scaler.update()
        t.optimizer.zero_grad(set_to_none=True)
        if t.ema is not None:
            t.ema.update_parameters(t.network)
        losses.append(parts[0] if len(parts) == 1 else torch.stack(parts).sum())
        t.on_step(step)

    of_steps = torch.stack(losses)
    _require_finite(t.accelerator, of_steps, first_step)
    return tally, of_steps


def micro_batch_sizes(share: int, micro_batch_size: int) -> list[int]:
    """Returns the samples of each micro-batch of a rank's share of a batch.

    They differ by one at most: of a tail, a single sample left over would be too few for batch norm.
    """
    count = -(-share // micro_batch_size)
    size, larger = divmod(share, count)
    return [size + 1] * larger + [size] * (count - larger)


@torch.no_grad()
def evaluate(trainee: Trainee, batches: Batches) -> tuple[Tally, Tensor]:
    """Evaluates on this rank's share of a split.

    Returns:
        The counts of this rank, and its predictions int64 [n] in the order of the batches.
    """
    t = trainee
    precision = autocast(t.mixed_precision, t.accelerator.device)
    tally = Tally(t.num_classes, t.accelerator.device)
    predictions, seen = [], []
    network = t.evaluated.eval()
    if t.train.dropout_in_evaluation:
        for module in network.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.train()
    for images, labels in batches:
        with precision:
            logits = network(images)
            if t.train.loss == "cross_entropy_after_softmax":
                logits = logits.softmax(1)
        tally.add(logits, labels)
        predictions.append(logits.argmax(1))
        seen.append(labels)
    empty = torch.empty(0, dtype=torch.int64, device=t.accelerator.device)
    found = torch.cat([empty, *predictions])
    if t.train.mean_batch_recall:
        tally.add_batch_recalls(found, torch.cat([empty, *seen]), t.train.eval_batch_size)
    return tally, found


def _require_finite(accelerator: Accelerator, losses: Tensor, first_step: int) -> None:
    never = len(losses)
    bad = torch.where(losses.isfinite(), never, torch.arange(never, device=losses.device)).min()
    everywhere = cast(Tensor, accelerator.gather(bad.reshape(1)))
    first = int(everywhere.min())
    if first < never:
        raise Diverged(first_step + first)
