"""Optimizers against torch.optim's own classes, and which parameters have weight decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.optim.lamb import Lamb
from timm.optim.lion import Lion
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness import registry
from harness.contracts import optimizer as contract
from harness.contracts.optimizer import after_steps, small_network
from harness.errors import HarnessError
from harness.spec import OptimizerSection, parse_run_spec
from harness.training.setup import build_ema, build_optimizer, parameter_groups


def section(name: str, **values: Any) -> OptimizerSection:
    return parse_run_spec({"model": "mlp", "data": "digits", "optimizer": {"name": name, **values}}).optimizer


OPTIM = torch.optim
# What a suite says, and the class and arguments that it means.
SAME: list[tuple[str, dict[str, Any], Any, dict[str, Any]]] = [
    ("sgd", {"lr": 0.1}, OPTIM.SGD, {"lr": 0.1}),
    (
        "sgd",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        OPTIM.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    ),
    ("adam", {}, OPTIM.Adam, {}),
    (
        "adam",
        {"lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True},
        OPTIM.Adam,
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True},
    ),
    ("adamw", {}, OPTIM.AdamW, {}),
    (
        "adamw",
        {"lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-4, "weight_decay": 0.5, "amsgrad": True},
        OPTIM.AdamW,
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.5, "amsgrad": True},
    ),
    ("adagrad", {}, OPTIM.Adagrad, {}),
    (
        "adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1},
        OPTIM.Adagrad,
        {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1},
    ),
    ("rmsprop", {}, OPTIM.RMSprop, {}),
    (
        "rmsprop",
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "momentum": 0.5, "centered": True, "weight_decay": 0.1},
        OPTIM.RMSprop,
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "momentum": 0.5, "centered": True, "weight_decay": 0.1},
    ),
    ("torch/NAdam", {}, OPTIM.NAdam, {}),
    ("torch/Adadelta", {"lr": 0.5, "weight_decay": 0.1}, OPTIM.Adadelta, {"lr": 0.5, "weight_decay": 0.1}),
    ("torch/Rprop", {"lr": 0.05, "kwargs": {"etas": [0.4, 1.3]}}, OPTIM.Rprop, {"lr": 0.05, "etas": (0.4, 1.3)}),
    ("torch/SGD", {"lr": 0.1, "kwargs": {"momentum": 0.5}}, OPTIM.SGD, {"lr": 0.1, "momentum": 0.5}),
    ("timm/lion", {}, Lion, {}),
    (
        "timm/lamb",
        {"lr": 0.01, "weight_decay": 0.1, "kwargs": {"betas": [0.8, 0.9]}},
        Lamb,
        {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9)},
    ),
]


@pytest.mark.parametrize(("name", "values", "torchs", "arguments"), SAME)
def test_an_optimizer_steps_as_torchs_own(
    name: str, values: dict[str, Any], torchs: Any, arguments: dict[str, Any]
) -> None:
    ours, theirs = small_network(), small_network()
    found = after_steps(ours, build_optimizer(section(name, **values), ours))
    expected = after_steps(theirs, torchs(theirs.parameters(), **arguments))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not torch.equal(found["0.weight"], small_network().get_parameter("0.weight"))


NOT_FOR_EVERY_LAYER = {"torch/Muon"}
REFUSED = {"torch/LBFGS", "torch/SparseAdam"}


# Of timm's ninety some; that they step is timm's business.
TIMMS = {"timm/lion", "timm/adan", "timm/adopt", "timm/cadamw"}
ALL = {name for name in registry.names("optimizer") if not name.startswith("timm/")} | TIMMS


@pytest.mark.parametrize("name", sorted(ALL - REFUSED - NOT_FOR_EVERY_LAYER))
@pytest.mark.parametrize("weight_decay_on", ["all", "weights"])
def test_every_optimizer_changes_every_parameter(name: str, weight_decay_on: str) -> None:
    values = {"lr": 0.1} if name == "sgd" else {}
    own = section(name, weight_decay_on=weight_decay_on, **values)
    contract.each_parameter_is_in_one_group(lambda model: build_optimizer(own, model))
    contract.steps_every_parameter(lambda model: build_optimizer(own, model))


@pytest.mark.parametrize("name", sorted(ALL - REFUSED - NOT_FOR_EVERY_LAYER))
def test_every_optimizer_goes_on_exactly(name: str) -> None:
    own = section(name, **({"lr": 0.1} if name == "sgd" else {}))
    contract.goes_on_exactly(lambda model: build_optimizer(own, model))


@pytest.mark.parametrize("name", sorted(REFUSED | {"timm/adahessian", "timm/adafactor"}))
def test_what_the_loop_cannot_step_is_refused(name: str) -> None:
    with pytest.raises(HarnessError, match=f"optimizer {name} needs"):
        build_optimizer(section(name), small_network())


def test_muon_takes_matrices_and_refuses_the_rest() -> None:
    matrices = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    before = matrices.get_parameter("0.weight").detach().clone()
    after_steps(matrices, build_optimizer(section("torch/Muon"), matrices))
    assert not torch.equal(before, matrices.get_parameter("0.weight"))
    with pytest.raises(HarnessError, match=r"optimizer torch/Muon: .*2D"):
        build_optimizer(section("torch/Muon"), small_network())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("torch/Rprop", {"weight_decay": 0.1}),
        ("torch/NAdam", {"kwargs": {"bettas": [0.9, 0.9]}}),
        ("torch/NAdam", {"kwargs": {"eps": -1.0}}),
        ("torch/Adam", {"kwargs": {"lr": 0.1}, "lr": 0.2}),
        ("torch/Adam", {"kwargs": {"fused": True, "foreach": True}}),
        ("timm/lion", {"kwargs": {"bettas": [0.9, 0.9]}}),
        ("timm/sgd", {}),
        ("timm/fusedadam", {}),
    ],
)
def test_arguments_that_torch_refuses_are_one_error(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match=f"optimizer {name}: "):
        build_optimizer(section(name, **values), small_network())


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(HarnessError, match="nesterov"):
        build_optimizer(section("sgd", lr=0.1, nesterov=True), small_network())


class Everything(nn.Module):
    """All kinds of layers that have parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.batch_norm = nn.BatchNorm2d(4)
        self.instance_norm = nn.InstanceNorm2d(4, affine=True)
        self.group_norm = nn.GroupNorm(2, 4)
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        self.layer_norm = nn.LayerNorm(8)
        self.rms_norm = nn.RMSNorm(8)
        self.linear = nn.Linear(8, 3)
        self.token = nn.Parameter(torch.zeros(8))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.tied = self.linear


DECAYED = {
    "convolution.weight",
    "attention.in_proj_weight",
    "attention.bias_k",
    "attention.bias_v",
    "attention.out_proj.weight",
    "linear.weight",
    "token",
}


@pytest.mark.parametrize("weight_decay_on", ["all", "weights"])
def test_every_trainable_parameter_is_in_exactly_one_group(weight_decay_on: str) -> None:
    model = Everything()
    groups = parameter_groups(section("adam", weight_decay_on=weight_decay_on), model)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_norms_and_biases_can_be_left_without_decay() -> None:
    model = Everything()
    optimizer = build_optimizer(section("adamw", weight_decay=0.3, weight_decay_on="weights"), model)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name for name, parameter in model.named_parameters() if decay.get(id(parameter))}
    assert found == DECAYED
    assert {decay[id(p)] for name, p in model.named_parameters() if name in DECAYED} == {0.3}


@pytest.mark.parametrize("scale", [64.0, 0.5])
@pytest.mark.parametrize(("weight_decay_on", "decay"), [("all", 0.3), ("weights", 0.0)])
def test_norm_biases_have_a_rate_of_their_own_and_the_decay_of_other_biases(
    weight_decay_on: str, decay: float, scale: float
) -> None:
    model = small_network()
    values = {"lr": 0.1, "weight_decay": 0.3, "weight_decay_on": weight_decay_on, "norm_bias_lr_scale": scale}
    groups = build_optimizer(section("sgd", **values), model).param_groups
    found = {id(each): (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]}
    by_name = {name: found[id(parameter)] for name, parameter in model.named_parameters()}
    assert by_name.pop("2.bias") == (pytest.approx(0.1 * scale), decay)
    assert by_name == {name: (0.1, 0.3 if name in ("0.weight", "3.weight") else decay) for name in by_name}


def test_decay_alone_shrinks_weights_and_leaves_the_others() -> None:
    model = small_network()
    optimizer = build_optimizer(section("sgd", lr=0.1, weight_decay=0.5, weight_decay_on="weights"), model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 0.95 if name in {"0.weight", "3.weight"} else 1.0
        torch.testing.assert_close(parameter, before[name] * factor)


def test_a_moving_average_is_made_where_it_is_asked_for() -> None:
    model = small_network()
    assert build_ema(model, None) is None
    ema = build_ema(model, 0.9)
    assert ema is not None and ema.module is not model


def test_the_moving_average_is_torchs_to_the_bit() -> None:
    """In bfloat16 beside float32, too, as `bf16-true` has it."""
    model = small_network()
    model[0].bfloat16()
    own, of_torch = build_ema(model, 0.9), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    assert own is not None
    for seed in range(4):
        torch.manual_seed(seed)
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value.copy_(torch.randn(value.shape) * 3)
        own.update_parameters(model)
        own.update_buffers(model)
        of_torch.update_parameters(model)
    expected = of_torch.state_dict()
    assert own.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in own.state_dict().items())
