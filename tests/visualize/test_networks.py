"""Filters, feature maps and activations: the numbers behind the pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.visualize import grid
from harness.visualize.grid import Scale, around_grey, columns_for, draw_grid, scale_of, symmetric_scale
from harness.visualize.hooks import chosen_channels, chosen_layers, feature_maps_of
from harness.visualize.pictures import channel_activations as activations_module
from harness.visualize.pictures import feature_maps as maps_module
from harness.visualize.pictures import filters as filters_module
from harness.visualize.trained import Trained
from tests.visualize.conftest import HandMade


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was given to `draw_grid`, a dictionary for each grid."""
    seen: list[dict[str, Any]] = []

    def spied(cells: list[Tensor], **named: Any) -> Image.Image:
        seen.append({"cells": cells, **named})
        return draw_grid(cells, **named)

    for module in (filters_module, maps_module):
        monkeypatch.setattr(module, "draw_grid", spied)
    return seen


class Shared(nn.Module):
    """One ReLU in two places, in place; no maps after the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        self.flatten, self.classifier = nn.Flatten(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.second(self.relu(self.first(x))))
        return self.classifier(self.flatten(self.pool(x)))


@pytest.fixture
def shared_run(hand_made: HandMade) -> Trained:
    return hand_made(Shared(), torch.rand(2, 3, 8, 8))


class TestScale:
    def test_diverging_is_symmetric(self) -> None:
        scale = symmetric_scale(torch.tensor([[-3.0, 1.0]]), "weight")
        assert (scale.low, scale.high) == (-3.0, 3.0)
        red, white, blue = scale.colour(torch.tensor([[3.0, 0.0, -3.0]]))[:, 0].T
        assert red[0] > 2 * red[2]
        assert blue[2] > 2 * blue[0]
        assert white.tolist() == pytest.approx([0xF7 / 255] * 3)

    def test_positive_values_are_sequential(self) -> None:
        scale = scale_of(torch.tensor([[0.5, 2.0]]), "activation")
        assert (scale.low, scale.high, scale.colours) == (0.0, 2.0, "sequential")
        dark, bright = scale.colour(torch.tensor([[0.0, 2.0]])).sum(0)[0]
        assert dark < 0.7 < bright

    def test_negative_values_make_it_diverging(self) -> None:
        assert scale_of(torch.tensor([[-0.1, 2.0]]), "activation") == Scale(-2.0, 2.0, "diverging", "activation")

    def test_a_dead_layer_has_the_colour_of_zero(self) -> None:
        zeros = torch.zeros(2, 2)
        dead = scale_of(zeros, "activation")
        alive = Scale(0.0, 1.0, "sequential", "activation")
        assert torch.equal(dead.colour(zeros), alive.colour(zeros))

    def test_around_grey(self) -> None:
        found = around_grey(torch.tensor([[[[0.0, -4.0, 2.0]]], [[[0.0, 0.0, 0.0]]]]))
        assert found.shape == (2, 3, 1, 3)
        assert found[:, 0, 0].tolist() == [[0.5, 0.0, 0.75], [0.5, 0.5, 0.5]]


class TestGrid:
    def test_pixels_stay_squares(self) -> None:
        cell = torch.zeros(3, 2, 2)
        cell[0, 0, 1] = 1.0  # red at the top right
        image = draw_grid([cell] * 4, title="four", columns=4)
        assert grid.NARROWEST <= image.width <= grid.PAGE
        red = torch.tensor([[pixel == (255, 0, 0) for pixel in row] for row in _rows(image)])
        side = int(red.any(0).sum()) / 4
        assert int(red.sum()) == 4 * side * int(red.any(1).sum())  # four squares, no blurred edges
        assert abs(side - int(red.any(1).sum())) <= 1

    def test_a_tall_grid_is_kept_on_a_page(self) -> None:
        cells = [torch.rand(3, 4, 4)] * 30
        assert draw_grid(cells, title="tall", columns=2).height < 2400

    @pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (8, 4), (9, 3), (64, 8), (65, 11), (512, 27)])
    def test_few_cells_are_left_empty(self, count: int, columns: int) -> None:
        assert columns_for(count) == columns

    def test_everything_written_is_there(self) -> None:
        plain = draw_grid([torch.rand(3, 4, 4)] * 4, title="a", columns=2)
        more = draw_grid(
            [torch.rand(3, 4, 4)] * 4,
            title="a " * 200,
            columns=2,
            labels=["1", "2", "3", "a label far longer than its cell is wide, which is cut"],
            row_labels=["first", "second"],
            column_labels=["left", "right"],
            scale=Scale(-1.0, 1.0, "diverging", "weight"),
        )
        assert more.height > plain.height + 3 * grid.TEXT_SIZE + grid.BAR_HEIGHT


def _rows(image: Image.Image) -> list[list[tuple[int, ...]]]:
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
    return [[tuple(pixel) for pixel in row] for row in pixels.tolist()]


class TestFilters:
    def test_one_symmetric_scale_for_all(self, shared_run: Trained, drawn: list[dict[str, Any]]) -> None:
        weight = shared_run.convolution("first")[1].weight.detach()
        found = filters_module.filters(shared_run)
        assert [picture.name for picture in found] == [
            *(f"filters first channel {channel}" for channel in range(3)),
            "filters first colour",
        ]
        largest = float(weight.abs().max())
        for channel, of in enumerate(drawn[:3]):
            assert (of["scale"].low, of["scale"].high) == (-largest, largest)
            assert torch.equal(torch.stack(of["cells"]), of["scale"].colour(weight[:, channel]))
            assert f"±{largest:.3g} for all input channels" in found[channel].caption
        assert torch.allclose(torch.stack(drawn[3]["cells"]), 0.5 + 0.5 * weight / largest)

    def test_of_a_deep_layer(self, shared_run: Trained, drawn: list[dict[str, Any]]) -> None:
        found = filters_module.filters(shared_run, layer="second", channels=(3,), output_channels=(4, 0))
        assert [picture.name for picture in found] == ["filters second channel 3"]
        assert drawn[0]["labels"] == ["4", "0"]
        weight = shared_run.convolution("second")[1].weight.detach()
        assert torch.equal(drawn[0]["cells"][0], drawn[0]["scale"].colour(weight[4, 3]))
        assert "filters 4, 0 of 5" in found[0].caption
        assert len(filters_module.filters(shared_run, layer="second")) == 3


class TestFeatureMaps:
    def test_are_what_a_hook_sees(self, shared_run: Trained, drawn: list[dict[str, Any]]) -> None:
        seen: list[Tensor] = []
        handle = shared_run.layer("second").register_forward_hook(lambda _m, _i, out: seen.append(out.detach().clone()))
        inputs, _ = shared_run.test_images((1,))
        shared_run.network(inputs)
        handle.remove()
        assert float(seen[0].min()) < 0  # before the in-place ReLU
        (picture,) = maps_module.feature_maps(shared_run, layer="second", images=(1,))
        scale = drawn[0]["scale"]
        assert scale == scale_of(seen[0], "activation of second")
        assert torch.allclose(torch.stack(drawn[0]["cells"][1:]), scale.colour(seen[0][0]), atol=1e-6)
        assert torch.allclose(drawn[0]["cells"][0], shared_run.pixels(inputs)[0])
        assert picture.name == "feature_maps second image 1"
        assert "Test image 1 (dog) and all 5 feature maps (4x4) that second of" in picture.caption

    def test_first_and_last_convolution_by_default(self, shared_run: Trained) -> None:
        names = [picture.name for picture in maps_module.feature_maps(shared_run, images=(0, 1))]
        assert names == [f"feature_maps {layer} image {image}" for layer in ("first", "second") for image in (0, 1)]

    def test_no_convolution_of_its_own(self, shared_run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        first = shared_run.layer("first")
        monkeypatch.setattr(shared_run.network, "forward", lambda images: first(images))
        assert chosen_layers(shared_run, None) == ["first"]
        monkeypatch.setattr(shared_run.network, "forward", lambda images: first(images) + first(images))
        with pytest.raises(HarnessError, match=r"no convolution of .* is called once") as raised:
            chosen_layers(shared_run, None)
        assert raised.value.hint.endswith("own: none")

    def test_a_module_in_two_places(self, shared_run: Trained) -> None:
        with pytest.raises(HarnessError, match=r"'relu' .* is called 2 times") as raised:
            chosen_layers(shared_run, "relu")
        assert raised.value.hint.endswith("first, second, pool")

    def test_a_digit(self, resnet_run: Trained) -> None:
        inputs, _ = resnet_run.test_images((3,))
        with torch.no_grad():
            expected = resnet_run.network.get_submodule("stem")(inputs)
        assert torch.allclose(feature_maps_of(resnet_run, "stem", inputs), expected)


class TestChannels:
    maps = torch.tensor([0.0, 5.0, -9.0, 3.0]).view(1, 4, 1, 1).expand(2, 4, 3, 3)

    def test_the_strongest_first(self) -> None:
        assert chosen_channels(self.maps, "conv", (), 2, otherwise=9, all_up_to=9) == [1, 3]

    def test_the_named_ones_in_their_order(self) -> None:
        assert chosen_channels(self.maps, "conv", (3, 0), None, otherwise=9, all_up_to=9) == [3, 0]

    def test_all_or_the_strongest_of_many(self) -> None:
        assert chosen_channels(self.maps, "conv", (), None, otherwise=3, all_up_to=4) == [0, 1, 2, 3]
        assert chosen_channels(self.maps, "conv", (), None, otherwise=3, all_up_to=3) == [1, 3, 0]


class TestChannelActivations:
    def test_are_the_means_of_the_maps(self, shared_run: Trained) -> None:
        inputs, _ = shared_run.test_images((0,))
        means = feature_maps_of(shared_run, "second", inputs)[0].mean((1, 2))
        (picture,) = activations_module.channel_activations(shared_run, layer="second", labelled=2)
        chart: Any = picture.drawn
        rows = chart.data.values
        assert [row["mean"] for row in rows] == pytest.approx(means.tolist(), rel=1e-5)
        assert {row["channel"] for row in rows if row["strong"]} == set(means.topk(2).indices.tolist())
        assert f"the strongest is channel {int(means.argmax())} with {float(means.max()):.3g}" in picture.caption
