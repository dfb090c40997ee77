"""The loader that tries the others: what it measures, takes and records."""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import harness.data.augment
from harness import registry
from harness.contracts.loader import array_split, expected_epoch, feed, require_same
from harness.data import copies
from harness.data.loaders import auto as module
from harness.data.loading import Batch, Feed, Loader
from harness.data.source import Split
from harness.errors import HarnessError
from harness.running import one_run
from harness.spec import Augment, parse_run_spec
from tests.data.feeds import build, file_split, labels_of, read_by_hand

NAMES = ["resident", "pinned", "dali"]
pytest.importorskip("nvidia.dali")


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has measured is forgotten in the next."""
    monkeypatch.setattr(module, "_measured", {})


def auto(given: Feed, seconds: float = 0.01, workers: int = 0) -> Loader:
    return build("auto", {"seconds": seconds, "workers": workers}, given)


class Slow:
    """A loader whose batches take a known time; it notes what is asked of it."""

    def __init__(self, name: str, feed: Feed, seconds: float) -> None:
        self.name = name
        self.measured: dict[str, float | str] = {}
        self.closed = False
        self._feed = feed
        self._seconds = seconds

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        for share in self._feed.sampler.shares(epoch, self._feed.rank, first_batch):
            time.sleep(self._seconds)
            yield torch.zeros(len(share), 3, 12, 12), share

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        raise AssertionError("only training is timed")

    def close(self) -> None:
        self.closed = True


def slow_loaders(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[Slow]:
    """Puts loaders of known speed in place of the candidates; returns those that were built."""
    built: list[Slow] = []

    def build_slowly(name: str, feed: Feed, workers: int) -> Slow:
        built.append(Slow(name, feed, seconds[name]))
        return built[-1]

    monkeypatch.setattr(module, "_build", build_slowly)
    return built


def rates(monkeypatch: pytest.MonkeyPatch, values: dict[str, float | str]) -> list[str]:
    """Puts known rates in place of the measurements; returns the names that were measured."""
    asked: list[str] = []

    def rate(name: str, *_: Any) -> float | str:
        asked.append(name)
        return values[name]

    monkeypatch.setattr(module, "_rate", rate)
    return asked


def hide_dali(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(harness.data.augment, "graph", raising=False)
    for name in [name for name in sys.modules if name.startswith("nvidia")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "harness.data.augment.graph", raising=False)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)


@pytest.mark.parametrize("store", ["arrays", "files"])
def test_all_three_are_measured_and_the_fastest_is_taken(store: str, photographs: list[str]) -> None:
    train = file_split(photographs) if store == "files" else array_split(101)
    loader = auto(feed(train), seconds=0.05)
    measured = {name: loader.measured[name] for name in NAMES}
    assert all(isinstance(rate, float) and rate > 0 for rate in measured.values())
    assert measured[loader.name] == max(measured.values())  # type: ignore[type-var]
    given, pixels = feed(train), read_by_hand(photographs) if store == "files" else train.images
    for epoch in (0, 3):
        require_same(loader.epoch(epoch), expected_epoch(given, pixels, epoch), given)
    loader.close()


@pytest.mark.parametrize("order", list(itertools.permutations([1000.0, 2000.0, 3000.0])))
def test_the_fastest_is_taken_whichever_it_is(monkeypatch: pytest.MonkeyPatch, order: tuple[float, ...]) -> None:
    known: dict[str, float | str] = dict(zip(NAMES, order, strict=True))
    rates(monkeypatch, known)
    loader = auto(feed(array_split(50)))
    assert known[loader.name] == 3000.0 and loader.measured == known
    assert sorted(labels_of(loader.epoch(0))) == list(range(50))
    loader.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that nothing but sleep moves, so that no busy machine does."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    return clock


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("fastest", NAMES)
def test_what_is_measured_is_images_per_second(monkeypatch: pytest.MonkeyPatch, fastest: str) -> None:
    built = slow_loaders(monkeypatch, {name: 0.004 if name == fastest else 0.02 for name in NAMES})
    loader = auto(feed(array_split(96), batch=24), seconds=0.15)
    assert loader.name == fastest
    for name, rate in loader.measured.items():
        assert rate == pytest.approx(24 / (0.004 if name == fastest else 0.02))
    assert [slow.name for slow in built] == [*NAMES, fastest]
    assert [slow.closed for slow in built] == [True, True, True, False]  # but the one that is taken


@pytest.mark.usefixtures("clock")
def test_the_first_batches_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    built = slow_loaders(monkeypatch, dict.fromkeys(NAMES, 0.001))
    waits = iter([0.1] * module.WARM_UP_BATCHES)
    epoch = Slow.epoch

    def late_at_first(self: Slow, *arguments: int) -> Iterator[Batch]:
        for batch in epoch(self, *arguments):
            if self is built[0]:
                time.sleep(next(waits, 0.0))
            yield batch

    monkeypatch.setattr(Slow, "epoch", late_at_first)
    loader = auto(feed(array_split(96), batch=24), seconds=0.1)
    assert loader.measured["resident"] == pytest.approx(24 / 0.001)


def test_a_loader_that_is_not_there_is_passed_over_and_the_record_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_dali(monkeypatch)
    loader = auto(feed(array_split(50)))
    assert loader.name in ("resident", "pinned")
    reason = loader.measured["dali"]
    assert isinstance(reason, str) and reason.startswith("loader 'dali' needs NVIDIA DALI")
    assert all(isinstance(loader.measured[name], float) for name in ("resident", "pinned"))
    loader.close()


def test_data_that_do_not_fit_leave_out_the_resident_loader_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "available_bytes", lambda: 1000)
    loader = auto(feed(array_split(50)))
    assert loader.name in ("pinned", "dali") and "in memory" in str(loader.measured["resident"])
    assert sorted(labels_of(loader.epoch(0))) == list(range(50))
    loader.close()


def test_a_loader_that_fails_while_it_is_tried_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    built = slow_loaders(monkeypatch, {"resident": 0.0, "pinned": 0.01, "dali": 0.02})
    epoch = Slow.epoch

    def failing(self: Slow, *arguments: int) -> Iterator[Batch]:
        yield next(epoch(self, *arguments))
        if self.name == "resident":
            raise HarnessError("it broke", "mend it")
        yield from epoch(self, *arguments)

    monkeypatch.setattr(Slow, "epoch", failing)
    loader = auto(feed(array_split(96), batch=24))
    assert loader.name == "pinned" and loader.measured["resident"] == "it broke" and built[0].closed


def test_where_none_can_be_had_that_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch, {"resident": "too large", "pinned": "no worker", "dali": "not installed"})
    with pytest.raises(HarnessError, match="no loader can be used: too large"):
        auto(feed(array_split(50)))


def test_runs_that_are_fed_alike_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rates(monkeypatch, {"resident": 1.0, "pinned": 3.0, "dali": 2.0})
    train, other = array_split(50), array_split(50, seed=1)
    alike = [feed(train), feed(train, seed=5), feed(train)]
    unlike = [
        feed(other),
        feed(train, batch=12),
        feed(train, augment=Augment()),
        feed(train, channels_last=True),
        feed(train.take(train.labels[:40])),
    ]
    for given in alike:
        auto(given).close()
        assert asked == NAMES
    for number, given in enumerate(unlike, 2):
        loader = auto(given)
        assert asked == NAMES * number and loader.measured == {"resident": 1.0, "pinned": 3.0, "dali": 2.0}
        loader.close()
    auto(feed(train), workers=2).close()
    assert len(asked) == 3 * (len(unlike) + 2)


def test_what_was_measured_of_images_that_are_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python gives their address, by which they were known, to the next ones.
    rates(monkeypatch, {"resident": 1.0, "pinned": 3.0, "dali": 2.0})
    train = array_split(20)
    auto(feed(train)).close()
    assert len(module._measured) == 1
    del train
    gc.collect()
    assert module._measured == {}


def test_the_record_of_one_run_is_not_changed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch, {"resident": 1.0, "pinned": 3.0, "dali": 2.0})
    train = array_split(50)
    first = auto(feed(train))
    first.measured["resident"] = "changed"
    assert auto(feed(train)).measured == {"resident": 1.0, "pinned": 3.0, "dali": 2.0}


def test_the_workers_are_those_of_the_pinned_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch, {"resident": 1.0, "pinned": 3.0, "dali": 2.0})
    for workers in (0, 1):
        loader = auto(feed(array_split(50)), workers=workers)
        assert loader._loader.num_workers == workers  # type: ignore[attr-defined]
        loader.close()


def test_all_ranks_choose_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    # Alone, rank 0 would take `resident`; `dali` is the fastest of rank 0, but rank 1 cannot have it.
    of_rank: list[dict[str, float | str]] = [
        {"resident": 5.0, "pinned": 4.0, "dali": 9.0},
        {"resident": 1.0, "pinned": 4.0, "dali": "not installed"},
    ]

    def gather(into: list[Any], own: dict[str, float | str]) -> None:
        into[:] = of_rank

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    for own in of_rank:
        monkeypatch.setattr(module, "_measured", {})
        rates(monkeypatch, own)
        loader = auto(feed(array_split(50)))
        assert loader.name == "pinned"
        assert loader.measured == {"resident": 6.0, "pinned": 8.0, "dali": "not installed"}
        loader.close()


def test_a_rank_gets_its_own_share_and_the_default_generator_is_left_alone() -> None:
    state, train = torch.get_rng_state(), array_split(101)
    given = feed(train, 1, 2)
    loader = auto(given)
    require_same(loader.epoch(0), expected_epoch(given, train.images, 0), given)
    assert torch.equal(state, torch.get_rng_state())
    loader.close()


OWN = """
from harness.data.loaders.resident import resident
from harness.registry import loader


@loader("own", decodes=True)
def own(feed):
    \"\"\"Decodes files.\"\"\"
    return resident(feed)


@loader("other")
def other(feed):
    \"\"\"Does not.\"\"\"
    return resident(feed)
"""


def test_a_loader_of_ones_own_that_decodes_files_takes_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    known: dict[str, float | str] = {"resident": 1.0, "pinned": 2.0, "dali": 3.0, "own": 4.0}
    rates(monkeypatch, known)
    before = build("auto", {}, feed(array_split(24)))
    registry.use([tmp_path / "own.py"])
    try:
        loader = build("auto", {}, feed(array_split(24)))
        assert set(before.measured) == known.keys() - {"own"}
        assert set(loader.measured) == set(known) and loader.measured["own"] == 4.0
        spec = parse_run_spec({"model": "mlp", "data": "digits", "optimizer": "adam", "loader": "own"})
        assert one_run.decodes_itself(spec)
        assert not one_run.decodes_itself(parse_run_spec(spec.model_dump() | {"loader": "other"}))
    finally:
        registry.use()
