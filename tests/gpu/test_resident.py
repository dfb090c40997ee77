"""When the resident loader tries torch's compiler for its augmentation, and what it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.contracts.loader import array_split, feed
from harness.data.loaders import resident
from harness.data.loaders.resident import COMPILE_SECONDS, COMPILED, EAGER, ResidentOnGpu
from harness.data.loading import ChosenLoader, Feed
from tests.gpu.stand_in import stand_in_gpu

SECONDS = 1e-3  # of a batch that is not compiled


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Takes the compiler and the clock away; returns what was compiled and timed."""
    calls: list[str] = []
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))

    def compiled(self: ResidentOnGpu) -> Any:
        calls.append("compiled")
        return print

    def seconds(self: ResidentOnGpu, make: Any, size: int, batches: int) -> float:
        calls.append("timed")
        return batches * (SECONDS / 2 if make is print else SECONDS)

    monkeypatch.setattr(ResidentOnGpu, "_compiled", compiled)
    monkeypatch.setattr(ResidentOnGpu, "_try", seconds)
    return calls


def of_run(**changes: Any) -> Feed:
    given = feed(array_split(96))
    return dataclasses.replace(given, **{"device": torch.device("cuda", 0), "batches": 10**6, **changes})


def loader_of(given: Feed, capability: tuple[int, int] = (9, 0)) -> ResidentOnGpu:
    with stand_in_gpu(capability):
        return ResidentOnGpu(given, compile=None)


def takes_compiled(loader: ResidentOnGpu) -> bool:
    return loader._make is print


def test_a_long_run_takes_the_faster_and_the_next_process_remembers_it(tried: list[str]) -> None:
    first = loader_of(of_run())
    assert takes_compiled(first) and first.measured[COMPILED] == pytest.approx(2 * first.measured[EAGER])  # type: ignore[operator]
    tried.clear()
    second = loader_of(of_run())
    assert takes_compiled(second) and second.measured == first.measured
    assert tried == ["compiled"], "and times nothing"


def test_a_run_that_is_over_before_the_compiler_is_has_no_use_for_it(tried: list[str]) -> None:
    short = int(COMPILE_SECONDS / SECONDS) - 1
    loader = loader_of(of_run(batches=short))
    assert not takes_compiled(loader) and "compiled" not in tried
    assert loader.measured[COMPILED] == "not tried: all batches of the run take 10 s without"
    assert takes_compiled(loader_of(of_run(batches=short + 2))), "what was not tried is not remembered"


@pytest.mark.parametrize(
    ("changes", "capability", "why"),
    [
        ({"deterministic": True}, (9, 0), "not tried: train.deterministic"),
        ({}, (6, 1), "not tried: compute capability 6.1, and torch's compiler needs 7.0"),
    ],
)
def test_where_it_is_not_tried_the_record_says_why(
    tried: list[str], changes: dict[str, Any], capability: tuple[int, int], why: str
) -> None:
    loader = loader_of(of_run(**changes), capability)
    assert not takes_compiled(loader) and loader.measured == {COMPILED: why} and not tried


def test_a_run_that_goes_on_keeps_what_it_had(tried: list[str]) -> None:
    assert takes_compiled(loader_of(of_run()))
    had: dict[str, float | str] = {EAGER: 2.0, COMPILED: 1.0}
    assert not takes_compiled(loader_of(of_run(chosen=ChosenLoader("resident", had))))
    assert takes_compiled(loader_of(of_run(chosen=ChosenLoader("resident", {EAGER: 1.0, COMPILED: 2.0}))))
    assert not takes_compiled(loader_of(of_run(chosen=ChosenLoader("resident", {COMPILED: "no Triton"}))))


def test_where_it_fails_on_one_rank_none_takes_it(tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gather = resident.of_all_ranks
    monkeypatch.setattr(
        resident, "of_all_ranks", lambda value: [*gather(value), 0.0 if isinstance(value, float) else value]
    )
    loader = loader_of(of_run())
    assert not takes_compiled(loader) and loader.measured[COMPILED] == "not on all ranks"
