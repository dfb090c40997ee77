"""What holds of every loader: which samples each process sees and when, and that all give the same batches."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import itertools
import multiprocessing
import os
import signal
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch.utils.data._utils import MP_STATUS_CHECK_INTERVAL
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from harness import registry
from harness.contracts.loader import (
    COUNT,
    ERASING,
    SIDE,
    array_split,
    expected_epoch,
    expected_evaluation,
    feed,
    require_same,
)
from harness.data import copies
from harness.data.datasets.image_folder import image_folder
from harness.data.images import read_image
from harness.data.loaders.pinned import Job, _Batches
from harness.data.loading import Loader
from harness.data.order import GlobalBatches, evaluation_share, hash_seed
from harness.data.source import Dataset, Split
from harness.errors import HarnessError
from harness.spec import Augment
from tests.data.feeds import build, changed, file_split, labels_of, read_by_hand, write_photographs

LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "resident": ("resident", {}),
    "pinned-0": ("pinned", {"workers": 0}),
    "pinned-2": ("pinned", {"workers": 2}),
    "dali": ("dali", {"threads": 2}),
    "dali-paths": ("dali", {"threads": 2, "keep_bytes": 0}),  # reads the files at each epoch
}
FED = [
    (loader, store)
    for loader in LOADERS
    for store in ("arrays", "files")
    if (loader, store) != ("dali-paths", "arrays")
]
WORLD_SIZES = [1, 2, 3, 8]
WITH_LOADERS = [1, pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(8, marks=pytest.mark.slow)]
"""World sizes, each rank of which has a loader with its workers: at 3 the tail is left out."""
EVAL_BATCH = 9


@dataclass
class Fed:
    """A loader by name, and the images it is to load.

    Attributes:
        pixels: what `train` holds, read by hand.
        built: loaders to be closed when the test is over.
    """

    name: str
    parameters: dict[str, Any]
    train: Split
    pixels: np.ndarray
    built: list[Loader] = field(default_factory=list)

    def build(self, rank: int = 0, num_processes: int = 1, **options: Any) -> Loader:
        loader = build(self.name, self.parameters, feed(self.train, rank, num_processes, **options))
        self.built.append(loader)
        return loader

    def assert_epoch(self, loader: Loader, epoch: int, first_batch: int = 0) -> None:
        given = feed(self.train)
        require_same(loader.epoch(epoch, first_batch), expected_epoch(given, self.pixels, epoch, first_batch), given)

    def assert_evaluation(self, loader: Loader, split: Split, pixels: np.ndarray) -> None:
        given = feed(self.train)
        require_same(loader.evaluation(split, EVAL_BATCH), expected_evaluation(given, split, pixels, EVAL_BATCH), given)


@pytest.fixture(
    params=[pytest.param(fed, marks=pytest.mark.launch if fed[0] == "pinned-2" else ()) for fed in FED], ids=" of ".join
)
def fed(request: pytest.FixtureRequest, photographs: list[str]) -> Iterator[Fed]:
    """Each loader, fed arrays and files."""
    loader, store = request.param
    if loader.startswith("dali"):
        pytest.importorskip("nvidia.dali")
    if store == "arrays":
        train = array_split(COUNT)
        found = Fed(*LOADERS[loader], train, train.images.copy())
    else:
        found = Fed(*LOADERS[loader], file_split(photographs), read_by_hand(photographs))
    yield found
    for built in found.built:
        built.close()


# Which samples make up a batch


def shares(sampler: GlobalBatches, epoch: int = 0) -> list[list[torch.Tensor]]:
    """By batch, then by rank."""
    by_rank = [list(sampler.shares(epoch, rank)) for rank in range(sampler.num_processes)]
    return [list(batch) for batch in zip(*by_rank, strict=True)]


def order(sampler: GlobalBatches, epoch: int = 0) -> list[int]:
    return [int(index) for batch in shares(sampler, epoch) for share in batch for index in share]


@pytest.mark.parametrize("num_processes", WORLD_SIZES)
@pytest.mark.parametrize("num_samples", [240, 241, 242, 250, 263])
def test_each_sample_once_an_epoch_but_for_the_tail_that_is_counted(num_samples: int, num_processes: int) -> None:
    sampler = GlobalBatches(num_samples, 24, num_processes, seed=1)
    seen = order(sampler)
    assert len(seen) == len(set(seen)) == sum(sampler.sizes) == num_samples - sampler.skipped
    assert set(seen) <= set(range(num_samples))
    tail = num_samples % 24
    assert sampler.skipped == (tail if tail < 2 * num_processes else 0)


@pytest.mark.parametrize("num_processes", WORLD_SIZES)
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


@pytest.mark.parametrize("first_batch", range(6))
def test_an_epoch_goes_on_from_any_of_its_batches(first_batch: int) -> None:
    sampler = GlobalBatches(45, 10, 3, seed=1)
    for rank in range(3):
        whole, rest = list(sampler.shares(4, rank)), list(sampler.shares(4, rank, first_batch))
        assert [share.tolist() for share in rest] == [share.tolist() for share in whole[first_batch:]]


def test_every_sample_may_come_first_and_is_about_as_likely_to() -> None:
    seeds, samples = 4000, 40
    first = np.array([next(GlobalBatches(samples, 8, 1, seed).shares(0, 0))[0] for seed in range(seeds)])
    counts = np.bincount(first, minlength=samples)
    expected = seeds / samples
    # Chi-squared with 39 degrees of freedom: above 72.1 in one of a thousand. The seeds are the same each time.
    assert ((counts - expected) ** 2 / expected).sum() < 72.1
    later = np.array([next(GlobalBatches(samples, 8, 1, 0).shares(epoch, 0))[0] for epoch in range(seeds)])
    assert ((np.bincount(later, minlength=samples) - expected) ** 2 / expected).sum() < 72.1


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


@pytest.mark.parametrize("num_processes", WORLD_SIZES)
@pytest.mark.parametrize("count", [1, 2, 5, 64, 101])
def test_evaluation_is_shared_so_that_each_sample_comes_once_and_in_order(count: int, num_processes: int) -> None:
    whole = array_split(count, side=1)
    for rank in range(num_processes):
        parts = [whole.labels[part] for part in evaluation_share(whole, rank, num_processes, batch_size=4)]
        assert all(0 < len(part) <= 4 for part in parts)
        assert [int(label) for part in parts for label in part] == list(range(rank, count, num_processes))


def test_seeds_do_not_collide() -> None:
    seeds = {hash_seed(*numbers) for numbers in itertools.product(range(20), range(50), range(20))}
    assert len(seeds) == 20 * 50 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    hash_seed(2**70, 0, 0)


# What every loader makes of them


@pytest.mark.parametrize("num_processes", WITH_LOADERS)
def test_at_any_world_size_the_ranks_together_see_each_sample_once_an_epoch(fed: Fed, num_processes: int) -> None:
    alone = GlobalBatches(COUNT, 24, 1, seed=0)
    seen: dict[int, list[list[list[int]]]] = {0: [], 1: []}  # by epoch, rank and batch
    for rank in range(num_processes):
        loader = fed.build(rank, num_processes)
        for epoch, by_rank in seen.items():
            given = feed(fed.train, rank, num_processes)
            batches = list(loader.epoch(epoch))
            require_same(batches, expected_epoch(given, fed.pixels, epoch), given)
            by_rank.append([labels.tolist() for _, labels in batches])
        loader.close()
    left_out = COUNT % 24 if num_processes > 2 else 0  # a tail of 5 is too small for 3 processes
    for epoch, by_rank in seen.items():
        together = [list(itertools.chain(*batch)) for batch in zip(*by_rank, strict=True)]
        assert together == [share.tolist() for share in alone.shares(epoch, 0)][: len(together)]
        samples = list(itertools.chain(*together))
        assert len(samples) == len(set(samples)) == COUNT - left_out


@pytest.mark.parametrize("num_processes", WITH_LOADERS)
def test_at_any_world_size_evaluation_sees_each_sample_once_and_as_it_is(fed: Fed, num_processes: int) -> None:
    splits = [(fed.train.take(np.arange(count)), fed.pixels[:count]) for count in (1, 5, 29)]
    seen: list[list[int]] = [[] for _ in splits]
    for rank in range(num_processes):
        loader, given = fed.build(rank, num_processes), feed(fed.train, rank, num_processes)
        for (split, pixels), labels in zip(splits, seen, strict=True):
            batches = list(loader.evaluation(split, 4))
            require_same(batches, expected_evaluation(given, split, pixels, 4), given)
            labels += labels_of(batches)
        loader.close()
    assert [sorted(labels) for labels in seen] == [list(range(count)) for count in (1, 5, 29)]


AUGMENTS = {
    "nothing": {},
    "erasing": ERASING.model_dump(),
    "crop by more than the image": {"crop": SIDE + 3, "flip": True},
    "resize": {"resize": 17, "flip": "alternating"},
    "random resized crop": {"random_resized_crop": {"size": 8}, "crop": 1},
    "color": {"color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 20.0}, "cutout": 4},
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("augment", AUGMENTS)
def test_all_loaders_yield_the_batches_that_the_definition_says(fed: Fed, augment: str, channels_last: bool) -> None:
    options: dict[str, Any] = {"augment": Augment.model_validate(AUGMENTS[augment]), "channels_last": channels_last}
    loader, given = fed.build(**options), feed(fed.train, **options)
    batches = [batch for epoch in (0, 1) for batch in loader.epoch(epoch)]  # kept: none is written over by a later one
    require_same(batches, [batch for epoch in (0, 1) for batch in expected_epoch(given, fed.pixels, epoch)], given)
    evaluated = list(loader.evaluation(fed.train, EVAL_BATCH))
    require_same(evaluated, expected_evaluation(given, fed.train, fed.pixels, EVAL_BATCH), given)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert all(images.is_contiguous(memory_format=wanted) for images, _ in [*batches, *evaluated])


def test_the_pixels_of_an_image_are_normalised_and_go_with_its_label(fed: Fed) -> None:
    loader = fed.build(augment=Augment())
    mean, std = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.25, 0.3], np.float32)
    for images, labels in [*loader.epoch(0), *loader.evaluation(fed.train, EVAL_BATCH)]:
        expected = (fed.pixels[labels.numpy()] / np.float32(255) - mean) / std
        torch.testing.assert_close(images, torch.from_numpy(expected).permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


def test_seed_and_epoch_decide_order_and_augmentation(fed: Fed) -> None:
    def whole(loader: Loader, epoch: int) -> tuple[list[int], torch.Tensor]:
        batches = list(loader.epoch(epoch))
        samples = labels_of(batches)
        return samples, torch.cat([images for images, _ in batches])[np.argsort(samples)]

    loader = fed.build(seed=1)
    first = whole(loader, 0)
    again, other_epoch = whole(fed.build(seed=1), 0), whole(loader, 1)
    other_seed = whole(fed.build(seed=2), 0)
    assert first[0] == again[0] and torch.equal(first[1], again[1])
    for other in (other_epoch, other_seed):
        assert other[0] != first[0] and sorted(other[0]) == sorted(first[0])
        moved = (first[1] != other[1]).flatten(1).any(1)
        assert moved.float().mean() > 0.8  # sample by sample, whatever the order


def test_the_order_is_a_permutation_of_the_whole_and_no_shuffle_within_a_buffer(fed: Fed) -> None:
    many, epochs = 1000, 3
    cycled = Split(fed.train.store, np.arange(many), np.arange(many) % COUNT)
    loader = build(fed.name, fed.parameters, feed(cycled, batch=100, augment=Augment()))
    orders = [labels_of(loader.epoch(epoch)) for epoch in range(epochs)]
    loader.close()
    places = np.arange(many)
    for found in orders:
        assert sorted(found) == list(range(many))
        # A buffer of a quarter of the data would leave a correlation of 0.9; of all of it, 0.03 is usual.
        assert abs(np.corrcoef(places, found)[0, 1]) < 0.12
        assert max(found[:100]) > 900 and min(found[-100:]) < 100
    assert len({tuple(found) for found in orders}) == epochs


def test_over_many_epochs_any_sample_comes_first(fed: Fed) -> None:
    loader = fed.build(augment=Augment())
    first = [int(next(loader.epoch(epoch))[1][0]) for epoch in range(40)]
    by_quarter = np.bincount(np.array(first) * 4 // COUNT, minlength=4)
    assert by_quarter.min() >= 4 and len(set(first)) > 25


# Files of every kind


def png(path: Path, width: int, height: int, bits: int, colour: int, rows: Iterable[bytes], *more: bytes) -> None:
    """Writes a PNG that Pillow would not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    compress = zlib.compressobj(1)
    pixels = b"".join([compress.compress(b"\0" + row) for row in rows] + [compress.flush()])
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


ODD_SIDE = 20


def write_odd(folder: Path) -> None:
    """Writes one file of each kind that decoders are known to read in different ways, all of one size."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    shape = (ODD_SIDE, ODD_SIDE)
    colour = [Image.fromarray(random.integers(0, 256, (*shape, 3), np.uint8)) for _ in range(2)]
    gray, wide = random.integers(0, 256, shape, np.uint8), random.integers(0, 65536, (*shape, 3), np.uint16)
    alpha = colour[0].convert("RGBA")
    alpha.putalpha(Image.fromarray(gray))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray).save(folder / "gray.jpg")
    Image.fromarray(gray).save(folder / "gray.png")
    colour[0].save(folder / "colour.jpg", quality=60)
    colour[0].save(folder / "progressive.jpg", progressive=True)
    colour[0].save(folder / "turned.jpg", exif=exif)
    colour[0].save(folder / "turned.png", exif=exif)
    colour[0].convert("P").save(folder / "palette.png")
    colour[0].convert("P").save(folder / "palette_transparent.png", transparency=3)
    colour[0].convert("CMYK").save(folder / "cmyk.jpg")
    alpha.save(folder / "alpha.png")
    alpha.convert("LA").save(folder / "gray_alpha.png")
    colour[0].save(folder / "key_colour.png", transparency=colour[0].getpixel((3, 4)))
    Image.fromarray(wide[..., 0]).save(folder / "sixteen.png")
    png(folder / "sixteen_colour.png", *shape, 16, 2, [row.astype(">u2").tobytes() for row in wide])
    png(folder / "four_bit.png", *shape, 4, 0, [row[: ODD_SIDE // 2].tobytes() for row in gray])
    Image.fromarray(gray > 127).save(folder / "one_bit.png")
    colour[0].save(folder / "animated.jpg", format="GIF", save_all=True, append_images=colour[1:])
    colour[0].save(folder / "named.png", format="JPEG")
    colour[0].save(folder / "a.webp")
    colour[0].save(folder / "a.bmp")
    colour[0].save(folder / "a.tiff", compression="tiff_lzw")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of odd images, which no test may change."""
    root = tmp_path_factory.mktemp("odd")
    for part in ("train", "test"):
        write_odd(root / part / "only")
    return root


def loaded(root: Path, name: str, **options: Any) -> Dataset:
    """Returns the images as a run with a loader reads them."""
    if name == "dali":
        pytest.importorskip("nvidia.dali")
    source = image_folder(root=str(root), **options)
    assert source.load_encoded
    return source.load_encoded() if name == "dali" else source.load()


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("channels", "size", "levels"),
    # 16 bits of three channels are rounded once when they are read and, made larger, once more.
    [(3, None, 1), (3, 9, 1), (3, 31, 2), (1, None, 1), (1, 9, 1)],
)
def test_images_of_every_kind_are_the_same_in_all_loaders(
    odd: Path, loader: str, channels: Literal[1, 3], size: int | None, levels: int
) -> None:
    name, parameters = LOADERS[loader]
    data = loaded(odd, name, channels=channels, size=size)
    paths = sorted(str(path) for path in (odd / "train/only").iterdir())
    pixels = np.stack([read_image(path, channels=channels, size=size).pixels for path in paths])
    assert data.skipped == () and len(pixels) == len(data.train.labels) == 21
    numbered = Split(data.train.store, np.arange(21), data.train.rows)
    given = feed(numbered, batch=8)
    built = build(name, parameters, given)
    require_same(built.epoch(0), expected_epoch(given, pixels, 0), given, levels)
    test = Split(data.test.store, np.arange(21), data.test.rows)
    require_same(built.evaluation(test, 8), expected_evaluation(given, test, pixels, 8), given, levels)
    built.close()


def make_bad(path: Path, how: str) -> None:
    if how == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "broken link":
        path.symlink_to("nowhere.jpg")
    elif how == "20,000 x 20,000 pixels":
        png(path, 20_000, 20_000, 1, 0, itertools.repeat(bytes(2500), 20_000))
    else:
        path.write_bytes({"empty": b"", "text": b"no image at all, " * 50}[how])


@pytest.mark.parametrize("how", ["empty", "broken link", "truncated", "text", "20,000 x 20,000 pixels"])
def test_an_unreadable_image_is_one_error_or_left_out_alike_in_all_loaders(tmp_path: Path, how: str) -> None:
    paths = []
    for part in ("train", "test"):
        (tmp_path / part / "only").mkdir(parents=True)
        paths += write_photographs(tmp_path / part / "only", 12)
    good, bad = paths[:12], tmp_path / "train/only/005b.jpg"
    make_bad(bad, how)
    for name in ("resident", "dali"):
        for options in ({}, {"size": 8}):
            with pytest.raises(HarnessError, match=r"005b\.jpg is not a readable image") as caught:
                loaded(tmp_path, name, **options)  # before any loader is built
            assert str(bad) in caught.value.message and "data.unreadable=skip" in caught.value.hint
            assert "\n" not in caught.value.message
    pixels = read_by_hand(good)
    for name, parameters in LOADERS.values():
        data = loaded(tmp_path, name, unreadable="skip")
        assert data.skipped == (str(bad),) and data.train.rows.tolist() == [0, 1, 2, 3, 4, 5, *range(7, 13)]
        numbered = Split(data.train.store, np.arange(12), data.train.rows)
        given = feed(numbered, batch=5)
        built = build(name, parameters, given)
        require_same(built.epoch(0), expected_epoch(given, pixels, 0), given)
        require_same(built.evaluation(numbered, 5), expected_evaluation(given, numbered, pixels, 5), given)
        built.close()


# Going on in the middle of an epoch


@pytest.mark.parametrize("first_batch", [0, 1, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (3, 4)), 5])
def test_a_fresh_loader_goes_on_in_the_middle_of_an_epoch(fed: Fed, first_batch: int) -> None:
    loader = fed.build()
    fed.assert_epoch(loader, 2, first_batch)
    fed.assert_epoch(loader, 3)


def test_epochs_in_succession_are_those_asked_for(fed: Fed) -> None:
    loader = fed.build()
    for epoch in (0, 1, 2, 2, 0, 7, 6):
        fed.assert_epoch(loader, epoch)


@pytest.mark.parametrize("given_up", [True, False], ids=["dropped", "kept open"])
@pytest.mark.parametrize("left_after", [1, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_an_epoch_that_was_left_in_the_middle_does_not_spoil_the_next(
    fed: Fed, left_after: int, given_up: bool
) -> None:
    loader = fed.build()
    left = loader.epoch(0)
    for _ in range(left_after):
        next(left)
    if given_up:
        del left
    fed.assert_epoch(loader, 1)  # another one
    next(loader.epoch(2))
    fed.assert_epoch(loader, 2)  # the same one from its start
    next(loader.epoch(3))
    fed.assert_epoch(loader, 3, 1)  # and from where it was left
    next(loader.epoch(4))
    fed.assert_epoch(loader, 4, 3)  # and from further on
    next(loader.epoch(5, 2))
    fed.assert_epoch(loader, 5, 1)  # and from before it


def test_evaluation_between_epochs_changes_nothing(fed: Fed) -> None:
    loader = fed.build()
    parts = [np.arange(17), np.arange(20, 60), np.arange(COUNT)]
    splits = [(fed.train.take(part), fed.pixels[part]) for part in parts]
    for epoch in range(2):
        fed.assert_epoch(loader, epoch)
        for split, pixels in splits:
            fed.assert_evaluation(loader, split, pixels)
    for split, pixels in [*splits, *splits[::-1]]:
        fed.assert_evaluation(loader, split, pixels)
    fed.assert_epoch(loader, 2)


def test_evaluation_in_the_middle_of_an_epoch_changes_nothing(fed: Fed) -> None:
    loader, given = fed.build(), feed(fed.train)
    batches = loader.epoch(0)
    found = [next(batches), next(batches)]
    fed.assert_evaluation(loader, fed.train, fed.pixels)
    require_same([*found, *batches], expected_epoch(given, fed.pixels, 0), given)


def test_an_evaluation_that_was_left_does_not_spoil_the_next(fed: Fed) -> None:
    loader = fed.build()
    left = loader.evaluation(fed.train, EVAL_BATCH)
    next(left)
    fed.assert_evaluation(loader, fed.train, fed.pixels)
    next(left, None)
    fed.assert_evaluation(loader, fed.train, fed.pixels)
    given = feed(fed.train)
    require_same(loader.evaluation(fed.train, 40), expected_evaluation(given, fed.train, fed.pixels, 40), given)
    fed.assert_evaluation(loader, fed.train, fed.pixels)


def test_a_loader_leaves_the_default_generators_alone(fed: Fed) -> None:
    # Else dropout on the CPU would depend on the loader.
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
    loader = fed.build()
    list(loader.epoch(0))
    list(loader.evaluation(fed.train, EVAL_BATCH))
    loader.close()
    assert torch.equal(torch_state, torch.get_rng_state())
    assert str(numpy_state) == str(np.random.get_state(legacy=False))


def test_closing_twice_does_no_harm_and_closing_in_the_middle_of_an_epoch_neither(fed: Fed) -> None:
    before = set(children())
    loader = fed.build()
    batches = loader.epoch(0)
    next(batches)
    next(loader.evaluation(fed.train, EVAL_BATCH))
    loader.close()
    loader.close()
    assert set(children()) <= before


# The processes of the pinned loader


def children() -> list[psutil.Process]:
    """Those of this process, but for the browser of earlier tests, and what `multiprocessing` starts for itself."""
    others = ("resource_tracker", "chromium")
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if not any(name in _command(child) for name in others)
    ]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_workers_persist_between_epochs_and_end_on_close() -> None:
    before = set(children())
    loader = build("pinned", {"workers": 2}, feed(array_split(40), batch=8))
    list(loader.epoch(0))
    workers = set(children()) - before
    assert len(workers) == 2
    list(loader.epoch(1))
    assert set(children()) - before == workers
    loader.close()
    assert psutil.wait_procs(workers, timeout=10)[1] == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_is_raised_in_the_rank(workers: int) -> None:
    train = array_split(40)
    broken = Split(train.images[:30], train.labels[:30])
    loader = build("pinned", {"workers": workers}, changed(feed(train, batch=8), train=broken))
    with pytest.raises(IndexError, match="out of"):
        list(loader.epoch(0))
    loader.close()


def kill_a_worker(taken: int, step_seconds: float) -> float:
    """Returns the seconds from a worker's death, after some batches, to the error."""
    loader = build("pinned", {"workers": 2}, feed(array_split(20_000, side=2), batch=4))
    before = set(multiprocessing.active_children())
    batches = loader.epoch(0)
    for _ in range(taken):
        next(batches)
    workers = sorted(set(multiprocessing.active_children()) - before, key=lambda worker: worker.pid or 0)
    os.kill(workers[taken % 2].pid or 0, signal.SIGKILL)
    began = time.perf_counter()
    with pytest.raises(HarnessError, match="a worker of the loader died") as caught:
        for _ in batches:
            time.sleep(step_seconds)
    seconds = time.perf_counter() - began
    assert "loader.workers" in caught.value.hint and "\n" not in caught.value.message
    loader.close()
    assert set(multiprocessing.active_children()) <= before
    return seconds


@pytest.mark.launch
def test_a_killed_worker_ends_in_one_error_in_a_few_seconds() -> None:
    assert kill_a_worker(taken=1, step_seconds=0.0) < 12 * MP_STATUS_CHECK_INTERVAL  # torch looks so often


@pytest.mark.parametrize("step_seconds", [0.0, 0.02], ids=["waiting for it", "in a step"])
@pytest.mark.parametrize("taken", [2, 3, 30, 31])
def test_a_worker_may_be_killed_at_any_time(monkeypatch: pytest.MonkeyPatch, taken: int, step_seconds: float) -> None:
    # torch looks after its workers every 5 s; here more often.
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.3,))
    kill_a_worker(taken, step_seconds)


def test_workers_do_not_collect_what_the_rank_has_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # DALI's pipelines, for instance: their threads are the rank's, and ending them elsewhere is a crash.
    rank, gather = os.getpid(), _Batches.__getitem__

    class Dropped:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            (tmp_path / ("rank" if os.getpid() == rank else "worker")).touch()

    def collecting(self: _Batches, job: Job) -> Any:
        gc.collect()
        return gather(self, job)

    monkeypatch.setattr(_Batches, "__getitem__", collecting)
    loader = build("pinned", {"workers": 2}, feed(array_split(40), batch=8))
    gc.disable()
    try:
        Dropped()
        assert len(list(loader.epoch(0))) == 5
    finally:
        gc.enable()
    loader.close()
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["rank"]


def test_what_a_process_has_frozen_stays_so_when_workers_start() -> None:
    # A launch freezes what it has imported: to walk through it again would be a quarter of a second in each run.
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    loader = build("pinned", {"workers": 2}, feed(array_split(40), batch=8))
    assert len(list(loader.epoch(0))) == 5 and gc.isenabled()
    loader.close()
    assert gc.get_freeze_count() > frozen - 1000  # less what has been freed since


# The memory of the resident loader


@pytest.mark.parametrize("part", ["train", "evaluation", "together"])
def test_resident_refuses_what_does_not_fit_before_it_copies(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    train, held_out = array_split(50), array_split(100)
    loader = build("resident", {}, feed(array_split(50)))
    both = dataclasses.replace(feed(train), evaluated=(held_out,))
    needed, copy = {
        "train": (train.size_bytes, lambda: build("resident", {}, feed(train)).close()),
        "evaluation": (held_out.size_bytes, lambda: list(loader.evaluation(held_out, 10))),
        "together": (train.size_bytes + held_out.size_bytes, lambda: build("resident", {}, both).close()),
    }[part]
    copied: list[Any] = []
    make = np.empty

    def counted(shape: Any, *arguments: Any, **named: Any) -> np.ndarray:
        copied.append(shape)
        return make(shape, *arguments, **named)

    monkeypatch.setattr(copies.np, "empty", counted)
    monkeypatch.setattr(copies, "available_bytes", lambda: int(needed / 0.9) - 1)
    with pytest.raises(HarnessError, match=r"the data set needs .* GiB in memory, where .* free") as caught:
        copy()
    assert "pinned" in caught.value.hint and "dali" in caught.value.hint and copied == []
    monkeypatch.setattr(copies, "available_bytes", lambda: int(needed / 0.9) + 1)
    copy()
    assert copied
    loader.close()


def test_resident_keeps_one_copy_for_all_runs_of_a_process_and_drops_it_with_the_split() -> None:
    train = array_split(50)
    key = id(train)

    def copied() -> list[tuple]:
        gc.collect()
        return [form for form in copies._copies if form[0] == key]

    first, second = (build("resident", {}, feed(train, seed=seed)) for seed in (0, 1))
    assert len(copied()) == 1
    third = build("resident", {}, feed(train, channels_last=True))
    assert len(copied()) == 2
    for loader in (first, second, third):
        loader.close()
    assert len(copied()) == 2  # for the next run
    del first, second, third, loader, train
    assert copied() == []


# Their parameters


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


@pytest.mark.parametrize("num_processes", WORLD_SIZES)
def test_one_order_for_all_epochs_and_the_stored_order(num_processes: int) -> None:
    def sampler(shuffle: Literal["once", "never"], seed: int = 1) -> GlobalBatches:
        return GlobalBatches(240, 24, num_processes, seed, shuffle=shuffle)

    assert order(sampler("once"), 0) == order(sampler("once"), 3) != order(sampler("once", seed=2), 0)
    assert order(sampler("once"), 0) == order(GlobalBatches(240, 24, num_processes, 1), 0)
    assert order(sampler("never"), 0) == order(sampler("never", seed=2), 3) == list(range(240))
