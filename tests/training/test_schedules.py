"""Learning-rate schedules against torch.optim.lr_scheduler, and the warm-up that all of them share."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedules

from harness import registry
from harness.contracts import schedule as contract
from harness.spec import RunSpec, parse_run_spec
from harness.training.setup import build_learning_rate

EPOCHS, STEPS = 12, 7  # steps an epoch
BASE = 0.3


def optimizer() -> Optimizer:
    return SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": BASE / 10}], lr=BASE)


def rates(name: str, epochs: int = EPOCHS, steps: int = STEPS, **parameters: Any) -> list[float]:
    """The learning rate of each step of a run."""
    spec: RunSpec = parse_run_spec(
        {"model": "mlp", "data": "digits", "optimizer": "adam", "schedule": {"name": name, **parameters}}
    )
    stepped = optimizer()
    rate = build_learning_rate(spec.schedule, stepped, epochs, steps)
    found = []
    for step in range(epochs * steps):
        rate.set(step)
        assert stepped.param_groups[1]["lr"] == pytest.approx(rate.value / 10)
        found.append(rate.value)
    return found


def torch_rates(make: Callable[[Optimizer], Any], steps_a_scheduler_step: int) -> list[float]:
    stepped = optimizer()
    schedule = make(stepped)
    found = []
    for step in range(EPOCHS * STEPS):
        found.append(stepped.param_groups[0]["lr"])
        stepped.step()
        if (step + 1) % steps_a_scheduler_step == 0:
            schedule.step()
    return found


EACH_EPOCH, EACH_STEP = STEPS, 1
SAME_AS_TORCH: list[tuple[str, dict[str, Any], Callable[[Optimizer], Any], int]] = [
    ("constant", {}, lambda o: torch_schedules.ConstantLR(o, factor=1.0), EACH_EPOCH),
    ("step", {"step_epochs": 5, "gamma": 0.2}, lambda o: torch_schedules.StepLR(o, 5, 0.2), EACH_EPOCH),
    (
        "multistep",
        {"milestones": [9, 4], "gamma": 0.5},
        lambda o: torch_schedules.MultiStepLR(o, [4, 9], 0.5),
        EACH_EPOCH,
    ),
    ("cosine", {}, lambda o: torch_schedules.CosineAnnealingLR(o, EPOCHS * STEPS), EACH_STEP),
    (
        "cosine",
        {"final_factor": 0.1},
        lambda o: torch_schedules.LambdaLR(o, lambda s: 0.1 + 0.9 * torch_cosine_factor(s / (EPOCHS * STEPS))),
        EACH_STEP,
    ),
    (
        "linear",
        {"final_factor": 0.25},
        lambda o: torch_schedules.LinearLR(o, 1.0, 0.25, EPOCHS * STEPS),
        EACH_STEP,
    ),
]


def torch_cosine_factor(done: float) -> float:
    return float((1 + torch.cos(torch.tensor(done * torch.pi, dtype=torch.float64))) / 2)


@pytest.mark.parametrize(("name", "parameters", "make", "every"), SAME_AS_TORCH)
def test_schedules_are_torchs(
    name: str, parameters: dict[str, Any], make: Callable[[Optimizer], Any], every: int
) -> None:
    assert rates(name, **parameters) == pytest.approx(torch_rates(make, every), rel=1e-9)


@pytest.mark.parametrize(("shape", "strategy"), [("cosine", "cos"), ("linear", "linear")])
def test_one_cycle_is_torchs_but_for_a_step(shape: str, strategy: Any) -> None:
    # Torch starts the way down one step early and reaches the end with the last step, ours with the end of the run.
    def make(stepped: Optimizer) -> Any:
        return torch_schedules.OneCycleLR(
            stepped, [BASE, BASE / 10], total_steps=EPOCHS * STEPS, anneal_strategy=strategy, cycle_momentum=False
        )

    ours, theirs = rates("one_cycle", shape=shape), torch_rates(make, EACH_STEP)
    largest_step = max(abs(a - b) for a, b in itertools.pairwise(theirs))
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1.5 * largest_step
    assert ours[0] == pytest.approx(theirs[0]) == pytest.approx(BASE / 25)


def test_one_cycle_peaks_where_it_is_told() -> None:
    found = rates("one_cycle", epochs=10, steps=10, peak_at=0.4, initial_factor=0.1, final_factor=0.01, shape="linear")
    assert found[0] == pytest.approx(0.1 * BASE) and found[20] == pytest.approx(0.55 * BASE)
    assert found.index(max(found)) == 40 and found[40] == pytest.approx(BASE)
    assert found[70] == pytest.approx((1 + 0.01) / 2 * BASE)


def test_milestones_of_report_1() -> None:
    # Adam at 1e-3, 20 epochs, gamma 0.5, milestones 10, 15 and 18: epochs 11, 16 and 19 begin with half the rate.
    by_epoch = rates("multistep", epochs=20, steps=1, milestones=[10, 15, 18], gamma=0.5)
    factors = [1.0] * 10 + [0.5] * 5 + [0.25] * 3 + [0.125] * 2
    assert by_epoch == pytest.approx([BASE * factor for factor in factors])


@pytest.mark.parametrize("steps", [1, 3, 7, 391, 500])
def test_drops_fall_on_the_first_step_of_an_epoch(steps: int) -> None:
    found = rates("step", epochs=20, steps=steps, step_epochs=1, gamma=0.5)
    assert [found.index(BASE * 0.5**epoch) for epoch in range(20)] == [epoch * steps for epoch in range(20)]


@pytest.mark.parametrize(("warmup_epochs", "warm"), [(1.0, 7), (2.0, 14), (0.5, 3.5), (0.01, 0.07)])
def test_warm_up_is_linear_from_above_zero_to_exactly_one(warmup_epochs: float, warm: float) -> None:
    found = rates("constant", warmup_epochs=warmup_epochs)
    assert found == pytest.approx([BASE * min(1.0, (step + 1) / warm) for step in range(EPOCHS * STEPS)])
    assert found[0] > 0
    assert set(found[max(int(warm + 0.5), 1) - (warm == int(warm)) :]) == {BASE}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("constant", {}), ("cosine", {}), ("one_cycle", {}), ("multistep", {"milestones": [1]}), ("linear", {})],
)
def test_every_schedule_warms_up_in_the_same_way(name: str, parameters: dict[str, Any]) -> None:
    without, warmed = rates(name, **parameters), rates(name, warmup_epochs=2.0, **parameters)
    assert [w / b for w, b in zip(warmed[:14], without[:14], strict=True)] == pytest.approx(
        [(step + 1) / 14 for step in range(14)]
    )
    assert warmed[14:] == without[14:]


def test_a_warm_up_longer_than_the_run_never_reaches_the_rate() -> None:
    found = rates("constant", epochs=2, warmup_epochs=4.0)
    assert found[-1] == pytest.approx(BASE / 2) and found == sorted(found)


SMALL: dict[str, dict[str, Any]] = {"step": {"step_epochs": 5}, "multistep": {"milestones": [3]}}


@pytest.mark.parametrize("name", registry.names("schedule"))
@pytest.mark.parametrize("epochs", [1, EPOCHS])
def test_every_schedule_gives_each_step_a_factor_and_has_no_state(name: str, epochs: int) -> None:
    build = functools.partial(registry.build, "schedule", name, **SMALL.get(name, {}))
    contract.gives_each_step_a_factor(build, epochs)
    contract.has_no_state(build, epochs)
