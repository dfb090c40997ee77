"""The whitening first layer: what it makes of patches, and where it stands in a run's network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness.errors import HarnessError
from harness.models.network import build_network, fit_to_data
from harness.models.whitening import EPSILON, Whitening
from harness.spec import ImageShape, parse_run_spec

IMAGE = ImageShape(3, 12, 10)


def images(count: int = 600) -> torch.Tensor:
    """Smooth images, whose neighbouring pixels are alike."""
    random = torch.randn(count, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    return F.avg_pool2d(F.pad(random, (1, 1, 1, 1), "reflect"), 3, stride=1) * 3


@pytest.mark.parametrize("side", [1, 2, 3])
def test_its_outputs_are_uncorrelated_with_unit_variance(side: int) -> None:
    layer, seen = Whitening(IMAGE, side), images()
    layer.fit(seen)
    convolution = layer[0]
    assert isinstance(convolution, torch.nn.Conv2d) and convolution.bias is not None
    torch.testing.assert_close(layer(seen), F.gelu(convolution(seen)))
    outputs = F.conv2d(seen, convolution.weight)
    assert outputs.shape[1:] == layer.output
    half = outputs.shape[1] // 2
    torch.testing.assert_close(outputs[:, :half], -outputs[:, half:])
    flat = outputs[:, :half].transpose(0, 1).flatten(1).double()
    moments = flat @ flat.T / flat.shape[1]
    patches = F.unfold(seen, side).transpose(0, 1).flatten(1).double()
    variances = torch.linalg.eigvalsh(patches @ patches.T / patches.shape[1])
    torch.testing.assert_close(moments, torch.diag(variances / (variances + EPSILON)), atol=1e-4, rtol=1e-4)


def test_its_filters_are_fixed_and_its_biases_learn() -> None:
    section = parse_run_spec({"model": {"name": "mlp", "whiten": 2}, "data": "digits", "optimizer": "adam"}).model
    network = build_network(section, IMAGE, 10)
    trained = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    assert not trained["whitening.0.weight"] and trained["whitening.0.bias"]
    assert all(value for name, value in trained.items() if name.startswith("network."))


@pytest.mark.parametrize("model", [{"name": "resnet18", "width": 4}, {"name": "fast_vgg", "widths": [8, 8]}])
def test_any_architecture_takes_what_it_gives(model: dict) -> None:
    section = parse_run_spec({"model": {**model, "whiten": 2}, "data": "digits", "optimizer": "adam"}).model
    network = build_network(section, IMAGE, 10)
    before = network.state_dict()["whitening.0.weight"].clone()
    fit_to_data(network, images(8))
    assert not torch.equal(before, network.state_dict()["whitening.0.weight"])
    assert network(images(4)).shape == (4, 10)


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"model.whiten is 11, and images have 12x10 pixels"):
        Whitening(IMAGE, 11)
    assert Whitening(IMAGE, 10).output == (600, 3, 1)
