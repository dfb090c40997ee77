"""Which samples each process sees, and that every loader gives the same batches."""

from __future__ import annotations

import inspect
import itertools
import re
import subprocess
import sys
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from harness import registry
from harness.data.loading import Batch, Feed, GlobalBatches, Loader, evaluation_share, hash_seed
from harness.data.source import Split
from harness.data.transform import Transform
from harness.errors import HarnessError
from harness.spec import Augment

CPU = torch.device("cpu")
LOADERS: list[tuple[str, dict[str, Any]]] = [
    ("resident", {}),
    ("pinned", {"workers": 0}),
    ("pinned", {"workers": 2}),
]
every_loader = pytest.mark.parametrize(("name", "parameters"), LOADERS, ids=["resident", "pinned-0", "pinned-2"])


def split(count: int, side: int = 6, seed: int = 0) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
    return Split(images, np.arange(count, dtype=np.int64))


def feed(train: Split, rank: int = 0, num_processes: int = 1, seed: int = 0, batch: int = 8) -> Feed:
    return Feed(
        train=train,
        transform=Transform(Augment(crop=2, flip=True, rotate=10.0, cutout=2), (0.5,) * 3, (0.25,) * 3, CPU),
        device=CPU,
        rank=rank,
        num_processes=num_processes,
        sampler=GlobalBatches(len(train.labels), batch, num_processes, seed),
        seed=seed,
    )


def build(name: str, parameters: dict[str, Any], feed: Feed) -> Loader:
    return registry.build("loader", name, feed, **parameters)


def shares(sampler: GlobalBatches, epoch: int = 0) -> list[list[torch.Tensor]]:
    """By batch, then by rank."""
    by_rank = [list(sampler.shares(epoch, rank)) for rank in range(sampler.num_processes)]
    return [list(batch) for batch in zip(*by_rank, strict=True)]


def order(sampler: GlobalBatches, epoch: int = 0) -> list[int]:
    return [int(index) for batch in shares(sampler, epoch) for share in batch for index in share]


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
@pytest.mark.parametrize("num_samples", [240, 241, 242, 250, 263])
def test_each_sample_once_an_epoch_but_for_the_tail_that_is_counted(num_samples: int, num_processes: int) -> None:
    sampler = GlobalBatches(num_samples, 24, num_processes, seed=1)
    seen = order(sampler)
    assert len(seen) == len(set(seen)) == sum(sampler.sizes) == num_samples - sampler.skipped
    assert set(seen) <= set(range(num_samples))
    tail = num_samples % 24
    assert sampler.skipped == (tail if tail < 2 * num_processes else 0)


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
def test_processes_share_each_batch_as_evenly_as_can_be(num_processes: int) -> None:
    sampler = GlobalBatches(263, 24, num_processes, seed=1)
    for size, batch in zip(sampler.sizes, shares(sampler), strict=True):
        lengths = [len(share) for share in batch]
        assert sum(lengths) == size and max(lengths) - min(lengths) <= 1 and min(lengths) >= 2


@pytest.mark.parametrize("num_processes", [2, 3, 8])
def test_a_batch_is_the_same_at_any_world_size(num_processes: int) -> None:
    alone, together = GlobalBatches(263, 24, 1, seed=1), GlobalBatches(263, 24, num_processes, seed=1)
    assert alone.sizes == together.sizes
    assert order(alone, epoch=2) == order(together, epoch=2)


def test_seed_and_epoch_decide_the_order() -> None:
    first, same, other_seed = (GlobalBatches(100, 10, 1, seed=seed) for seed in (1, 1, 2))
    assert order(first) == order(same)
    assert len({tuple(order(sampler, epoch)) for sampler in (first, other_seed) for epoch in range(3)}) == 6


def test_the_default_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    order(GlobalBatches(100, 10, 1, seed=1))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("num_samples", "drop_last", "sizes"),
    [(20, False, [8, 8, 4]), (20, True, [8, 8]), (16, True, [8, 8]), (5, True, [5]), (17, False, [8, 8])],
)
def test_drop_last_leaves_out_a_tail_unless_it_is_all_there_is(
    num_samples: int, drop_last: bool, sizes: list[int]
) -> None:
    sampler = GlobalBatches(num_samples, 8, 1, seed=0, drop_last=drop_last)
    assert sampler.sizes == sizes and sampler.skipped == num_samples - sum(sizes)


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(HarnessError, match="3 training samples are too few for 2 processes"):
        GlobalBatches(3, 8, 2, seed=0).require_steps()
    GlobalBatches(4, 8, 2, seed=0).require_steps()


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 64, 101])
def test_evaluation_covers_each_sample_once_and_in_order(count: int, num_processes: int) -> None:
    whole = split(count, side=1)
    for rank in range(num_processes):
        parts = [whole.labels[part] for part in evaluation_share(whole, rank, num_processes, batch_size=4)]
        assert all(0 < len(part) <= 4 for part in parts)
        assert [int(label) for part in parts for label in part] == list(range(rank, count, num_processes))


def test_seeds_do_not_collide() -> None:
    seeds = {hash_seed(*numbers) for numbers in itertools.product(range(20), range(50), range(20))}
    assert len(seeds) == 20 * 50 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    hash_seed(2**70, 0, 0)


def epochs(loader: Loader, count: int = 3) -> list[Batch]:
    return [batch for epoch in range(count) for batch in loader.epoch(epoch)]


@pytest.mark.parametrize("num_processes", [1, 3])
def test_every_loader_gives_the_same_batches_to_the_bit(num_processes: int) -> None:
    train = split(44)
    given: list[list[Batch]] = []
    for name, parameters in LOADERS:
        loader = build(name, parameters, feed(train, num_processes - 1, num_processes, batch=12))
        given.append(epochs(loader))
        loader.close()
    expected = given[0]
    assert len(expected) == 3 * 4
    for batches in given[1:]:
        assert len(batches) == len(expected)
        for (images, labels), (other_images, other_labels) in zip(expected, batches, strict=True):
            assert torch.equal(images, other_images) and torch.equal(labels, other_labels)


@every_loader
def test_labels_go_with_their_images(name: str, parameters: dict[str, Any]) -> None:
    train = split(20)
    plain = feed(train)
    plain = Feed(**{**vars(plain), "transform": Transform(Augment(), (0.0,) * 3, (1.0,) * 3, CPU)})
    loader = build(name, parameters, plain)
    for images, labels in epochs(loader, 1):
        assert labels.dtype == torch.int64 and images.dtype == torch.float32
        expected = torch.from_numpy(train.images)[labels].permute(0, 3, 1, 2) / 255
        torch.testing.assert_close(images, expected)
    loader.close()


@every_loader
def test_epochs_differ_and_an_epoch_can_be_had_again(name: str, parameters: dict[str, Any]) -> None:
    loader = build(name, parameters, feed(split(16), batch=16))
    (first, labels), (second, _), (again, same_labels) = (next(iter(list(loader.epoch(e)))) for e in (0, 1, 0))
    loader.close()
    assert torch.equal(first, again) and torch.equal(labels, same_labels)
    assert not torch.equal(first, second)


@every_loader
def test_evaluation_is_in_order_and_without_augmentation(name: str, parameters: dict[str, Any]) -> None:
    held_out, config = split(11, seed=2), feed(split(20), rank=1, num_processes=2)
    loader = build(name, parameters, config)
    batches = list(loader.evaluation(held_out, 3))
    loader.close()
    assert [labels.tolist() for _, labels in batches] == [[1, 3, 5], [7, 9]]
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(images, config.transform.evaluate(torch.from_numpy(held_out.images[1::2])))


@every_loader
def test_a_rank_without_a_share_of_a_tiny_split_evaluates_nothing(name: str, parameters: dict[str, Any]) -> None:
    loader = build(name, parameters, feed(split(20), rank=2, num_processes=3))
    assert list(loader.evaluation(split(2), 4)) == []
    loader.close()


@every_loader
def test_a_loader_leaves_the_default_generator_alone(name: str, parameters: dict[str, Any]) -> None:
    # Else dropout on the CPU would depend on the loader.
    state = torch.get_rng_state()
    loader = build(name, parameters, feed(split(20)))
    epochs(loader)
    loader.close()
    assert torch.equal(state, torch.get_rng_state())


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "resource_tracker" not in _command(child)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_workers_persist_between_epochs_and_end_on_close() -> None:
    before = set(children())
    loader = build("pinned", {"workers": 2}, feed(split(40)))
    list(loader.epoch(0))
    workers = set(children()) - before
    assert len(workers) == 2
    list(loader.epoch(1))
    assert set(children()) - before == workers
    loader.close()
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    loader.close()  # twice does no harm
    assert len(list(loader.epoch(2))) == 5  # and a later epoch starts new ones
    loader.close()
    assert psutil.wait_procs(set(children()) - before, timeout=10)[1] == []


def test_an_epoch_that_was_left_early_does_not_spoil_the_next() -> None:
    config = feed(split(40))
    loader, fresh = build("pinned", {"workers": 2}, config), build("resident", {}, config)
    abandoned = loader.epoch(0)
    next(abandoned)
    del abandoned
    for (images, labels), (expected, expected_labels) in zip(loader.epoch(1), fresh.epoch(1), strict=True):
        assert torch.equal(images, expected) and torch.equal(labels, expected_labels)
    loader.close()


KILL_A_WORKER = """
import multiprocessing, os, signal, sys
import numpy as np, torch
from harness.data.loaders.pinned import Pinned
from harness.data.loading import Feed, GlobalBatches
from harness.data.source import Split
from harness.data.transform import Transform
from harness.spec import Augment

cpu, train = torch.device("cpu"), Split(np.zeros((20_000, 2, 2, 1), np.uint8), np.zeros(20_000, np.int64))
transform = Transform(Augment(), (0.0,), (1.0,), cpu)
batches = Pinned(Feed(train, transform, cpu, 0, 1, GlobalBatches(20_000, 2, 1, 0), 0), workers=1).epoch(0)
next(batches)
os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
for batch in batches:
    pass
print("the epoch went on without its worker")
"""


@pytest.mark.launch
def test_a_killed_worker_ends_in_an_error_and_not_in_a_hang() -> None:
    # In a process of its own: torch raises from a signal handler, wherever the process then is.
    ended = subprocess.run([sys.executable, "-c", KILL_A_WORKER], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and ended.stdout == ""
    assert re.search(r"DataLoader worker .* (killed|exited unexpectedly)|ConnectionResetError|EOFError", ended.stderr)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_is_raised_in_the_rank(workers: int) -> None:
    train = split(40)
    config = feed(train)
    broken = Split(train.images[:30], train.labels[:30])
    loader = build("pinned", {"workers": workers}, Feed(**{**vars(config), "train": broken}))
    with pytest.raises(IndexError, match="out of"):
        epochs(loader)
    loader.close()


@pytest.mark.parametrize("kind", ["optimizer", "schedule", "loader"])
def test_parameters_are_read_from_the_source_as_python_has_them(kind: str) -> None:
    for plugin in registry.plugins(kind):
        module = __import__(plugin.module, fromlist=[plugin.function])
        signature = inspect.signature(getattr(module, plugin.function))
        declared = {
            name: ... if parameter.default is inspect.Parameter.empty else parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        read = {
            name: ... if field.is_required() else field.get_default()
            for name, field in plugin.parameters().model_fields.items()
        }
        assert read == declared, plugin.function
        assert plugin.parameters().model_fields.keys() == declared.keys()
        assert plugin.takes_name == (next(iter(signature.parameters)) == "name")
