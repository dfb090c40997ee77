"""The traps that DALI's own readers set, and the errors of files: none of them is ours."""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import harness.data.augment
from harness.contracts.loader import COUNT, expected_epoch, expected_evaluation, feed, require_same
from harness.data import copies
from harness.data.files import ImageFiles
from harness.data.loaders import dali as module
from harness.data.loading import ChosenLoader, Loader
from harness.data.order import GlobalBatches
from harness.data.source import Split
from harness.errors import HarnessError, MachineError, see_doctor
from harness.spec import Augment
from tests.data.feeds import build, changed, file_split, labels_of, read_by_hand, write_photographs

backend: Any = pytest.importorskip("nvidia.dali.backend")
Pipeline: Any = pytest.importorskip("nvidia.dali.pipeline").Pipeline

PLAIN = Augment()


def dali(
    train: Split, rank: int = 0, num_processes: int = 1, threads: int = 2, keep_bytes: int = 0, **options: Any
) -> Loader:
    """Returns a loader that reads files anew each epoch, unless told to keep them."""
    return build("dali", {"threads": threads, "keep_bytes": keep_bytes}, feed(train, rank, num_processes, **options))


def hide_dali(monkeypatch: pytest.MonkeyPatch, missing: str = "nvidia.dali") -> None:
    monkeypatch.delattr(harness.data.augment, "graph", raising=False)
    for name in [name for name in sys.modules if name.startswith("nvidia")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "harness.data.augment.graph", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)


def spy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Returns a list that will hold the arguments of each pipeline that is made."""
    given: list[tuple[Any, ...]] = []
    create = Pipeline.__init__

    def spied(self: Any, *arguments: Any, **named: Any) -> None:
        given.append(arguments)
        create(self, *arguments, **named)

    monkeypatch.setattr(Pipeline, "__init__", spied)
    return given


@pytest.fixture
def train(photographs: list[str]) -> Split:
    return file_split(photographs)


@pytest.fixture
def written(tmp_path: Path) -> list[str]:
    """Files of this test's own, which it may break."""
    folder = tmp_path / "written"
    folder.mkdir()
    return write_photographs(folder, 60)


# Readers' traps


def test_a_ragged_last_batch_is_not_padded_and_nothing_is_counted_twice(train: Split) -> None:
    loader = dali(train, augment=PLAIN)
    for epoch in range(3):
        batches = list(loader.epoch(epoch))
        assert [len(images) for images, _ in batches] == [len(labels) for _, labels in batches] == [24, 24, 24, 24, 5]
        assert sorted(labels_of(batches)) == list(range(COUNT))
    evaluated = list(loader.evaluation(train, 40))
    assert [len(images) for images, _ in evaluated] == [40, 40, 21] and labels_of(evaluated) == list(range(COUNT))
    loader.close()


@pytest.mark.parametrize("num_processes", [2, 3, 8])
def test_shards_do_not_rotate_between_epochs_and_are_not_padded(train: Split, num_processes: int) -> None:
    sampler = GlobalBatches(COUNT, 24, num_processes, seed=0)
    evaluated: list[int] = []
    for rank in range(num_processes):
        loader = dali(train, rank, num_processes, augment=PLAIN)
        for epoch in range(num_processes + 1):  # a rotation would be through once
            assert labels_of(loader.epoch(epoch)) == torch.cat([*sampler.shares(epoch, rank)]).tolist()
        twice = [labels_of(loader.evaluation(train, 4)) for _ in range(2)]
        assert twice[0] == twice[1] == list(range(rank, COUNT, num_processes))
        evaluated += twice[0]
        loader.close()
    assert sorted(evaluated) == list(range(COUNT))


def test_the_order_is_no_shuffle_within_a_buffer(train: Split) -> None:
    many = 3000  # the readers' buffer holds 1024
    cycled = Split(train.store, np.arange(many), np.arange(many) % COUNT)
    loader = dali(cycled, batch=250, augment=PLAIN)
    order = labels_of(loader.epoch(0))
    loader.close()
    assert order == torch.cat([*GlobalBatches(many, 250, 1, seed=0).shares(0, 0)]).tolist()
    assert max(order[:50]) > 2500 and min(order[-50:]) < 500
    assert abs(np.corrcoef(np.arange(many), order)[0, 1]) < 0.06


@pytest.mark.parametrize("taken", range(1, 6))
def test_a_partial_epoch_leaves_nothing_in_the_queue_for_the_next(train: Split, taken: int) -> None:
    loader, given, pixels = dali(train), feed(train), read_by_hand(train.store._paths)  # type: ignore[union-attr]
    for epoch in (3, 1, 2):
        batches = loader.epoch(epoch)
        for _ in range(taken):
            next(batches)
        batches.close()  # type: ignore[attr-defined]
        require_same(loader.epoch(epoch + 10), expected_epoch(given, pixels, epoch + 10), given)
    loader.close()


def test_a_pipeline_is_built_before_the_first_batch_and_serves_all_epochs(
    train: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = spy(monkeypatch)
    loader = dali(train)
    assert len(built) == 1, "not when the first batch is asked for: its clock runs"
    for epoch in range(3):
        list(loader.epoch(epoch))
        list(loader.evaluation(train, 40))
    assert len(built) == 2  # one to train, one to evaluate
    next(loader.epoch(0))
    list(loader.epoch(1))
    assert len(built) == 3  # what was fetched of the rest of epoch 0 is of no use
    list(loader.epoch(3, 2))
    for epoch in range(4, 7):
        batches = loader.epoch(epoch)
        for _ in range(len(feed(train).sampler.sizes)):  # and not once more, which would end it
            next(batches)
    assert len(built) == 3
    loader.close()


def test_nothing_of_the_next_epoch_is_fetched_while_this_one_is_evaluated(
    train: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[int] = []
    feed_images = module._Files.feed
    monkeypatch.setattr(
        module._Files, "feed", lambda self, rows: (fetched.append(len(rows)), feed_images(self, rows))[1]
    )
    loader, given = dali(train), feed(train)
    for epoch in range(2):
        fetched.clear()
        list(loader.epoch(epoch))
        assert len(fetched) == len(given.sampler.sizes)
    fetched.clear()
    list(loader.evaluation(train, 40))
    assert sum(fetched) == len(train.labels)
    loader.close()


# Memory


def test_close_frees_the_pipelines_and_the_memory_that_dali_would_keep(
    train: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[int] = []
    real = backend.ReleaseUnusedMemory
    monkeypatch.setattr(backend, "ReleaseUnusedMemory", lambda: (released.append(alive()), real())[1])

    def alive() -> int:
        gc.collect()
        return sum(type(object) is Pipeline for object in gc.get_objects())

    before = alive()
    loader = dali(train)
    list(loader.epoch(0))
    list(loader.evaluation(train, 40))
    list(loader.evaluation(train, 20))  # in place of the other
    assert alive() == before + 2 and released == []
    loader.close()
    assert released == [before]  # when the pool is freed, no pipeline holds a part of it


def test_many_loaders_in_succession_do_not_make_the_process_grow(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(12)]
    for path in paths:
        Image.new("RGB", (600, 600)).save(path)
    large, resident = file_split(paths), []  # a batch takes 50 MiB
    for _ in range(12):
        loader = dali(large, batch=12, augment=PLAIN)
        next(loader.epoch(0))
        loader.close()
        resident.append(psutil.Process().memory_info().rss / 2**20)
    # Fragments come and go by some 50 MiB; pipelines that stayed would add more than that each time.
    assert resident[-1] - resident[3] < 200


def test_the_threads_are_the_ranks_share_of_the_cores(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    built = spy(monkeypatch)
    for processes in (1, 2, 10 * cores):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        loader = build("dali", {}, feed(train))
        next(loader.epoch(0))
        loader.close()
    loader = dali(train, threads=3)
    next(loader.epoch(0))
    loader.close()
    assert [threads for _, threads, *_ in built] == [cores, max(cores // 2, 1), 1, 3]


def test_threads_do_not_change_the_batches(train: Split, photographs: list[str]) -> None:
    given, pixels = feed(train), read_by_hand(photographs)
    for threads in (1, 4):
        loader = dali(train, threads=threads)
        require_same(loader.epoch(0), expected_epoch(given, pixels, 0), given)
        loader.close()


# Files


def harm(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "a folder now":
        path.unlink()
        path.mkdir()
    else:
        noise = np.random.default_rng(1).integers(0, 256, 400, np.uint8).tobytes()
        changed = {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "text": b"hello " * 100,
            "overwritten": content[:300] + noise + content[700:],
        }
        path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["deleted", "a folder now", "truncated", "empty", "text", "overwritten"])
@pytest.mark.parametrize("resized", [False, True], ids=["as they are", "resized"])
def test_a_file_that_breaks_while_training_is_named_and_nothing_hangs(
    written: list[str], how: str, resized: bool
) -> None:
    loader = dali(file_split(written, size=8 if resized else None), batch=5)
    batches = loader.epoch(0)
    next(batches)
    victim = Path(written[int(list(GlobalBatches(60, 5, 1, seed=0).shares(0, 0))[7][3])])
    harm(victim, how)
    began = time.perf_counter()
    with pytest.raises(HarnessError, match=f"{victim.name} is not a readable image") as caught:
        list(batches)
    assert str(victim) in caught.value.message and caught.value.hint and "\n" not in caught.value.message
    assert time.perf_counter() - began < 60  # it takes milliseconds, and a hang for ever
    loader.close()


def test_a_file_that_has_another_size_all_at_once_is_an_error_too(written: list[str]) -> None:
    loader = dali(file_split(written), batch=5, augment=PLAIN)
    batches = loader.epoch(0)
    next(batches)
    Image.new("RGB", (40, 20)).save(written[int(list(GlobalBatches(60, 5, 1, seed=0).shares(0, 0))[7][3])])
    with pytest.raises(HarnessError, match=r"DALI stopped: .* uniform shape"):
        list(batches)
    loader.close()


def test_after_an_error_the_loader_can_be_used_again(written: list[str]) -> None:
    train = file_split(written)
    loader, victim = dali(train, batch=5), Path(written[30])
    content, pixels = victim.read_bytes(), read_by_hand(written)
    victim.unlink()
    for _ in range(2):
        with pytest.raises(HarnessError, match=victim.name):
            list(loader.epoch(0))
    victim.write_bytes(content)
    given = feed(train, batch=5)
    require_same(loader.epoch(0), expected_epoch(given, pixels, 0), given)
    loader.close()


def test_a_file_that_breaks_is_named_in_evaluation_too(written: list[str]) -> None:
    train = file_split(written)
    loader = dali(train, batch=5)
    list(loader.evaluation(train, 5))
    Path(written[58]).write_bytes(b"")
    with pytest.raises(HarnessError, match=Path(written[58]).name):
        for _ in range(3):  # batches that were prefetched may have been read before
            list(loader.evaluation(train, 5))
    loader.close()


def test_files_that_are_small_enough_are_read_once(written: list[str]) -> None:
    train = file_split(written)
    size = sum(Path(path).stat().st_size for path in written)
    kept, too_small = dali(train, keep_bytes=size), dali(train, keep_bytes=size - 1)
    expected = [images for images, _ in kept.epoch(0)]
    for path in written:
        Path(path).unlink()
    assert all(torch.equal(a, b) for a, (b, _) in zip(expected, kept.epoch(0), strict=True))
    with pytest.raises(HarnessError, match="is not a readable image: No such file"):
        list(too_small.epoch(0))
    with pytest.raises(HarnessError, match="cannot be read: No such file"):
        dali(train, keep_bytes=size)
    kept.close()


def test_what_is_not_a_files_fault_is_dalis_own_error(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = dali(train)
    batches = loader.epoch(0)
    next(batches)

    def fail(self: Any, stream: Any) -> None:
        raise RuntimeError("\n\nno more of something\nand a trace\n")

    monkeypatch.setattr(Pipeline, "run", fail)
    with pytest.raises(HarnessError, match=r"^DALI stopped: no more of something\n"):
        next(batches)
    monkeypatch.undo()
    loader.close()


NAMES = [
    "a b  c.jpg",
    " leading and trailing .jpg",
    "貓 кошка à poil.jpg",
    "cafe\N{COMBINING ACUTE ACCENT}.jpg",
    "line\nbreak\ttab.jpg",
    "quote'\"`$(ls);#%20*?[1].jpg",
    "back\\slash.jpg",
    "-dash.jpg",
    "emoji \N{CAT FACE} \N{ZERO WIDTH SPACE}.jpg",
    os.fsdecode(b"not utf-8 \xff\xfe\xe9.jpg"),
    os.fsdecode(b"\xc3.jpg"),
    "x" * 251 + ".jpg",
]


def test_files_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"f\xf6lder \xe7\x8c\xab")
    folder.mkdir()
    paths = []
    for path, name in zip(write_photographs(folder, len(NAMES)), NAMES, strict=True):
        paths.append(str(Path(path).rename(folder / name)))
    train, pixels = file_split(paths), read_by_hand(paths)
    loader, given = dali(train, batch=4), feed(train, batch=4)
    require_same(loader.epoch(0), expected_epoch(given, pixels, 0), given)
    require_same(loader.evaluation(train, 5), expected_evaluation(given, train, pixels, 5), given)
    Path(paths[9]).write_bytes(b"")
    with pytest.raises(HarnessError, match=r"not utf-8 .*\.jpg is not a readable image"):
        for _ in range(3):
            list(loader.evaluation(train, 5))
    loader.close()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_images_are_upright_as_their_exif_tag_says(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number}.{suffix}") for number in range(4)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (16, 24, 3), np.uint8)).save(path, exif=exif)
    boxes = Augment.model_validate({"random_resized_crop": {"size": 9}})
    for augment in (PLAIN, boxes):  # the second decodes no more than a box
        train = Split(ImageFiles(paths, channels=3), np.arange(4))
        assert train.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))
        loader, given = dali(train, batch=4, augment=augment), feed(train, batch=4, augment=augment)
        require_same(loader.epoch(0), expected_epoch(given, train.images, 0), given)
        loader.close()


# Without DALI


@pytest.mark.parametrize("missing", ["nvidia", "nvidia.dali"])
def test_without_dali_the_error_says_how_to_install_it(
    train: Split, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    hide_dali(monkeypatch, missing)
    with pytest.raises(HarnessError, match="loader 'dali' needs NVIDIA DALI") as caught:
        dali(train)
    assert caught.value.hint == see_doctor(module.INSTALL) and module.INSTALL.startswith("pip install nvidia-dali-cuda")


# A fallback


def with_fallback(train: Split, fallback: str = "pinned", chosen: ChosenLoader | None = None) -> Loader:
    parameters = {"threads": 2, "keep_bytes": 0, "fallback": fallback}
    return build("dali", parameters, changed(feed(train), chosen=chosen))


def test_where_dali_can_be_had_it_is_no_fallback_that_runs(train: Split, photographs: list[str]) -> None:
    loader, given = with_fallback(train), feed(train)
    assert (loader.name, loader.measured) == ("dali", {})
    require_same(loader.epoch(0), expected_epoch(given, read_by_hand(photographs), 0), given)
    loader.close()


def test_what_dali_does_not_do_its_fallback_does(train: Split, photographs: list[str]) -> None:
    given = feed(train, augment=Augment(trivial_augment=True))
    with pytest.raises(HarnessError, match="loader 'dali' has no trivial_augment"):
        build("dali", {"threads": 2, "keep_bytes": 0}, given)
    loader = build("dali", {"threads": 2, "keep_bytes": 0, "fallback": "pinned"}, given)
    assert loader.name == "pinned" and "no trivial_augment" in str(loader.measured["dali"])
    require_same(loader.epoch(0), expected_epoch(given, read_by_hand(photographs), 0), given)
    loader.close()


@pytest.mark.parametrize("fallback", ["pinned", "resident"])
@pytest.mark.parametrize("how", ["not installed", "cannot start"])
def test_where_dali_cannot_be_had_the_fallback_yields_the_same_batches(
    train: Split, photographs: list[str], monkeypatch: pytest.MonkeyPatch, how: str, fallback: str
) -> None:
    if how == "not installed":
        hide_dali(monkeypatch)
    else:

        def refuse(self: Any, *_: Any, **__: Any) -> None:
            raise RuntimeError("CUDA driver version is insufficient")

        monkeypatch.setattr(Pipeline, "build", refuse)
    loader, given = with_fallback(train, fallback), feed(train)
    assert loader.name == fallback
    reason = {"not installed": "loader 'dali' needs NVIDIA DALI", "cannot start": "DALI cannot start: CUDA driver"}[how]
    assert str(loader.measured["dali"]).startswith(reason)
    require_same(loader.epoch(0), expected_epoch(given, read_by_hand(photographs), 0), given)
    loader.close()


def test_a_run_that_goes_on_keeps_the_loader_that_it_had(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = with_fallback(train, chosen=ChosenLoader("pinned", {"dali": "it was not installed"}))
    assert (loader.name, loader.measured) == ("pinned", {"dali": "it was not installed"})
    loader.close()
    hide_dali(monkeypatch)
    with pytest.raises(HarnessError, match="needs NVIDIA DALI"):
        with_fallback(train, chosen=ChosenLoader("dali", {}))


def test_a_fallback_that_cannot_be_had_either_is_one_error(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_dali(monkeypatch)
    monkeypatch.setattr(copies, "available_bytes", lambda: 1000)
    neither = "neither loader 'dali' nor its fallback 'resident' can be used: loader 'dali' needs NVIDIA DALI"
    with pytest.raises(MachineError, match=neither) as caught:
        with_fallback(train, "resident")
    assert "memory" in caught.value.message and "\n" not in caught.value.message


def test_a_file_that_is_broken_is_no_reason_to_fall_back(written: list[str]) -> None:
    store = ImageFiles(written, channels=3)
    split = Split(store, np.arange(len(written)))
    store.encoded()  # they were whole when the run was planned
    for path in written:
        Path(path).write_bytes(b"no picture")
    with pytest.raises(HarnessError, match=r"\.jpg") as caught:
        with_fallback(split)
    assert not isinstance(caught.value, MachineError)
