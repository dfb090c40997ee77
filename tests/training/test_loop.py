"""The training loop against steps written out by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from harness.measure.clock import TrainClock
from harness.spec import RunSpec, parse_run_spec
from harness.training.loop import Diverged, EpochSoFar, TrainState, begin_epoch, evaluate, train_epoch
from harness.training.metrics import Tally
from harness.training.precision import resolve_mixed_precision
from harness.training.setup import build_ema, build_learning_rate, build_optimizer

CPU = torch.device("cpu")
CLASSES = 4
Batches = list[tuple[Tensor, Tensor]]


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, CLASSES))


def batches(sizes: list[int], seed: int = 1) -> Batches:
    random = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(n, 3, 2, 2, generator=random), torch.randint(0, CLASSES, (n,), generator=random)) for n in sizes
    ]


def make(
    network: nn.Module, optimizer: dict[str, Any] | None = None, steps: int = 4, epochs: int = 1, **train: Any
) -> TrainState:
    spec: RunSpec = parse_run_spec(
        {
            "model": "mlp",
            "data": "digits",
            "optimizer": optimizer or {"name": "sgd", "lr": 0.2},
            "train": {"global_batch_size": 12, "num_processes": 1, "epochs": epochs, **train},
        }
    )
    stepped = build_optimizer(spec.optimizer, network)
    return TrainState(
        accelerator=Accelerator(cpu=True),
        train=spec.train,
        mixed_precision=resolve_mixed_precision(spec.train.mixed_precision, CPU),
        network=network,
        model=network,
        optimizer=stepped,
        learning_rate=build_learning_rate(spec.schedule, stepped, epochs, steps),
        ema=build_ema(network, spec.train.ema_decay),
        scaler=torch.amp.GradScaler("cuda", enabled=False),
        num_classes=CLASSES,
        on_step=lambda step: None,
    )


def train_whole(train_state: TrainState, given: Batches, epoch: int = 0) -> EpochSoFar:
    so_far = begin_epoch(train_state, epoch)
    train_epoch(train_state, iter(given), [len(labels) for _, labels in given], so_far, TrainClock(CPU, 0))
    return so_far


def train(train_state: TrainState, given: Batches, epoch: int = 0) -> Tally:
    return train_whole(train_state, given, epoch).tally


def by_hand(
    network: nn.Module,
    given: Batches,
    lr: float = 0.2,
    clip: float | None = None,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Plain gradient descent, a whole batch at once; yields the weights after each step."""
    for images, labels in given:
        loss = F.cross_entropy(network(images), labels, label_smoothing=label_smoothing)
        if class_weights is not None:
            log_p = network(images).log_softmax(1)[range(len(labels)), labels]
            loss = -(class_weights[labels] * log_p).sum() / len(labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        scale = min(1.0, clip / norm) if clip else 1.0
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= lr * scale * gradient
        yield copy.deepcopy(network.state_dict())


def assert_same(found: nn.Module, expected: dict[str, Tensor], rtol: float = 1e-5, atol: float = 1e-6) -> None:
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=rtol, atol=atol)


SIZES = [12, 12, 12, 5]


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 4])
def test_accumulated_micro_batches_are_one_large_batch_in_the_tail_too(micro_batches: int) -> None:
    network, given = mlp(), batches(SIZES)
    train(make(network, gradient_accumulation_steps=micro_batches), given)
    *_, expected = by_hand(mlp(), given)
    assert_same(network, expected)


def test_gradients_that_cuda_graphs_make_are_added_to_where_they_are() -> None:
    network, given = mlp(), batches(SIZES)
    train_state = make(network, gradient_accumulation_steps=2, compile="reduce-overhead")
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in network.parameters()]
    train(train_state, given)
    assert all(parameter.grad is gradient for parameter, gradient in zip(network.parameters(), gradients, strict=True))
    *_, expected = by_hand(mlp(), given)
    assert_same(network, expected)


@pytest.mark.parametrize("tail", range(1, 12))
def test_no_micro_batch_is_larger_than_the_others_by_more_than_one(tail: int) -> None:
    network, lengths = mlp(), []
    network.register_forward_hook(lambda module, inputs, output: lengths.append(len(output)))
    train(make(network, gradient_accumulation_steps=3), batches([12, tail]))
    assert lengths[:3] == [4, 4, 4]
    assert sum(lengths[3:]) == tail and max(lengths[3:]) <= 4 and max(lengths[3:]) - min(lengths[3:]) <= 1


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_gradients_are_clipped_by_their_norm_over_the_whole_batch(micro_batches: int) -> None:
    network, given = mlp(), batches(SIZES)
    train(make(network, clip_grad_norm=0.05, gradient_accumulation_steps=micro_batches), given)
    *_, expected = by_hand(mlp(), given, clip=0.05)
    assert_same(network, expected, rtol=1e-4, atol=1e-6)
    *_, unclipped = by_hand(mlp(), given)
    assert not torch.allclose(network.state_dict()["1.weight"], unclipped["1.weight"], atol=1e-3)


def test_label_smoothing_is_in_the_objective() -> None:
    network, given = mlp(), batches(SIZES)
    counts = train(make(network, label_smoothing=0.3), given)
    losses, hand = [], mlp()
    expected: dict[str, Tensor] = {}
    for images, labels in given:
        losses.append(F.cross_entropy(hand(images), labels, label_smoothing=0.3, reduction="sum").item())
        *_, expected = by_hand(hand, [(images, labels)], label_smoothing=0.3)
    assert_same(network, expected)
    counts.count()
    assert counts.metrics()[0].loss == pytest.approx(sum(losses) / sum(SIZES), rel=1e-5)


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_class_weights_are_in_the_objective_and_parts_of_a_batch_make_the_whole(micro_batches: int) -> None:
    network, given, weights = mlp(), batches(SIZES), torch.linspace(0.5, 3.0, CLASSES)
    train_state = make(network, gradient_accumulation_steps=micro_batches)
    train_state.class_weights = weights
    train(train_state, given)
    *_, expected = by_hand(mlp(), given, class_weights=weights)
    assert_same(network, expected)


def test_the_moving_average_is_that_of_the_weights_after_each_step() -> None:
    network, given = mlp(), batches(SIZES)
    train_state = make(network, ema_decay=0.7)
    train(train_state, given)
    average: dict[str, Tensor] | None = None
    for weights in by_hand(mlp(), given):
        average = weights if average is None else {k: 0.7 * average[k] + 0.3 * weights[k] for k in weights}
    assert train_state.ema is not None and average is not None
    assert_same(train_state.ema.module, average)


def test_the_moving_average_has_the_models_batch_norm_statistics() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, CLASSES))
    train_state = make(network, ema_decay=0.7)
    train(train_state, batches(SIZES))
    assert train_state.ema is not None and network[1].num_batches_tracked == 4
    for name, buffer in network.named_buffers():
        assert torch.equal(dict(train_state.ema.module.named_buffers())[name], buffer)


def test_train_metrics_count_every_sample_once_before_its_step() -> None:
    network, given = mlp(), batches(SIZES)
    counts = train(make(network, gradient_accumulation_steps=2), given)
    hits, hand = 0, mlp()
    for images, labels in given:
        hits += int((hand(images).argmax(1) == labels).sum())
        list(by_hand(hand, [(images, labels)]))
    counts.count()
    assert counts.confusion.sum() == sum(SIZES)
    assert counts.metrics()[0].accuracy == hits / sum(SIZES)


def test_steps_are_counted_over_the_run() -> None:
    seen: list[int] = []
    train_state = make(mlp(), epochs=2)
    train_state.on_step = seen.append
    train(train_state, batches(SIZES))
    train(train_state, batches(SIZES), epoch=1)
    assert seen == list(range(8))


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("bad", [0, 2, 3])
def test_a_loss_that_is_not_finite_is_found_at_its_step(bad: int, micro_batches: int) -> None:
    given = batches(SIZES)
    given[bad][0][-1] = math.nan
    with pytest.raises(Diverged) as error:
        train(make(mlp(), gradient_accumulation_steps=micro_batches), given, epoch=2)
    assert error.value.step == 8 + bad


def test_a_learning_rate_that_is_far_too_large_diverges() -> None:
    with pytest.raises(Diverged) as error:
        train(make(mlp(), {"name": "sgd", "lr": 1e38, "momentum": 0.9}), batches([12] * 8))
    assert 0 < error.value.step < 8


def test_an_infinite_loss_is_not_finite_either() -> None:
    given = batches(SIZES)
    given[1][0][:] = math.inf
    with pytest.raises(Diverged):
        train(make(nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))), given)


def test_bfloat16_is_autocast_and_learns_about_the_same() -> None:
    exact, network, given = mlp(), mlp(), batches(SIZES)
    types: list[torch.dtype] = []
    network[3].register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    train_state = make(network, mixed_precision="bf16")
    train(train_state, given)
    evaluate(train_state, given)
    assert set(types) == {torch.bfloat16} and len(types) == 8
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    train(make(exact), given)
    assert_same(network, exact.state_dict(), rtol=0.05, atol=0.01)
    assert not torch.equal(network.get_parameter("1.weight"), exact.get_parameter("1.weight"))


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    given, found = batches(SIZES), []
    for seed in (3, 3, 4):
        network = nn.Sequential(nn.Dropout(0.5), *mlp(seed))
        train(make(network, {"name": "adam"}, deterministic=True), given)
        found.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_evaluation_is_in_evaluation_mode_and_changes_nothing() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, CLASSES))
    train_state, given = make(network), batches([9, 4])
    before = copy.deepcopy(network.state_dict())
    counts, predictions = evaluate(train_state, given)
    again = evaluate(train_state, given)[1]
    assert torch.equal(predictions, again) and predictions.shape == (13,) and predictions.dtype == torch.int64
    assert_same(network, before, rtol=0, atol=0)
    counts.count()
    labels = torch.cat([labels for _, labels in given])
    assert counts.metrics()[0].accuracy == int((predictions == labels).sum()) / 13
    train(train_state, batches(SIZES))
    assert network.training


def test_evaluation_is_without_label_smoothing() -> None:
    network, given = mlp(), batches([9])
    counts, _ = evaluate(make(network, label_smoothing=0.5), given)
    counts.count()
    assert counts.metrics()[0].loss == pytest.approx(F.cross_entropy(network(given[0][0]), given[0][1]).item())


def test_an_empty_share_is_evaluated_to_nothing() -> None:
    network = mlp()
    counts, predictions = evaluate(make(network), [])
    counts.count()
    assert predictions.shape == (0,) and counts.confusion.sum() == 0


def test_softmax_before_the_loss_is_applied_to_gradients_and_to_the_recorded_loss() -> None:
    network, by_hand, given = mlp(), mlp(), batches([12])
    train_state = make(network, loss="cross_entropy_after_softmax")
    counts = train(train_state, given)
    images, labels = given[0]
    loss = F.cross_entropy(by_hand(images).softmax(1), labels)
    gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
    for parameter, start, gradient in zip(network.parameters(), by_hand.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter, start - 0.2 * gradient)
    counts.count()
    assert counts.metrics()[0].loss == pytest.approx(loss.item(), rel=1e-5)
    evaluated, _ = evaluate(train_state, given)
    evaluated.count()
    assert evaluated.metrics()[0].loss == pytest.approx(
        F.cross_entropy(network(images).softmax(1), labels).item(), rel=1e-5
    )


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.25]])
def test_binary_cross_entropy_is_timms_with_smoothed_and_with_mixed_labels(soft: bool, weights: Any) -> None:
    loss = pytest.importorskip("timm.loss").BinaryCrossEntropy
    network, by_hand, given = mlp(), mlp(), batches([12])
    [(images, labels)] = given
    class_weights = None if weights is None else torch.tensor(weights)
    smoothed = loss(0.1, weight=class_weights)(by_hand(images), labels)
    if soft:  # timm smooths before it mixes
        smoothed = 0.3 * smoothed + 0.7 * loss(0.1, weight=class_weights)(by_hand(images), labels.roll(1))
        hard = F.one_hot(labels, CLASSES).float()
        given = [(images, 0.3 * hard + 0.7 * hard.roll(1, 0))]
    train_state = make(network, loss="binary_cross_entropy", label_smoothing=0.1)
    train_state.class_weights = class_weights
    so_far = train_whole(train_state, given)
    assert so_far.losses.tolist() == pytest.approx([smoothed.item()], rel=1e-5)
    gradients = torch.autograd.grad(smoothed, list(by_hand.parameters()))
    for parameter, start, gradient in zip(network.parameters(), by_hand.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter, start - 0.2 * gradient)


@pytest.mark.parametrize("weighted", [False, True])
def test_mixed_labels_weigh_the_losses_of_their_classes_in_micro_batches_too(weighted: bool) -> None:
    network, by_hand, given = mlp(), mlp(), batches([12])
    [(images, labels)] = given
    weights = torch.tensor([0.5, 2.0, 1.0, 0.25]) if weighted else None
    logits = by_hand(images)
    losses = [
        share * F.cross_entropy(logits, own, weights, reduction="none", label_smoothing=0.1).mean()
        for share, own in ((0.3, labels), (0.7, labels.roll(1)))
    ]
    loss = torch.stack(losses).sum()
    hard = F.one_hot(labels, CLASSES).float()
    train_state = make(network, label_smoothing=0.1, gradient_accumulation_steps=3)
    train_state.class_weights = weights
    so_far = train_whole(train_state, [(images, 0.3 * hard + 0.7 * hard.roll(1, 0))])
    assert so_far.losses.tolist() == pytest.approx([loss.item()], rel=1e-5)
    gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
    for parameter, start, gradient in zip(network.parameters(), by_hand.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter, start - 0.2 * gradient)


@pytest.mark.parametrize("left_on", [False, True])
def test_dropout_is_off_in_evaluation_unless_it_is_left_on(left_on: bool) -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, CLASSES))
    train_state, given = make(network, dropout_in_evaluation=left_on), batches([200])
    torch.manual_seed(0)
    first, again = (evaluate(train_state, given)[1] for _ in range(2))
    assert torch.equal(first, again) != left_on
    assert not network[1].training  # only dropout is left on


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_the_loss_of_every_step_is_that_of_its_whole_batch(micro_batches: int) -> None:
    network, by_hand, given = mlp(), mlp(), batches([12, 12, 7])
    train_state = make(network, {"name": "sgd", "lr": 1e-9}, gradient_accumulation_steps=micro_batches)
    losses = train_whole(train_state, given).losses
    wanted = [F.cross_entropy(by_hand(images), labels).item() for images, labels in given]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("pauses_after", [[1], [4], [5], [2, 3], [1, 2, 3, 4, 5]])
def test_an_epoch_in_parts_is_the_same_epoch(pauses_after: list[int]) -> None:
    given = batches([12, 12, 12, 12, 5])
    sizes, whole, parted = [len(labels) for _, labels in given], mlp(), mlp()
    expected = train_whole(make(whole), given)
    asked = iter(range(1, 6))
    train_state, left, clock = make(parted), iter(given), TrainClock(CPU, 3)
    so_far, parts = begin_epoch(train_state, 0), []
    while so_far.batch < len(sizes):
        train_epoch(train_state, left, sizes, so_far, clock, lambda: next(asked) in pauses_after)
        parts.append(so_far.batch)
    assert parts == sorted({*pauses_after, 5})
    assert_same(parted, whole.state_dict(), rtol=0, atol=0)
    assert torch.equal(so_far.losses, expected.losses)
    so_far.tally.count()
    expected.tally.count()
    assert torch.equal(so_far.tally.confusion, expected.tally.confusion)
    assert (so_far.time.timed_steps, so_far.timed_samples) == (2, 12 + 5)  # but for the first three steps


def test_the_recall_of_evaluated_batches_does_not_depend_on_the_order_of_the_images() -> None:
    images, labels = (torch.cat(list(parts)) for parts in zip(*batches([60] * 4), strict=True))
    by_class = labels.argsort(stable=True)
    train_state = make(mlp(), mean_batch_recall=True, eval_batch_size=16)
    found = []
    for order in (torch.arange(240), by_class):
        counts, _ = evaluate(train_state, list(zip(images[order].split(16), labels[order].split(16), strict=True)))
        counts.count()
        found.append(counts.metrics()[0])
    assert found[0].macro_recall == pytest.approx(found[1].macro_recall)
    for each in found:  # of batches of one class it would be less than half of it
        assert each.mean_batch_recall == pytest.approx(each.macro_recall, abs=0.05)
