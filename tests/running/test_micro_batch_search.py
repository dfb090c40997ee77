"""Micro-batches that are found by trial, on a device whose memory runs out at a planned size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from harness.data.prepare import prepare
from harness.errors import MachineError
from harness.running import build, micro_batch_search
from harness.running.execute import Observer, Outcome, execute
from harness.running.micro_batch_search import search_micro_batches
from harness.spec import RunSpec, parse_run_spec
from tests.measure.test_memory import OUT_OF_MEMORY


class Limited(nn.Module):
    """A network that has memory for so many images in training, or for no copy of itself.

    Args:
        where: the memory runs out: `forward`, `backward`, `second step`, or `copy`, at any number of images.
    """

    def __init__(self, most: int, where: str = "forward") -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.most, self.where = most, where
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        if self.training:
            self.seen.append(len(images))
            if len(images) > self.most:
                if self.where == "forward" or (self.where == "second step" and len(self.seen) == 2):
                    run_out()
                if self.where == "backward":
                    logits.register_hook(run_out)
        return logits

    def __deepcopy__(self, memo: dict[int, Any]) -> Limited:
        if self.where == "copy":
            run_out()
        copied = Limited(self.most, self.where)
        copied.load_state_dict(self.state_dict())
        return copied


def run_out(gradient: Tensor | None = None) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def spec_of(**train: Any) -> RunSpec:
    values = {"epochs": 1, "global_batch_size": 64, "num_processes": 1, "retry_out_of_memory": True, **train}
    return parse_run_spec({"model": "mlp", "data": "digits", "optimizer": "adam", "train": values})


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every network one with a limit; gives those that were made."""
    made: list[Limited] = []

    def set_it(most: int, where: str = "forward") -> list[Limited]:
        def network_of(*_: Any) -> Limited:
            made.append(Limited(most, where))
            return made[-1]

        for module in (build, micro_batch_search):
            monkeypatch.setattr(module, "network_of", network_of)
        return made

    return set_it


def fitted(spec: RunSpec) -> RunSpec:
    return search_micro_batches(spec, prepare(spec.data), Accelerator(cpu=True))


@pytest.mark.parametrize(("most", "steps"), [(64, 1), (63, 2), (16, 4), (2, 32)])
def test_they_are_halved_until_they_fit(limit: Any, most: int, steps: int) -> None:
    limit(most)
    train = fitted(spec_of()).train
    assert (train.gradient_accumulation_steps, train.micro_batch_size) == (steps, 64 // steps)
    assert train.global_batch_size == 64


@pytest.mark.parametrize("where", ["backward", "second step"])
def test_a_whole_step_has_to_fit_and_the_next_beside_the_optimizers_state(limit: Any, where: str) -> None:
    limit(16, where)
    assert fitted(spec_of()).train.micro_batch_size == 16


@pytest.mark.parametrize("form", OUT_OF_MEMORY, ids=str)
def test_every_form_of_out_of_memory_halves_them(limit: Any, form: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> None:
        raise form

    monkeypatch.setitem(globals(), "run_out", run_out)
    limit(16)
    assert fitted(spec_of()).train.micro_batch_size == 16


def test_the_moving_average_has_to_fit_too(limit: Any) -> None:
    limit(64, "copy")
    assert fitted(spec_of()).train.micro_batch_size == 64
    with pytest.raises(MachineError, match="does not fit the memory"):
        fitted(spec_of(ema_decay=0.9))


def test_what_a_suite_accumulates_already_is_where_it_begins(limit: Any) -> None:
    limit(1000)
    assert fitted(spec_of(gradient_accumulation_steps=4)).train.gradient_accumulation_steps == 4


def test_nothing_is_tried_where_nobody_asked(limit: Any) -> None:
    made = limit(1)
    spec = spec_of(retry_out_of_memory=False)
    assert fitted(spec) == spec and not made


@pytest.mark.parametrize(("batch", "most", "said"), [(64, 1, "micro-batches of 2"), (12, 2, "micro-batches of 3")])
def test_what_cannot_be_halved_any_more_is_one_error(limit: Any, batch: int, most: int, said: str) -> None:
    limit(most)
    with pytest.raises(MachineError, match=f"mlp does not fit the memory with {said}"):
        fitted(spec_of(global_batch_size=batch))


def test_another_error_is_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> nn.Module:
        raise ValueError("this network is broken")

    monkeypatch.setattr(micro_batch_search, "network_of", broken)
    with pytest.raises(ValueError, match="broken"):
        fitted(spec_of())


def outcome(spec: RunSpec) -> Outcome:
    quiet = Observer(lambda step: None, lambda epoch: None)
    return execute(spec, prepare(spec.data), Accelerator(cpu=True), quiet, fingerprint="f")


def test_a_run_takes_them_and_records_them(limit: Any) -> None:
    made = limit(20)
    found = outcome(spec_of())
    resolved: Any = found.measured.resolved
    assert (resolved.micro_batch_size, resolved.gradient_accumulation_steps) == (16, 4)
    assert found.measured.throughput.steps == -(-len(prepare(spec_of().data).train.labels) // 64)
    assert max(made[-1].seen) == 16 and len(made) == 4, "three that were tried, and the run's own"


def test_a_trial_changes_no_bit_of_the_run() -> None:
    tried, plain = (outcome(spec_of(retry_out_of_memory=asked)) for asked in (True, False))
    for name, weights in plain.network.state_dict().items():
        assert torch.equal(weights, tried.network.state_dict()[name])
    assert torch.equal(plain.losses, tried.losses)
