"""Clocks against truth: a loader and a network that sleep give back the train, wait and evaluation times planted.

The sleeps are long, since a step's own work of some milliseconds is train time, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from accelerate import Accelerator
from torch import Tensor, nn

from harness.data.prepare import prepare
from harness.running import execute as execute_module
from harness.running.build import build_loader, build_train_state
from harness.running.execute import Observer, execute
from tests.processes import seconds_without_a_core
from tests.running.test_execute import make_spec

STEPS = 4
ATTEMPTS = 4  # what a busy machine adds between the sleeps is no error of a clock, and not all of it can be told


@dataclass
class Planted:
    """Sleeps that take as long as they are asked to, and what they really took, by the clock that they belong to."""

    load: float = 0.0
    step: float = 0.0
    evaluation: float = 0.0
    slept: dict[str, float] = field(default_factory=lambda: {"wait": 0.0, "step": 0.0, "eval": 0.0})

    def sleep(self, seconds: float, clock: str) -> None:
        if seconds:
            began = time.perf_counter()
            time.sleep(seconds)
            self.slept[clock] += time.perf_counter() - began

    def slow(self, loader: Any) -> Any:
        """Returns the loader with a sleep before each batch."""
        planted, epoch, evaluation = self, loader.epoch, loader.evaluation

        def slow_epoch(*arguments: Any) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in epoch(*arguments):
                planted.sleep(planted.load, "wait")
                yield batch

        def slow_evaluation(*arguments: Any) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in evaluation(*arguments):
                planted.sleep(planted.load, "eval")
                yield batch

        loader.epoch, loader.evaluation = slow_epoch, slow_evaluation
        return loader

    def before_forward(self, network: nn.Module, inputs: Any) -> None:
        """Sleeps before each forward pass."""
        if network.training:
            self.sleep(self.step, "step")
        else:
            self.sleep(self.evaluation, "eval")


def run(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Returns the fields of the record of two epochs on a planted loader and network."""

    def slow_loader(*arguments: Any) -> Any:
        loader, sampler = build_loader(*arguments)
        return planted.slow(loader), sampler

    def slow_trainee(*arguments: Any) -> Any:
        train_state = build_train_state(*arguments)
        train_state.network.register_forward_pre_hook(planted.before_forward)
        return train_state

    monkeypatch.setattr(execute_module, "build_loader", slow_loader)
    monkeypatch.setattr(execute_module, "build_train_state", slow_trainee)
    monkeypatch.setattr(execute_module, "count_size", lambda *arguments: None)  # it would sleep, too
    data = {"name": "digits", "train_samples": STEPS * 32, "test_samples": 128}
    train = {"epochs": 2, "global_batch_size": 32, "eval_batch_size": 64, "untimed_steps": 2}
    spec = make_spec(data=data, train=train)
    observer = Observer(lambda step: None, lambda epoch: None)
    return dict(execute(spec, prepare(spec.data), Accelerator(cpu=True), observer, fingerprint="f").measured)


@pytest.mark.slow
@pytest.mark.launch
@pytest.mark.parametrize(
    ("load", "step", "evaluation"),
    [(0.35, 0.15, 0.25), (0.15, 0.35, 0.3)],
    ids=["the loader is slow", "the network is slow"],
)
def test_planted_times_are_given_back_to_one_percent(
    load: float, step: float, evaluation: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Planted(), monkeypatch)  # the first steps of a process take far longer
    errors: list[dict[str, float]] = []
    for _ in range(ATTEMPTS):
        planted, before = Planted(load, step, evaluation), seconds_without_a_core()
        fields = run(planted, monkeypatch)
        waited = seconds_without_a_core() - before
        clock, slept = fields["clock"], planted.slept
        train = slept["wait"] + slept["step"]
        found = {
            "train": clock.train_seconds / train,
            "wait": fields["throughput"].data_wait_share * clock.train_seconds / slept["wait"],
            "eval": clock.eval_seconds / slept["eval"],
            "rate": fields["throughput"].samples_per_second / (2 * STEPS * 32 / train),
        }
        assert slept["wait"] == pytest.approx(2 * STEPS * load, rel=0.1) and train > 2.0
        errors.append({name: ratio - 1 for name, ratio in found.items()})
        parts = {"train": train, "rate": train, "wait": slept["wait"], "eval": slept["eval"]}
        if all(abs(error) <= 0.01 + waited / parts[name] for name, error in errors[-1].items()):
            return
    pytest.fail(f"off by {errors}")
