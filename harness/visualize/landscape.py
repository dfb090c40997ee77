"""The shape of the loss: along the gradient while a network trains, and on a plane around trained weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.data.order import hash_seed
from harness.data.prepare import Splits
from harness.errors import HarnessError
from harness.measure.clock import TrainClock
from harness.running.build import build_loader, build_train_state
from harness.running.execute import DROPOUT
from harness.spec import RunSpec, parse_run_spec
from harness.training.loop import LOSSES, Diverged, TrainState, begin_epoch, train_epoch
from harness.training.precision import apply_switches


@dataclass(frozen=True)
class AlongGradient:
    """The loss and its gradient g at weights w, and at w - s g for each step size s. Norms are l2, of all weights.

    Attributes:
        step: optimizer steps before it was measured.
        loss: at w.
        gradient_norm: of g.
        losses: at each w - s g.
        predictiveness: the norm of the difference between g and the gradient at each w - s g.
        smoothness: the greatest of these norms divided by the distance from w, s times the norm of g; NaN where g is 0.
    """

    step: int
    loss: float
    gradient_norm: float
    losses: list[float]
    predictiveness: list[float]
    smoothness: float


@dataclass(frozen=True)
class TrainedAnew:
    """A run that was trained anew: what was measured on the way, the network at the end, and its optimizer steps."""

    measured: list[AlongGradient]
    network: nn.Module
    steps: int


def along_gradient(
    network: nn.Module, loss: Callable[[], Tensor], step_sizes: Sequence[float], step: int = 0
) -> AlongGradient:
    """Measures the loss along the negative gradient, and leaves weights, buffers and random numbers as they were.

    The three measures of section 3.2 and figure 4 of "How Does Batch Normalization Help Optimization?" (Santurkar et
    al., arXiv 1805.11604): the variation of the loss, "gradient predictiveness", and the "effective" beta-smoothness:
    how much the gradient changes at most, in the l2 norm, over the distance moved along it.

    Args:
        network: in the mode in which it trains.
        loss: of the network on a batch, a scalar; the same random numbers (dropout) are drawn at each point.
        step_sizes: what the gradient is multiplied by.
        step: for the record.
    """
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    start = [weight.detach().clone() for weight in weights]
    devices = sorted({weight.device.index for weight in weights if weight.device.type == "cuda"})

    def loss_and_gradient() -> tuple[float, list[Tensor]]:
        with torch.random.fork_rng(devices), _kept_buffers(network):
            value = loss()
            return float(value.detach()), list(torch.autograd.grad(value, weights))

    here, gradient = loss_and_gradient()
    length = _norm(gradient)
    losses, differences = [], []
    try:
        for size in step_sizes:
            with torch.no_grad():
                for weight, origin, slope in zip(weights, start, gradient, strict=True):
                    weight.copy_(origin - size * slope)
            there, other = loss_and_gradient()
            losses.append(there)
            differences.append(_norm([a - b for a, b in zip(gradient, other, strict=True)]))
    finally:
        with torch.no_grad():
            for weight, origin in zip(weights, start, strict=True):
                weight.copy_(origin)
    ratios = [
        apart / (size * length) if length else math.nan for apart, size in zip(differences, step_sizes, strict=True)
    ]
    # A gradient that overflowed is no number that could be compared: it stays visible as infinite.
    smoothness = max((math.inf if math.isnan(each) and length else each for each in ratios), default=math.nan)
    return AlongGradient(step, here, length, losses, differences, smoothness)


def train_and_measure(
    spec: RunSpec,
    splits: Splits,
    step_sizes: Sequence[float],
    steps: int,
    every: int,
    device: torch.device | None = None,
) -> TrainedAnew:
    """Trains a run anew from its start, and measures along the gradient every so often.

    Weights, batches, augmentation, optimizer and learning rates are the run's; it goes on one device, in float32 and
    not compiled. Each measurement is on the batch of the step that comes next, as a whole and in training mode.

    Args:
        spec: the run.
        splits: its data.
        step_sizes: what the gradient is multiplied by.
        steps: optimizer steps at most; a run that has fewer ends earlier.
        every: how many steps lie between two measurements; the first is before the first step.
        device: by default a GPU where there is one.

    Raises:
        HarnessError: a loss of the training was not finite.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    use_cpu = device.type == "cpu" if device else not torch.cuda.is_available()
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="no")
    spec = on_one_device(spec)
    apply_switches(spec.train)
    set_seed(spec.seed)
    loader, sampler = build_loader(spec, splits, accelerator)
    train_state = build_train_state(spec, splits, accelerator, len(sampler.sizes), lambda step: None)
    torch.manual_seed(hash_seed(spec.seed, 0, DROPOUT))  # as in a run: the stream of dropout
    found: list[AlongGradient] = []

    def measured(batches: Iterator[tuple[Tensor, Tensor]], first: int) -> Iterator[tuple[Tensor, Tensor]]:
        for step, (images, labels) in enumerate(batches, first):
            if step >= steps:
                break
            if step % every == 0:
                found.append(_measure(train_state, images, labels, step_sizes, step))
            yield images, labels

    per_epoch = len(sampler.sizes)
    try:
        for epoch in range(min(spec.train.epochs, -(-steps // per_epoch))):
            first = epoch * per_epoch
            clock = TrainClock(accelerator.device, 0)
            batches = measured(loader.epoch(epoch), first)
            train_epoch(train_state, batches, sampler.sizes, begin_epoch(train_state, epoch), clock)
    except Diverged as error:
        message = f"training anew, {error}"
        raise HarnessError(message, f"ask for fewer steps, e.g. --set steps={max(error.step, 1)}") from None
    finally:
        loader.close()
    return TrainedAnew(found, train_state.network, min(steps, spec.train.epochs * per_epoch))


def on_one_device(spec: RunSpec) -> RunSpec:
    """Returns the spec for one process without mixed precision and compilation.

    The loader becomes `resident`: all of them yield the same batches, and this one needs no GPU.
    """
    values = spec.model_dump(mode="json")
    values["loader"] = {"name": "resident"}
    train = spec.train
    # What were the shares of several processes become micro-batches, so that batch norm sees the same samples at once.
    micro_batches = train.gradient_accumulation_steps * train.world_size
    values["train"] |= {"num_processes": 1, "gradient_accumulation_steps": micro_batches}
    values["train"] |= {"mixed_precision": "no", "compile": False, "deterministic": False}
    return parse_run_spec(values)


def _measure(
    train_state: TrainState, images: Tensor, labels: Tensor, step_sizes: Sequence[float], step: int
) -> AlongGradient:
    def loss() -> Tensor:
        train = train_state.train
        logits = train_state.network(images)
        return objective(logits, labels, train.loss, train.label_smoothing, train_state.class_weights)

    return along_gradient(train_state.network, loss, step_sizes, step)


def objective(
    logits: Tensor, labels: Tensor, name: str, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Returns the mean loss of a batch, as the training loop takes it: logits [N, C], labels int64 [N]."""
    if name == "cross_entropy_after_softmax":
        logits = logits.softmax(1)
    return LOSSES[name](logits, labels, class_weights, label_smoothing)


def filter_normalised(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Returns a random direction with, for each filter, the norm of the network's own.

    "Visualizing the Loss Landscape of Neural Nets" (Li et al., arXiv 1712.09913), section 4: a direction from a normal
    distribution, each filter of which is scaled to the norm of the filter in the weights; of a linear layer, each
    row. As in the authors' code (`ignore='biasbn'`), biases and the parameters of normalisation layers do not move.

    Args:
        network: on the CPU.
        generator: of the random numbers.

    Returns:
        By the parameter's name a tensor of its shape.
    """
    direction = {}
    for name, weight in network.named_parameters():
        if weight.dim() <= 1:
            direction[name] = torch.zeros_like(weight)
            continue
        drawn = torch.randn(weight.shape, generator=generator)
        shape = (-1, *[1] * (weight.dim() - 1))
        wanted, own = weight.detach().flatten(1).norm(dim=1), drawn.flatten(1).norm(dim=1)
        direction[name] = drawn * (wanted / (own + 1e-10)).view(shape)
    return direction


@torch.no_grad()
def surface(
    network: nn.Module, loss: Callable[[], Tensor], along: Sequence[dict[str, Tensor]], places: Sequence[float]
) -> Tensor:
    """Returns the loss on a plane through the weights, which are as before when this returns.

    Args:
        network: in evaluation mode.
        loss: of the network on the same images each time, a scalar.
        along: two directions, by the parameter's name.
        places: how far to go along each of them.

    Returns:
        float64 [P, P]: rows by the place along the second direction, columns along the first.
    """
    weights = dict(network.named_parameters())
    start = {name: weight.clone() for name, weight in weights.items()}
    found = torch.zeros(len(places), len(places), dtype=torch.float64)
    try:
        for row, up in enumerate(places):
            for column, across in enumerate(places):
                for name, weight in weights.items():
                    weight.copy_(start[name] + across * along[0][name] + up * along[1][name])
                found[row, column] = float(loss())
    finally:
        for name, weight in weights.items():
            weight.copy_(start[name])
    return found


@contextlib.contextmanager
def _kept_buffers(network: nn.Module) -> Iterator[None]:
    """Restores running statistics, which a forward pass in training mode moves."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors]).sum().sqrt())
