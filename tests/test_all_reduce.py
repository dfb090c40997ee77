"""The arithmetic of the scaling model (benchmarks/performance/all_reduce.py), against cases reckoned by hand."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.house import ROOT

RANKS = 4
STEP = 0.1  # seconds


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "performance")
    return importlib.import_module("all_reduce")


def exposed(model: ModuleType, *buckets: tuple[int, float], seconds: float = STEP) -> float:
    """Returns the milliseconds after the backward pass; with four ranks, 1 GB/s makes 1.5 ms of a megabyte."""
    step = model.Step(seconds, tuple(model.Bucket(*bucket) for bucket in buckets))
    return 1000 * model.exposed_seconds(step, RANKS, model.Link("given", 1e9))


def test_a_ring_sends_all_but_an_nth_twice_and_each_hop_takes_time(model: ModuleType) -> None:
    assert model.all_reduce_seconds(4_000_000, 4, model.Link("given", 1e9)) == pytest.approx(0.006)
    slow = model.Link("given", 1e9, hop_seconds=0.001, start_seconds=0.1)
    assert model.all_reduce_seconds(4_000_000, 4, slow) == pytest.approx(0.006 + 6 * 0.001 + 0.1)
    assert model.all_reduce_seconds(8_000_000, 8, slow) == pytest.approx(0.014 + 14 * 0.001 + 0.1)


def test_one_bucket_overlaps_with_nothing(model: ModuleType) -> None:
    assert exposed(model, (4_000_000, 0.8)) == pytest.approx(6)
    assert exposed(model, (4_000_000, 0.8), seconds=1) == pytest.approx(6)


def test_buckets_that_are_ready_at_once_follow_each_other(model: ModuleType) -> None:
    assert exposed(model, (4_000_000, 0.8), (2_000_000, 0.8)) == pytest.approx(6 + 3)


def test_only_the_last_of_buckets_that_are_ready_early_is_waited_for(model: ModuleType) -> None:
    assert exposed(model, (4_000_000, 0.1), (4_000_000, 0.2), (2_000_000, 0.8)) == pytest.approx(3)


def test_a_bucket_waits_until_the_one_before_it_is_through(model: ModuleType) -> None:
    # Ready at 77 ms and through at 83, the second from 83 to 89; the backward pass ends at 80.
    assert exposed(model, (4_000_000, 0.77), (4_000_000, 0.8)) == pytest.approx(9)
    # And all three, from 70 ms on: 76, 82, 88.
    assert exposed(model, (4_000_000, 0.7), (4_000_000, 0.71), (4_000_000, 0.8)) == pytest.approx(8)


def test_speed_up(model: ModuleType) -> None:
    free, bucket = model.Link("given", 1e30), model.Bucket(4_000_000, 0.8)
    assert model.speed_up(model.Step(STEP, (bucket,)), RANKS, free) == pytest.approx(4)
    link = model.Link("given", 1e9)
    assert model.speed_up(model.Step(STEP, (bucket,)), RANKS, link) == pytest.approx(4 * 100 / 106)
    assert model.speed_up(model.Step(STEP, (bucket,), 0.004), RANKS, link) == pytest.approx(4 * 100 / 110)


def test_the_least_seconds_of_a_step_for_a_speed_up(model: ModuleType) -> None:
    # 6 ms of the bucket and 1 ms of DDP: s / (s + 7 ms) is 3.5 of 4 at 49 ms, whatever the step takes now.
    step = model.Step(STEP, (model.Bucket(4_000_000, 0.8),), 0.001)
    assert model.least_seconds(step, RANKS, model.Link("given", 1e9), 3.5) == pytest.approx(0.049)


def test_a_link_is_found_from_two_all_reduces(model: ModuleType) -> None:
    link = model.Link("calibrated", 2e9, hop_seconds=1e-4)
    few, many = ((nbytes, model.all_reduce_seconds(nbytes, 3, link)) for nbytes in (2**16, 2**26))
    found = model.link_between(few, many, 3)
    assert found.bytes_per_second == pytest.approx(2e9) and found.hop_seconds == pytest.approx(1e-4)
    assert found.source == "calibrated" and found.start_seconds == 0
    no_latency = model.link_between((2**16, 0.0), many, 3)
    assert no_latency.hop_seconds == 0
