"""Reconstructions and patterns, beside results by hand and another way to compute them."""

from __future__ import annotations

import sys
from typing import Any, Literal

import pytest
import torch
import torchvision
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.visualize.hooks import output_of
from harness.visualize.pictures.maximize import climb, maximize
from harness.visualize.pictures.reconstruct import reconstruct
from harness.visualize.project import project
from harness.visualize.trained import Trained
from tests.visualize.conftest import MEAN, STD, HandMade

Method = Literal["deconvnet", "guided"]


def _two_layers(activation: nn.Module) -> nn.Sequential:
    """Of x: channel 0 is 2 relu(x) + 3 relu(-x), channel 1 is 2 relu(x) - 3 relu(-x) + 5."""
    first, second = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        second.weight.copy_(torch.tensor([[2.0, 3.0], [2.0, -3.0]]).view(2, 2, 1, 1))
        assert second.bias is not None
        second.bias.copy_(torch.tensor([0.0, 5.0]))
    return nn.Sequential(first, activation, second)


# At x = (1, -1) channel 0 is (2, 3) and channel 1 is (7, 2). Channel 1's signal before the ReLUs, (14, 4) in the
# positive branch and (-21, -6) in the other, is (14, 4) and zero for a deconvnet, (14, 0) and zero for guided
# backpropagation; the plain gradient would have 6 in the negative branch.
BY_HAND = [
    ("deconvnet", "map", [[-2.0, -3.0], [14.0, 4.0]]),
    ("guided", "map", [[4.0, -9.0], [14.0, 0.0]]),
    ("deconvnet", "maximum", [[0.0, -3.0], [14.0, 0.0]]),
    ("guided", "maximum", [[0.0, -9.0], [14.0, 0.0]]),
]


@pytest.mark.parametrize(("method", "start", "expected"), BY_HAND)
@pytest.mark.parametrize("inplace", [False, True])
def test_two_layers_by_hand(
    hand_made: HandMade, method: Any, start: Any, expected: list[list[float]], inplace: bool
) -> None:
    run = hand_made(_two_layers(nn.ReLU(inplace=inplace)), torch.zeros(1, 1, 1, 2))
    images = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)
    found = project(run, "2", images, [0, 1], method, start)
    assert found.shape == (1, 2, 1, 1, 2)
    assert (found / STD).flatten(1).tolist()[0] == pytest.approx([*expected[0], *expected[1]])
    assert not any(module._forward_hooks for module in run.network.modules())


def test_a_map_is_rectified(hand_made: HandMade) -> None:
    run = hand_made(_two_layers(nn.ReLU()), torch.zeros(1, 1, 1, 2))
    found = project(run, "0", torch.tensor([1.0, -1.0]).view(1, 1, 1, 2), [0, 1], "guided", "map")
    assert (found / STD).flatten().tolist() == [1.0, 0.0, 0.0, -1.0]


class _Rule(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, method: Method) -> Tensor:
        ctx.method, ctx.open = method, x > 0
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        signal = grads[0].clamp(min=0)
        return signal * ctx.open if ctx.method == "guided" else signal, None


@pytest.mark.parametrize("method", ["deconvnet", "guided"])
def test_torchvision_by_another_way(hand_made: HandMade, monkeypatch: pytest.MonkeyPatch, method: Method) -> None:
    """In-place ReLUs that a block uses twice, and sums of residuals: the rule as a function of its own agrees."""
    torch.manual_seed(0)
    run = hand_made(torchvision.models.resnet18(num_classes=2), torch.rand(2, 3, 32, 32))
    for module in run.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand(module.num_features) - 0.5
    images, _ = run.test_images((0, 1))
    found = project(run, "layer2", images, [5, 0, 77], method, "map")

    monkeypatch.setattr(nn.ReLU, "forward", lambda _self, x: _Rule.apply(x, method))
    for column, channel in enumerate((5, 0, 77)):
        inputs = images.clone().requires_grad_()
        maps = output_of(run.network, "layer2", inputs)[:, channel]
        assert bool((maps > 0).any())
        (expected,) = torch.autograd.grad(maps, inputs, maps.detach())
        assert torch.allclose(found[:, column], expected * STD, rtol=1e-3, atol=1e-6)


class Odd(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.second, self.relu, self.kind = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.ReLU(), kind

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.kind == "functional":
            return self.second(torch.relu(x))
        return self.second(self.relu(x) + x)


@pytest.mark.parametrize(
    ("network", "layer", "what"),
    [
        (_two_layers(nn.LeakyReLU()), "2", "LeakyRelu"),
        (_two_layers(nn.ELU()), "2", "Elu"),
        (_two_layers(nn.GELU()), "1", "Gelu"),
        (_two_layers(nn.SiLU()), "2", "Silu"),
        (_two_layers(nn.Tanh()), "2", "Tanh"),
        (Odd("functional"), "second", "a ReLU that is no nn.ReLU module"),
        (Odd("beside"), "second", "a ReLU whose input is used beside it"),
    ],
)
def test_what_the_rule_does_not_cover(hand_made: HandMade, network: nn.Module, layer: str, what: str) -> None:
    channels = 3 if isinstance(network, Odd) else 1
    run = hand_made(network, torch.rand(1, channels, 2, 2))
    images, _ = run.test_images((0,))
    with pytest.raises(HarnessError, match=f"guided backpropagation has no rule .* '{layer}' of resnet18: {what}"):
        project(run, layer, images, [0], "guided", "map")
    first = "first" if channels == 3 else "0"
    assert project(run, first, images, [0], "guided", "map").shape == (1, 1, channels, 2, 2)


def test_captum_is_not_installed(resnet_run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(HarnessError, match="need the package captum") as raised:
        reconstruct(resnet_run)
    assert raised.value.hint == "pip install captum"


def test_pictures_of_reconstructions(resnet_run: Trained) -> None:
    beside = reconstruct(resnet_run, layer="stage1", images=(0, 3), channels=(3, 1), method="guided")
    assert [picture.name for picture in beside] == ["reconstruct guided stage1 images 0, 3"]
    assert "guided backpropagation from feature maps 3, 1 of 4 of stage1" in beside[0].caption
    alone = reconstruct(resnet_run, layer="stage3", images=(0, 3))
    assert [picture.name[-7:] for picture in alone] == ["image 0", "image 3"]
    assert "all 16 feature maps" in alone[0].caption


class TestMaximize:
    def test_a_linear_layer_by_hand(self, hand_made: HandMade) -> None:
        """The best image of weight 1 is white, of weight -1 black; both reach the end of the range, 2 here."""
        network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False))
        with torch.no_grad():
            network[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))  # type: ignore[union-attr]
        run = hand_made(network, torch.rand(1, 1, 4, 4))
        start = torch.full((2, 1, 4, 4), 0.6)
        patterns, before, after = climb(run, "0", [0, 1], start, steps=60, lr=0.1)
        assert before.tolist() == pytest.approx([(0.6 - MEAN) / STD, -(0.6 - MEAN) / STD])
        assert after.tolist() == pytest.approx([2.0, 2.0])
        assert torch.allclose(patterns[0], torch.tensor(1.0))
        assert torch.allclose(patterns[1], torch.tensor(0.0), atol=1e-6)

    @pytest.mark.parametrize("objective", ["mean", "centre"])
    def test_raises_the_activation(self, resnet_run: Trained, objective: Any) -> None:
        torch.manual_seed(0)
        layer, start = "stage2.1.residual.3", torch.rand(3, 1, 8, 8)
        channels = [2, 7, 5]
        patterns, before, after = climb(resnet_run, layer, channels, start, steps=30, lr=0.1, objective=objective)
        assert bool((after > before).all())
        assert float(patterns.min()) >= 0
        assert float(patterns.max()) <= 1
        mean, std = resnet_run.mean_and_std
        with torch.no_grad():
            maps = output_of(resnet_run.network, layer, (patterns - mean) / std)
        seen = maps[torch.arange(3), torch.tensor(channels)]
        expected = seen.mean((1, 2)) if objective == "mean" else seen[:, 2, 2]
        assert torch.allclose(after, expected, atol=1e-3)

    def test_each_channel_is_for_itself(self, resnet_run: Trained) -> None:
        start = torch.rand(1, 1, 8, 8).expand(2, -1, -1, -1)
        together, _, _ = climb(resnet_run, "stage1", [0, 3], start, steps=5, lr=0.1)
        alone, _, _ = climb(resnet_run, "stage1", [3], start[:1], steps=5, lr=0.1)
        assert torch.allclose(together[1:], alone, atol=1e-4)

    def test_smooth_patterns_are_smoother(self, resnet_run: Trained) -> None:
        start = torch.rand(1, 1, 8, 8)
        rough, _, _ = climb(resnet_run, "stage1", [0], start, steps=30, lr=0.1)
        smooth, _, _ = climb(resnet_run, "stage1", [0], start, steps=30, lr=0.1, smooth=10.0)
        assert float(smooth.diff(dim=3).abs().mean()) < 0.7 * float(rough.diff(dim=3).abs().mean())

    def test_a_channel_without_a_gradient_is_named(self, hand_made: HandMade) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
        with torch.no_grad():
            network[0].bias.copy_(torch.tensor([9.0, -9.0]))  # type: ignore[union-attr]
        run = hand_made(network, torch.rand(1, 1, 4, 4))
        (picture,) = maximize(run, layer="1", channels=(0, 1))
        assert picture.caption.endswith("1: 0 to 0; without a gradient at this noise, unchanged: 1.")

    def test_the_caption_tells_what_was_reached(self, resnet_run: Trained) -> None:
        before = {name: value.clone() for name, value in resnet_run.network.state_dict().items()}
        (picture,) = maximize(resnet_run, layer="stage1", channels=(3, 0), steps=4, lr=0.05)
        assert "4 steps of Adam with learning rate 0.05; mean activation before and after: 3: " in picture.caption
        assert all(torch.equal(before[name], value) for name, value in resnet_run.network.state_dict().items())
