"""The loss along the gradient, and on a plane around the weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.spec import parse_run_spec
from harness.visualize.landscape import (
    along_gradient,
    filter_normalised,
    on_one_device,
    surface,
    train_and_measure,
)
from harness.visualize.pictures.curves import step_losses
from harness.visualize.pictures.landscape import landscape
from harness.visualize.pictures.surface import contour, loss_surface
from harness.visualize.trained import Trained
from tests.visualize.charts_fixtures import train

SIZES = (0.05, 0.1, 0.2)
DROPPED = {"name": "vgg11", "width": 4, "hidden_size": 16, "dropout": 0.4}


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """With batch norm and dropout, its train metrics taken in evaluation mode."""
    root = tmp_path_factory.mktemp("normalised")
    return train(root, label="vgg", model=DROPPED, train={"evaluate_train": True})


class Bowl(nn.Module):
    """1/2 (4 x^2 + y^2): the gradient is (4 x, y), the Hessian diag(4, 1)."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self) -> Tensor:
        return 0.5 * (torch.tensor([4.0, 1.0]) * self.place**2).sum()


class TestAlongGradient:
    def test_a_quadratic_by_hand(self) -> None:
        # At (1, 2): g = (4, 2), |g| = sqrt 20; at w - s g the gradient is g - s (16, 2).
        bowl = Bowl(1.0, 2.0)
        found = along_gradient(bowl, bowl, (0.1, 0.5), step=7)
        assert found.step == 7
        assert found.loss == pytest.approx(4.0)
        assert found.gradient_norm == pytest.approx(math.sqrt(20))
        # (0.6, 1.8): 2 * 0.36 + 1.62; (-1, 1): 2 + 0.5.
        assert found.losses == pytest.approx([2.34, 2.5])
        assert found.predictiveness == pytest.approx([0.1 * math.sqrt(260), 0.5 * math.sqrt(260)])
        assert found.smoothness == pytest.approx(math.sqrt(260 / 20))

    @pytest.mark.parametrize(("place", "smoothness"), [((3.0, 0.0), 4.0), ((0.0, 3.0), 1.0)])
    def test_along_an_axis_smoothness_is_the_eigenvalue(self, place: tuple[float, float], smoothness: float) -> None:
        bowl = Bowl(*place)
        assert along_gradient(bowl, bowl, SIZES).smoothness == pytest.approx(smoothness)

    def test_it_is_the_greatest_of_the_ratios(self) -> None:
        # x^4 / 4 at 1: g = 1, and the gradient at 1 - s is (1 - s)^3.
        bowl = Bowl(1.0, 0.0)
        found = along_gradient(bowl, lambda: bowl.place[0] ** 4 / 4, (0.1, 0.5))
        ratios = [(1 - 0.9**3) / 0.1, (1 - 0.5**3) / 0.5]
        assert ratios[0] > ratios[1]
        assert found.smoothness == pytest.approx(ratios[0])

    def test_without_a_gradient_there_is_no_ratio(self) -> None:
        bowl = Bowl(0.0, 0.0)
        found = along_gradient(bowl, bowl, SIZES)
        assert math.isnan(found.smoothness)
        assert found.predictiveness == [0.0, 0.0, 0.0]

    def test_an_overflow_stays_visible(self) -> None:
        bowl = Bowl(1.0, 0.0)
        found = along_gradient(bowl, lambda: torch.exp(-1000 * bowl.place[0]).log().pow(2), (0.1, 1e9))
        assert math.isinf(found.smoothness)

    def test_nothing_is_left_changed(self) -> None:
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
        images = torch.randn(16, 5)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        state = torch.get_rng_state()
        found = along_gradient(network, lambda: network(images).square().mean(), SIZES)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)
        assert all(parameter.grad is None for parameter in network.parameters())
        again = along_gradient(network, lambda: network(images).square().mean(), SIZES)
        assert found == again

    def test_each_point_has_the_same_dropout(self) -> None:
        network = nn.Sequential(nn.Dropout(0.5), nn.Linear(40, 1)).train()
        images = torch.randn(4, 40)
        found = along_gradient(network, lambda: network(images).square().mean(), (1e-7,))
        assert found.losses[0] == pytest.approx(found.loss, rel=1e-3)


class TestTrainAndMeasure:
    def test_it_is_the_run_again_and_measuring_leaves_it_alone(self, normalised: Trained) -> None:
        run = normalised
        anew = train_and_measure(run.spec, run.splits, SIZES, steps=100, every=1, device=torch.device("cpu"))
        assert anew.steps == 8 and [each.step for each in anew.measured] == list(range(8))
        trained = run.network.state_dict()
        for name, value in anew.network.state_dict().items():
            assert torch.equal(value, trained[name]), name

    def test_loss_before_each_step_is_the_step_s(self, normalised: Trained) -> None:
        run = normalised
        anew = train_and_measure(run.spec, run.splits, SIZES, steps=6, every=2)
        assert anew.steps == 6
        expected = step_losses(run.folder.path)[[0, 2, 4]]
        assert [each.step for each in anew.measured] == [0, 2, 4]
        assert [each.loss for each in anew.measured] == pytest.approx(expected.tolist(), rel=1e-5)

    def test_shares_of_processes_become_micro_batches(self, normalised: Trained) -> None:
        values = normalised.spec.model_dump(mode="json")
        values["train"] |= {"num_processes": 4, "gradient_accumulation_steps": 2, "compile": True}
        alone = on_one_device(parse_run_spec(values)).train
        assert (alone.num_processes, alone.gradient_accumulation_steps, alone.compile) == (1, 8, False)
        assert alone.micro_batch_size == parse_run_spec(values).train.micro_batch_size

    def test_a_training_that_diverges_is_an_error(self, normalised: Trained) -> None:
        values = normalised.spec.model_dump(mode="json")
        values["optimizer"]["lr"] = 1e30
        values["model"] = {"name": "mlp"}
        with pytest.raises(HarnessError, match="is not finite") as caught:
            train_and_measure(parse_run_spec(values), normalised.splits, SIZES, steps=8, every=100)
        assert "steps=" in caught.value.hint


class TestFilterNormalised:
    def test_each_filter_has_the_norm_of_the_network_s(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(4, 6))
        with torch.no_grad():
            network.get_parameter("0.weight")[2] *= 100
        direction = filter_normalised(network, torch.Generator().manual_seed(1))
        for name in ("0.weight", "2.weight"):
            weight = dict(network.named_parameters())[name].detach()
            assert direction[name].flatten(1).norm(dim=1) == pytest.approx(weight.flatten(1).norm(dim=1))
            assert not torch.allclose(direction[name], weight)
        for name in ("0.bias", "1.weight", "1.bias", "2.bias"):
            assert direction[name].count_nonzero() == 0

    def test_a_seed_gives_the_same_again_and_two_draws_differ(self) -> None:
        network = nn.Linear(4, 6)
        generator = torch.Generator().manual_seed(1)
        first, second = filter_normalised(network, generator), filter_normalised(network, generator)
        again = filter_normalised(network, torch.Generator().manual_seed(1))
        assert torch.equal(first["weight"], again["weight"])
        assert not torch.equal(first["weight"], second["weight"])


class TestSurface:
    def test_a_quadratic_by_hand_and_weights_stay(self) -> None:
        bowl = Bowl(1.0, 2.0)
        along = [{"place": torch.tensor([1.0, 0.0]), "frozen": torch.zeros(1)}]
        along.append({"place": torch.tensor([0.0, 1.0]), "frozen": torch.zeros(1)})
        found = surface(bowl, bowl, along, [-1.0, 0.0, 1.0])
        # Columns: x = 0, 1, 2; rows: y = 1, 2, 3.
        expected = [[0.5 * (4 * x**2 + y**2) for x in (0, 1, 2)] for y in (1, 2, 3)]
        assert found.tolist() == expected
        assert bowl.place.tolist() == [1.0, 2.0]

    def test_its_centre_is_the_run_s_training_loss(self, normalised: Trained) -> None:
        run = normalised
        before = {name: value.clone() for name, value in run.network.state_dict().items()}
        (drawn,) = loss_surface(run, samples=250, points=5, radius=0.5)
        record = json.loads((run.folder.path / "pictures" / "surface.json").read_text())
        assert record["places"] == [-0.5, -0.25, 0.0, 0.25, 0.5]
        assert record["losses"][2][2] == pytest.approx(run.result.metrics["train"].loss, rel=1e-4)
        assert len({loss for row in record["losses"] for loss in row}) == 25
        assert all(torch.equal(value, before[name]) for name, value in run.network.state_dict().items())
        path = drawn.write(run.folder.path / "pictures")
        assert path.name == "surface.png" and path.stat().st_size > 10_000

    @pytest.mark.parametrize("points", [1, 4])
    def test_a_grid_without_a_centre_is_an_error(self, normalised: Trained, points: int) -> None:
        with pytest.raises(HarnessError, match="no point at its centre") as caught:
            loss_surface(normalised, points=points)
        assert "odd" in caught.value.hint

    def test_more_images_than_there_are_is_an_error(self, normalised: Trained) -> None:
        with pytest.raises(HarnessError, match="there are 250"):
            loss_surface(normalised, samples=251)


class TestContour:
    def test_a_circle(self) -> None:
        field = [[math.hypot(x - 10, y - 10) for x in range(21)] for y in range(21)]
        pieces = contour(field, 6.0)
        assert all(abs(math.hypot(x - 10, y - 10) - 6) < 0.05 for piece in pieces for x, y in (piece[:2], piece[2:]))
        length = sum(math.hypot(x2 - x, y2 - y) for x, y, x2, y2 in pieces)
        assert length == pytest.approx(2 * math.pi * 6, rel=0.01)

    def test_no_line_where_nothing_is_known(self) -> None:
        assert contour([[0.0, math.inf], [2.0, 2.0]], 1.0) == []
        assert len(contour([[0.0, 2.0], [0.0, 2.0]], 1.0)) > 0


class TestLandscape:
    def test_numbers_beside_the_picture(self, normalised: Trained, tmp_path: Path) -> None:
        other = train(tmp_path, label="without", model={**DROPPED, "batch_norm": False})
        (drawn,) = landscape([normalised, other], steps=4, every=2, step_sizes=(0.1, 0.4))
        record = json.loads((normalised.folder.path / "pictures" / "landscape.json").read_text())
        assert record["step_sizes"] == [0.1, 0.4]
        assert [run["label"] for run in record["runs"]] == ["vgg", "without"]
        own = train_and_measure(other.spec, other.splits, (0.1, 0.4), 4, 2).measured
        assert [each["step"] for each in record["runs"][1]["measured"]] == [0, 2]
        assert [each["losses"] for each in record["runs"][1]["measured"]] == [each.losses for each in own]
        assert record["runs"][1]["steps"] == 4
        assert "0.1, 0.4" in drawn.caption and "vgg · seed 1, without · seed 1" in drawn.caption
        assert drawn.write(tmp_path).stat().st_size > 10_000

    def test_without_step_sizes_it_is_an_error(self, normalised: Trained) -> None:
        with pytest.raises(HarnessError, match="empty") as caught:
            landscape([normalised], step_sizes=())
        assert "step_sizes=" in caught.value.hint

    def test_an_error_names_the_run(self, normalised: Trained) -> None:
        values = normalised.spec.model_dump(mode="json")
        values["optimizer"]["lr"] = 1e30
        values["model"] = {"name": "mlp"}
        with pytest.raises(HarnessError, match="quick: vgg, seed 1: training anew"):
            landscape([replace(normalised, spec=parse_run_spec(values))], steps=8, every=9)
