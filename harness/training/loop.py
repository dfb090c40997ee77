"""The training loop and the evaluation, each of which reads from top to bottom."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.measure.clock import EpochTime, TrainClock
from harness.spec import TrainSection
from harness.training.metrics import Tally
from harness.training.moving_average import MovingAverage
from harness.training.precision import autocast
from harness.training.schedule import LearningRate
from harness.training.test_time_augmentation import logits_of_views

Batches = Iterable[tuple[Tensor, Tensor]]


class Diverged(Exception):
    """The loss of a step is not finite. Every rank raises it, after the same epoch."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss of step {step} is not finite")
        self.step = step


@dataclass
class TrainState:
    """What the loop steps.

    Attributes:
        network: the bare model, for evaluation.
        model: what is called in training: the network, compiled and wrapped in DDP as the run asks.
        on_step: called after each step with its number in the run.
        class_weights: of each class in the loss, float [C]; None where all weigh the same.
        whiten_seconds: for fitting the first layer to the data.
    """

    accelerator: Accelerator
    train: TrainSection
    mixed_precision: str
    network: nn.Module
    model: nn.Module
    optimizer: Optimizer
    learning_rate: LearningRate
    ema: MovingAverage | None
    scaler: torch.amp.GradScaler
    num_classes: int
    on_step: Callable[[int], None]
    class_weights: Tensor | None = None
    whiten_seconds: float = 0.0

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept: with the averaged weights, where the run averages them."""
        return self.network if self.ema is None else self.ema.module


@dataclass
class EpochSoFar:
    """What an epoch has come to on this rank: nothing at first, and then more with each part.

    Attributes:
        epoch: counted from 0.
        tally: counts of the training images, taken while the weights move.
        batch: global batches that were stepped.
        losses: this rank's part of each step's loss, float [batch]; the mean over ranks is that of the global batch.
        time: of its parts together.
        timed_samples: of all ranks, in the steps of `time.timed_seconds`.
        joules: of this rank's GPU; None where it is not known.
    """

    epoch: int
    tally: Tally
    batch: int = 0
    losses: Tensor = field(default_factory=lambda: torch.empty(0))
    time: EpochTime = field(default_factory=EpochTime)
    timed_samples: int = 0
    joules: float | None = 0.0

    def add_joules(self, joules: float | None) -> None:
        """Takes the energy of the next part."""
        self.joules = None if self.joules is None or joules is None else self.joules + joules


def begin_epoch(train_state: TrainState, epoch: int) -> EpochSoFar:
    """Returns an epoch before its first batch."""
    return EpochSoFar(
        epoch, Tally(train_state.num_classes, train_state.accelerator.device, train_state.train.label_smoothing)
    )


def train_epoch(
    train_state: TrainState,
    batches: Iterator[tuple[Tensor, Tensor]],
    sizes: list[int],
    so_far: EpochSoFar,
    clock: TrainClock,
    pauses: Callable[[], bool] = lambda: False,
) -> None:
    """Trains an epoch, or goes on with it, to its end or to a pause.

    Args:
        train_state: what is stepped.
        batches: this rank's share of each global batch that is left: images [n, C, H, W] and labels [n].
        sizes: samples of each global batch of the epoch, over all ranks.
        so_far: grows.
        clock: times the steps.
        pauses: is asked after each step; all ranks answer the same.

    Raises:
        Diverged: a loss was not finite.
    """
    t, train = train_state, train_state.train
    precision = autocast(t.mixed_precision, t.accelerator.device)
    micro, num_processes = train.micro_batch_size, t.accelerator.num_processes
    first_batch, steps_before = so_far.batch, so_far.epoch * len(sizes)
    losses = torch.empty(len(sizes), device=t.accelerator.device)  # one place for all: see `Tally`
    losses[:first_batch] = so_far.losses
    t.model.train()

    for batch, (images, labels) in enumerate(clock.batches(_until(pauses, batches)), first_batch):
        step = steps_before + batch
        t.learning_rate.set(step)
        parts: list[Tensor] = []
        micro_batches = in_micro_batches(images, labels, micro)
        for left, (x, y) in zip(reversed(range(len(micro_batches))), micro_batches, strict=True):
            with t.accelerator.no_sync(t.model) if left else contextlib.nullcontext():
                with precision:
                    logits = t.model(x)
                    if train.loss == "cross_entropy_after_softmax":
                        logits = logits.softmax(1)
                    loss = LOSSES[train.loss](logits, y, t.class_weights, train.label_smoothing)
                # DDP averages over ranks; weighted by its samples, each share counts as in one large batch.
                weight = len(y) * num_processes / sizes[batch]
                loss = loss if weight == 1.0 else loss * weight
                t.scaler.scale(loss).backward()
            parts.append(loss.detach())
            so_far.tally.add(logits.detach(), y)
        if train.clip_grad_norm:
            t.scaler.unscale_(t.optimizer)
            nn.utils.clip_grad_norm_(t.network.parameters(), train.clip_grad_norm)
        t.scaler.step(t.optimizer)
        t.scaler.update()
        t.optimizer.zero_grad(set_to_none=not train.keeps_gradients)
        if t.ema is not None:
            t.ema.update_parameters(t.network)
        losses[batch] = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
        so_far.batch = batch + 1
        t.on_step(step)

    if t.ema is not None:
        t.ema.update_buffers(t.network)
    so_far.losses = losses[: so_far.batch]
    part = clock.last_part()
    so_far.time += part
    so_far.timed_samples += sum(sizes[so_far.batch - part.timed_steps : so_far.batch])
    _require_finite(t.accelerator, so_far.losses[first_batch:], steps_before + first_batch)


def cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Returns the mean loss of a batch, logits [N, C] and labels int64 [N], or soft ones float [N, C].

    With class weights [C] it is divided by N all the same, not by the sum of the weights as in torch: so the mean over
    parts of a batch is that of the whole batch.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    weighted = F.cross_entropy(logits, labels, class_weights, reduction="none", label_smoothing=label_smoothing)
    return weighted.mean()


def binary_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Returns the mean over batch and classes of each class's own loss, as timm's `BinaryCrossEntropy` takes it.

    Labels as in `cross_entropy`; they are smoothed as there. Each class's loss is multiplied by its weight [C].
    """
    count = logits.shape[1]
    targets = F.one_hot(labels, count).float() if labels.dim() == 1 else labels
    targets = targets * (1 - label_smoothing) + label_smoothing / count
    return F.binary_cross_entropy_with_logits(logits.float(), targets, class_weights)


# The second is given probabilities, and takes them for logits.
LOSSES = {
    "cross_entropy": cross_entropy,
    "cross_entropy_after_softmax": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def _until(pauses: Callable[[], bool], batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields batches until a pause; those that are left stay in `batches`."""
    for batch in batches:
        yield batch
        if pauses():
            return


def in_micro_batches(images: Tensor, labels: Tensor, micro_batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Returns a rank's share of a batch in parts."""
    if len(labels) <= micro_batch_size:
        return [(images, labels)]
    sizes = micro_batch_sizes(len(labels), micro_batch_size)
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


def micro_batch_sizes(share: int, micro_batch_size: int) -> list[int]:
    """Returns the samples of each micro-batch of a rank's share of a batch.

    They differ by one at most: of a tail, a single sample left over would be too few for batch norm.
    """
    count = -(-share // micro_batch_size)
    size, larger = divmod(share, count)
    return [size + 1] * larger + [size] * (count - larger)


@torch.no_grad()
def evaluate(train_state: TrainState, batches: Batches) -> tuple[Tally, Tensor]:
    """Evaluates on this rank's share of a split.

    Returns:
        The counts of this rank, and its predictions int64 [n] in the order of the batches.
    """
    t = train_state
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
            logits = logits_of_views(network, images, t.train.evaluate_views, t.train.evaluate_views_share)
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
    if not never:
        return
    finite = losses.isfinite()
    bad = torch.where(finite, never, torch.arange(never, device=finite.device)).min()
    everywhere = cast(Tensor, accelerator.gather(bad.reshape(1)))
    first = int(everywhere.min())
    if first < never:
        raise Diverged(first_step + first)
