"""What holds for every architecture: tried on each of our own, and on a few of other packages'."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import typing
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness import registry
from harness.contracts import architecture as contract
from harness.contracts.architecture import random_images
from harness.errors import HarnessError
from harness.models.layers import ACTIVATIONS
from harness.plugin_source import Plugin
from harness.spec import ImageShape

GREY8, COLOUR32, COLOUR64 = ImageShape(1, 8, 8), ImageShape(3, 32, 32), ImageShape(3, 64, 64)
# Parameters that make the tests quick, or possible on 8x8.
SMALL: dict[str, dict[str, Any]] = {
    "cnn3": {"padding": "same", "hidden_size": 16},
    "fast_vgg": {"widths": (4, 8)},
    "mlp": {},
    **{f"resnet{depth}": {"width": 4} for depth in (18, 34, 50)},
    "small_vgg": {"blocks": ((4, 4), (8, 8))},
    "tutorial_cnn": {"padding": "same"},
    **{f"vgg{depth}": {"width": 4} for depth in (11, 13, 16, 19)},
}
OWN = [name for name in registry.names("architecture") if "/" not in name]
FOREIGN = ["torchvision/mobilenet_v3_small", "torchvision/googlenet"]
if importlib.util.find_spec("timm"):
    FOREIGN += ["timm/resnet10t", "timm/vit_tiny_patch16_224"]

CASES = [
    *((name, image) for name in OWN for image in (GREY8, COLOUR32)),
    *((name, COLOUR64) for name in FOREIGN),
]
every_case = pytest.mark.parametrize(
    ("name", "image"),
    CASES,
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else value,
)


def build(name: str, image: ImageShape = COLOUR32, seed: int = 0, **parameters: Any) -> nn.Module:
    torch.manual_seed(seed)
    return registry.build("architecture", name, image, 10, **{**SMALL.get(name, {}), **parameters})


def builder(name: str) -> contract.Build:
    """Returns what builds an architecture, with parameters that make it quick."""
    return lambda image: registry.build("architecture", name, image, contract.CLASSES, **SMALL.get(name, {}))


def valid_parameters(name: str) -> type[Any]:
    return registry.find("architecture", name).parameters()


@every_case
def test_a_training_step_gives_logits_and_a_gradient_for_every_parameter(name: str, image: ImageShape) -> None:
    contract.training_reaches_every_weight(builder(name), image)
    frozen = [key for key, parameter in build(name, image).named_parameters() if not parameter.requires_grad]
    assert not frozen or name == "fast_vgg"


@pytest.mark.parametrize("name", OWN)
def test_no_operation_is_one_that_deterministic_refuses_on_cuda(name: str) -> None:
    seen = contract.operations_of_a_training_step(builder(name), COLOUR32)
    assert "convolution_backward" in seen or name == "mlp"


@every_case
def test_in_evaluation_an_image_is_judged_alone(name: str, image: ImageShape) -> None:
    # GoogLeNet's new weights are so small that all images give the same logits.
    contract.evaluation_judges_an_image_alone(builder(name), image, differ=name != "torchvision/googlenet")


@every_case
def test_channels_last_changes_the_layout_and_nothing_else(name: str, image: ImageShape) -> None:
    contract.channels_last_changes_the_layout_alone(builder(name), image)


@every_case
def test_the_seed_decides_the_weights(name: str, image: ImageShape) -> None:
    contract.the_seed_decides_the_weights(builder(name), image)


class ActivationCounter(TorchDispatchMode):
    """Counts activations as they are computed, whoever calls them."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__.rstrip("_") in ACTIVATIONS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [name for name in OWN if "activation" in registry.find("architecture", name).fields])
def test_every_activation_is_a_module_of_its_own(name: str) -> None:
    network = build(name, activation="silu")
    calls: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, tuple(ACTIVATIONS.values())):
            assert isinstance(module, nn.SiLU)
            module.register_forward_hook(lambda module, inputs, output: calls.append(module))
    with ActivationCounter() as counter:
        network(random_images(COLOUR32))
    assert counter.count == len(calls) == len(set(calls)) > 0


@pytest.mark.parametrize("plugin", registry.plugins("architecture"), ids=lambda plugin: plugin.function)
def test_what_is_read_from_the_source_is_what_python_sees(plugin: Plugin) -> None:
    if plugin.wildcard():
        pytest.importorskip(plugin.wildcard() or "")
    function = getattr(importlib.import_module(plugin.module), plugin.function)
    signature = inspect.signature(function).parameters
    supplied = [name for name, parameter in signature.items() if parameter.kind != parameter.KEYWORD_ONLY]
    assert supplied == (["name"] if plugin.takes_name else []) + ["image", "num_classes"]
    hints = typing.get_type_hints(function, include_extras=True)
    own = [name for name in signature if name not in supplied]
    assert list(plugin.fields) == own
    for name in own:
        annotation, field = plugin.fields[name]
        assert annotation == hints[name]
        assert field.default == signature[name].default
        assert field.description, f"{plugin.function}'s docstring does not describe {name}"


# One value, other than the default, for each parameter of each of our own functions.
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "cnn3": {
        "filters": [8, 8, 8],
        "kernel_sizes": [7, 5, 3],
        "padding": "same",
        "activation": "leaky_relu",
        "last_activation": True,
        "batch_norm": True,
        "hidden_size": 64,
        "extra_linear": 128,
        "dropout": 0.3,
    },
    "fast_vgg": {
        "widths": [8, 16],
        "activation": "relu",
        "dirac": False,
        "norm_scales": True,
        "norm_momentum": 0.9,
    },
    "mlp": {"hidden_sizes": [32], "activation": "tanh", "batch_norm": True, "dropout": 0.5},
    "resnet18": {"stem": "imagenet", "width": 8, "activation": "elu"},
    "small_vgg": {
        "blocks": [[8], [16, 16]],
        "batch_norm": "each",
        "activation": "elu",
        "hidden_sizes": [32],
        "dropout": 0.5,
        "init": "xavier",
    },
    "tutorial_cnn": {
        "filters": [12, 32],
        "kernel_size": 3,
        "padding": "same",
        "activation": "leaky_relu",
        "batch_norm": True,
        "hidden_sizes": [],
        "dropout": 0.4,
    },
    "vgg11": {
        "width": 8,
        "batch_norm": False,
        "activation": "gelu",
        "hidden_size": 32,
        "dropout": 0.5,
        "init": "xavier",
    },
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_each_parameter_has_another_value_to_try(name: str) -> None:
    assert set(OTHER_VALUES[name]) == set(registry.find("architecture", name).fields)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, parameter) for name, values in OTHER_VALUES.items() for parameter in values],
)
def test_each_parameter_changes_the_network(name: str, parameter: str) -> None:
    given = valid_parameters(name).model_validate_json(json.dumps({parameter: OTHER_VALUES[name][parameter]}))
    torch.manual_seed(0)
    usual = registry.build("architecture", name, COLOUR32, 10)
    torch.manual_seed(0)
    changed = registry.build("architecture", name, COLOUR32, 10, **{parameter: getattr(given, parameter)})
    same_weights = str(usual) == str(changed) and all(
        torch.equal(one, other) and one.requires_grad == other.requires_grad
        for one, other in zip(usual.parameters(), changed.parameters(), strict=True)
    )
    assert not same_weights
    assert changed(random_images(COLOUR32)).shape == (4, 10)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("cnn3", "filters", [24, 48]),
        ("cnn3", "filters", [24, 48, 0]),
        ("cnn3", "padding", "full"),
        ("cnn3", "extra_linear", 0),
        ("cnn3", "dropout", 1.0),
        ("mlp", "hidden_sizes", [256, -1]),
        ("mlp", "activation", "relu6"),
        ("resnet18", "stem", "mnist"),
        ("resnet18", "width", 0),
        ("vgg11", "hidden_size", -1),
        ("vgg11", "init", "zeros"),
        ("vgg11", "batch_norm", "yes"),
        ("resnet18", "depth", 18),
        ("small_vgg", "blocks", [64, 64]),
        ("small_vgg", "blocks", [[64], [0]]),
        ("small_vgg", "batch_norm", True),
        ("torchvision/resnet18", "kwargs", 3),
        ("torchvision/resnet18", "weights", True),
        ("torchvision/resnet18", "freeze", "all"),
        ("torchvision/resnet18", "hidden_sizes", [0]),
    ],
)
def test_a_bad_parameter_is_refused(name: str, parameter: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=parameter):
        valid_parameters(name).model_validate_json(json.dumps({parameter: value}))


def test_an_unknown_architecture_is_answered_with_the_nearest() -> None:
    with pytest.raises(HarnessError, match="did you mean 'resnet18'"):
        registry.find("architecture", "resnet19")
