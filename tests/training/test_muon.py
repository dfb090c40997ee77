"""Muon against torch's own for matrices, SGD for the rest, and an exact orthogonal factor."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.spec import parse_run_spec
from harness.training.optimizers.muon import Muon, orthogonal, orthogonal_all
from harness.training.setup import build_optimizer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16, 12), nn.Linear(12, 4)
    )


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int = 4) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        images, labels = torch.randn(16, 3, 6, 6, generator=random), torch.randint(0, 4, (16,), generator=random)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return dict(model.named_parameters())


def muon(model: nn.Module, **values: Any) -> torch.optim.Optimizer:
    values = {"name": "muon", **values}
    return build_optimizer(parse_run_spec({"model": "mlp", "data": "digits", "optimizer": values}).optimizer, model)


@pytest.mark.parametrize("shape", [(1, 8, 27), (3, 27, 8), (2, 16, 16)])
def test_it_is_near_the_orthogonal_factor(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonal(matrices, 5)
    spread = torch.linalg.svdvals(found)
    assert found.shape == shape and spread.max() < 1.3
    assert ((found * (u @ v)).sum((1, 2)) / found.norm(dim=(1, 2)) / (u @ v).norm(dim=(1, 2))).min() > 0.95


def by_hand(update: Tensor, iterations: int) -> Tensor:
    """One matrix at a time, as the method's author writes it."""
    x = update.flatten(1)
    rows, columns = x.shape
    x = x / (x.norm() + 1e-7)
    x = x.T if rows > columns else x
    for _ in range(iterations):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    x = x.T if rows > columns else x
    return (x * max(1.0, rows / columns) ** 0.5).view_as(update)


@pytest.mark.parametrize("channels_last", [False, True])
def test_equal_shapes_are_stepped_together_and_as_one_by_one(channels_last: bool) -> None:
    random = torch.Generator().manual_seed(0)
    shapes = ((8, 3, 3, 3), (32, 2, 3, 3), (4, 6), (8, 3, 3, 3), (12, 3), (8, 4, 1, 1), (5, 2, 3), (4, 2, 2, 2, 2))
    updates = [torch.randn(shape, generator=random) for shape in shapes]
    if channels_last:
        updates = [each.to(memory_format=torch.channels_last) if each.dim() == 4 else each for each in updates]
    for update, found in zip(updates, orthogonal_all(updates, 5), strict=True):
        assert found.shape == update.shape
        torch.testing.assert_close(found, by_hand(update, 5), rtol=1e-4, atol=1e-5)


def test_in_bfloat16_they_are_as_exact_as_one_by_one() -> None:
    updates = [torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((64, 24, 3, 3), (40, 128))]
    for update, found in zip(updates, orthogonal_all([each.bfloat16() for each in updates], 3), strict=True):
        exact = by_hand(update.double(), 3)
        error, error_by_hand = ((each - exact).norm() for each in (found, by_hand(update.bfloat16(), 3)))
        assert error < 0.015 * exact.norm() and error < error_by_hand


class Operations(TorchDispatchMode):
    """Counts what is called, by name, but for views."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("channels_last", [False, True])
def test_an_iteration_is_three_products_however_many_matrices_have_a_shape(channels_last: bool) -> None:
    def counted(matrices: int) -> Counter[str]:
        updates = [torch.ones(16, 4, 3, 3) for _ in range(matrices)]
        if channels_last:
            updates = [each.to(memory_format=torch.channels_last) for each in updates]
        with Operations() as operations:
            orthogonal_all(updates, 5)
        return operations.counts

    of_one, of_seven = counted(1), counted(7)
    assert of_one == of_seven
    assert of_one["bmm"] == 5 and of_one["baddbmm"] == 10 and not of_one["mul"]
    assert sum(of_one.values()) - of_one["_unsafe_view"] == 15 + 4  # stacked, and divided by their norms


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_matrix_is_stepped_as_by_torchs_muon(nesterov: bool) -> None:
    """Torch's iterates in bfloat16, hence the tolerance."""
    ours, theirs = nn.Linear(12, 6, bias=False), nn.Linear(12, 6, bias=False)
    theirs.load_state_dict(ours.state_dict())
    group = {"params": list(ours.parameters()), "orthogonal": True, "lr": 0.1, "momentum": 0.9}
    own = Muon([group], nesterov=nesterov, iterations=5, normalize=False, weight_decay=0.3)
    other = torch.optim.Muon(theirs.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.3)
    random = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradient = torch.randn(6, 12, generator=random)
        for layer, optimizer in ((ours, own), (theirs, other)):
            layer.weight.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, atol=0.01, rtol=0.0)


def test_what_is_no_matrix_and_the_classifier_are_stepped_as_by_sgd() -> None:
    model = network()
    before, reference = copy.deepcopy(model), copy.deepcopy(model)
    found = steps(model, muon(model, lr=1e-9, other_lr=0.1, other_momentum=0.8), 3)
    for name in ("0.weight", "3.weight"):
        reference.get_parameter(name).requires_grad = False
    rest = [parameter for parameter in reference.parameters() if parameter.requires_grad]
    expected = steps(reference, torch.optim.SGD(rest, lr=0.1, momentum=0.8, nesterov=True), 3)
    for name in ("1.weight", "1.bias", "3.bias", "4.weight", "4.bias"):
        torch.testing.assert_close(found[name], expected[name])
        assert not torch.equal(found[name], before.get_parameter(name))


def test_normalised_filters_keep_their_norm_but_for_the_last_step() -> None:
    model = network()
    found = steps(model, muon(model, lr=1e-6, normalize_weights=True), 2)
    assert found["0.weight"].norm().item() == pytest.approx(8**0.5, rel=1e-3)
    assert found["3.weight"].norm().item() == pytest.approx(12**0.5, rel=1e-3)
    assert found["4.weight"].norm().item() != pytest.approx(2.0, rel=1e-3)


def test_weight_decay_is_decoupled() -> None:
    model, twin = network(), network()
    plain = steps(model, muon(model, lr=0.01, other_lr=0.01), 1)
    decayed = steps(twin, muon(twin, lr=0.01, other_lr=0.01, weight_decay=0.5), 1)
    start = dict(network().named_parameters())
    for name in start:
        torch.testing.assert_close(decayed[name], plain[name] - 0.005 * start[name])


def test_a_network_without_matrices_is_stepped_too() -> None:
    layer = nn.BatchNorm2d(3)
    optimizer = muon(layer)
    layer(torch.randn(2, 3, 4, 4)).square().sum().backward()
    before = layer.bias.detach().clone()
    layer.bias.grad = torch.ones(3)
    optimizer.step()
    assert not torch.equal(layer.bias, before)


def test_what_has_no_gradient_stays_as_it_is() -> None:
    model, before = network(), dict(network().named_parameters())
    optimizer = muon(model, weight_decay=0.1)
    for name in ("0.weight", "1.bias"):
        parameter = model.get_parameter(name)
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"0.weight", "1.bias"}


def test_norm_biases_learn_faster_and_nothing_else_does() -> None:
    model, twin = network(), network()
    for each, scale in ((model, 1.0), (twin, 64.0)):
        steps(each, muon(each, lr=0.01, other_lr=0.001, norm_bias_lr_scale=scale), 1)
    start = network()
    moved = {
        name: ((one - start.get_parameter(name)), (other - start.get_parameter(name)))
        for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True)
    }
    for name, (slow, fast) in moved.items():
        torch.testing.assert_close(fast, slow * (64.0 if name == "1.bias" else 1.0), rtol=1e-3, atol=1e-6)
