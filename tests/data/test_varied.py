"""Image files of any size, as they are: what evaluation and training see of them, by each loader."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from harness.contracts.loader import feed, require_same
from harness.data.augment.batched import Batched
from harness.data.cut import cut, seen
from harness.data.images import read_image
from harness.data.loading import Batch, Feed
from harness.data.normalize import normalization
from harness.data.prepare import known_fingerprint, prepare
from harness.data.source import Split
from harness.data.varied import VariedFiles, middle_boxes
from harness.errors import HarnessError
from harness.spec import Augment, DataSection, Evaluate, SpecError, parse_run_spec
from tests.data.feeds import build

EVALUATE = Evaluate(resize=36, crop=32)
CROPPED = Augment.model_validate({"random_resized_crop": {"size": 32}, "flip": True, "erase": {"probability": 0.5}})
AUGMENTS = [Augment(), Augment(flip=True, crop=2), CROPPED]
PINNED = [("pinned", {"workers": 0}), ("pinned", {"workers": 2})]
DALI = [("dali", {"threads": 2}), ("dali", {"threads": 2, "keep_bytes": 0})]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Parts of two photographs, from 1 x 1 to 6 x 600 pixels, in the formats that cameras and editors write."""
    folder = tmp_path_factory.mktemp("varied")
    china, flower = (Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower"))
    images: dict[str, tuple[Image.Image, dict[str, Any]]] = {}
    for number in range(24):
        whole, left, top = (china, flower)[number % 2], 11 * number, 7 * number
        part = whole.crop((left, top, left + 40 + 13 * number, top + 220 - 8 * number))
        images[f"{number:02}.jpg"] = part, {"quality": 90, "subsampling": number % 3}
    part = china.crop((100, 50, 400, 270))
    for orientation in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        images[f"turned{orientation}.jpg"] = part, {"exif": exif, "quality": 90}
    images["cmyk.jpg"] = part.convert("CMYK"), {"quality": 90}
    images["gray.jpg"] = part.convert("L"), {"quality": 90}
    images["progressive.jpg"] = part, {"quality": 90, "progressive": True}
    images["plain.png"], images["palette.gif"] = (part, {}), (part.convert("P"), {})
    images["transparent.png"] = (Image.merge("RGBA", (*part.split(), part.convert("L"))), {})
    deep = np.asarray(part.convert("L")).astype(np.uint16) * 257
    images["deep.png"], images["web.webp"] = (Image.fromarray(deep), {}), (part, {"lossless": True})
    images["pixel.png"], images["long.jpg"] = (part.crop((0, 0, 1, 1)), {}), (china.crop((0, 90, 600, 96)), {})
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return sorted(str(folder / name) for name in images)


def varied(paths: list[str], channels: int = 3, **options: Any) -> Split:
    return Split(VariedFiles(paths, channels=channels, evaluate=EVALUATE, **options), np.arange(len(paths)))


def fed(train: Split, rank: int = 0, processes: int = 1, augment: Augment = CROPPED) -> Feed:
    given = feed(train, rank, processes, batch=10, augment=augment)
    return dataclasses.replace(given, recipe=dataclasses.replace(given.recipe, cut_size=EVALUATE.crop))


def by_pillow(paths: list[str], boxes: np.ndarray) -> np.ndarray:
    """Crops and resizes as torchvision's reference does it."""
    found = []
    for path, (top, left, height, width) in zip(paths, boxes.tolist(), strict=True):
        image = Image.fromarray(read_image(path, channels=3).pixels)
        box = image.crop((left, top, left + width, top + height))
        found.append(np.asarray(box.resize((EVALUATE.crop, EVALUATE.crop), Image.Resampling.BILINEAR)))
    return np.stack(found)


def right_epoch(given: Feed, paths: list[str], epoch: int, first_batch: int = 0) -> list[Batch]:
    draws = given.draws(epoch)
    pixels = torch.from_numpy(by_pillow(paths, draws.box)).permute(0, 3, 1, 2)
    rest, batched = dataclasses.replace(draws, box=None), Batched(given.recipe_of_cut, given.device)
    return [
        (batched.train(pixels[share], rest[share.numpy()].map(torch.from_numpy)), share)
        for share in given.shares(epoch, first_batch)
    ]


def right_evaluation(given: Feed, split: Split, paths: list[str]) -> list[Batch]:
    sizes = [read_image(path, channels=3).pixels.shape[:2] for path in paths]
    pixels = by_pillow(paths, middle_boxes(np.array(sizes, np.int32), EVALUATE))
    evaluated = Batched(given.recipe_of_cut, given.device).evaluate(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    own = torch.arange(given.rank, len(split.labels), given.num_processes)
    return [(evaluated[part], torch.from_numpy(split.labels)[part]) for part in own.split(9)]


def test_evaluation_sees_the_middle_of_the_resized_image_as_torchvision_does(photographs: list[str]) -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    path = next(path for path in photographs if path.endswith("plain.png"))  # 300 x 220: half a pixel nowhere
    wanted = np.asarray(Compose([Resize(110), CenterCrop(88)])(Image.open(path))).astype(int)
    split = Split(VariedFiles([path], channels=3, evaluate=Evaluate(resize=110, crop=88)), np.zeros(1, np.int64))
    apart = np.abs(seen(split, np.array([0]))[0] - wanted)
    assert apart[1:-1, 1:-1].max() <= 1 and apart.max() < 20  # at the border torchvision's filter sees beyond the box


@pytest.mark.parametrize("channels", [1, 3])
def test_the_size_of_every_file_is_found_upright(photographs: list[str], channels: int) -> None:
    split = varied(photographs, channels)
    shapes = [read_image(path, channels=channels).pixels.shape for path in photographs]
    assert split.sizes is not None and split.sizes.tolist() == [[height, width] for height, width, _ in shapes]
    assert split.shape == (32, 32, channels) and seen(split, np.arange(3)).shape == (3, 32, 32, channels)
    assert split.varied
    assert {Path(os.fsdecode(path)).parent.name for path in split.varied.encoded()} == {
        "plain",
        Path(photographs[0]).parent.name,
    }


def test_a_header_is_enough_for_jpeg_files(
    photographs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data import images

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))

    opened = []
    monkeypatch.setattr(
        images, "read_image", lambda path, **options: opened.append(path) or read_image(path, **options)
    )
    split = varied(photographs)
    assert split.sizes is not None and len(split.sizes) == len(photographs)
    assert opened and not [path for path in opened if path.endswith(".jpg")]
    opened.clear()
    assert (varied(photographs).sizes == split.sizes).all() and not opened


@pytest.mark.parametrize(("name", "parameters"), PINNED)
@pytest.mark.parametrize("augment", AUGMENTS)
def test_pinned_cuts_what_pillow_cuts(photographs: list[str], name: str, parameters: dict, augment: Augment) -> None:
    split = varied(photographs)
    given = fed(split, augment=augment)
    loader = build(name, parameters, given)
    for epoch, first_batch in ((0, 0), (1, 2), (1, 0)):
        require_same(loader.epoch(epoch, first_batch), right_epoch(given, photographs, epoch, first_batch), given)
    require_same(loader.evaluation(split, 9), right_evaluation(given, split, photographs), given)
    loader.close()


@pytest.mark.parametrize("processes", [1, 3])
def test_any_number_of_processes_see_the_same_boxes(photographs: list[str], processes: int) -> None:
    alone = fed(varied(photographs))
    whole = {
        int(label): image
        for images, labels in right_epoch(alone, photographs, 1)
        for image, label in zip(images, labels, strict=True)
    }
    labels_seen = []
    for rank in range(processes):
        given = fed(varied(photographs), rank, processes)
        loader = build("pinned", {"workers": 0}, given)
        for images, labels in loader.epoch(1):
            wanted = torch.stack([whole[int(label)] for label in labels])
            require_same([(images, labels)], [(wanted, labels)], given)
            labels_seen += labels.tolist()
        loader.close()
    assert sorted(labels_seen) == sorted(whole)


def apart(found: Iterable[Batch], expected: list[Batch], given: Feed) -> torch.Tensor:
    """Returns by how many gray levels images differ, [N, C, H, W]."""
    scale = torch.tensor(given.recipe.scale).view(1, -1, 1, 1)
    both = list(zip(found, expected, strict=True))
    assert all(labels.tolist() == right.tolist() for (_, labels), (_, right) in both)
    return torch.cat([(images - right).abs() / scale for (images, _), (right, _) in both])


@pytest.mark.parametrize(("name", "parameters"), DALI)
@pytest.mark.parametrize("augment", [Augment(), CROPPED.model_copy(update={"erase": None}), CROPPED])
def test_dali_cuts_the_same_but_at_the_border(
    photographs: list[str], name: str, parameters: dict[str, Any], augment: Augment
) -> None:
    pytest.importorskip("nvidia.dali")
    split = varied(photographs)
    given = fed(split, augment=augment)
    loader = build(name, parameters, given)
    found = [
        *(
            apart(loader.epoch(epoch, first), right_epoch(given, photographs, epoch, first), given)
            for epoch, first in ((0, 0), (1, 2), (1, 0))
        ),
        apart(loader.evaluation(split, 9), right_evaluation(given, split, photographs), given),
    ]
    loader.close()
    for levels in found:
        assert levels[..., 2:-2, 2:-2].max() <= 3.01 and levels.max() < 32 and levels.mean() < 0.25


def test_resident_sees_the_same_box_of_a_squashed_image(photographs: list[str]) -> None:
    large = [path for path in photographs if Path(path).stem not in ("pixel", "long")]
    split = varied(large)
    given = fed(split)
    loader = build("resident", {}, given)
    train = apart(loader.epoch(1, 1), right_epoch(given, large, 1, 1), given).mean()
    evaluated = right_evaluation(given, split, large)
    middle = apart(loader.evaluation(split, 9), evaluated, given).mean()
    loader.close()
    assert split.sizes is not None
    whole = by_pillow(large, np.concatenate([np.zeros_like(split.sizes), split.sizes], 1))
    pixels = Batched(given.recipe_of_cut, given.device).evaluate(torch.from_numpy(whole).permute(0, 3, 1, 2))
    other = apart(
        [(part, labels) for part, (_, labels) in zip(pixels.split(9), evaluated, strict=True)], evaluated, given
    )
    assert train < 8 and middle < 6 < other.mean() / 3  # most of it in boxes of few pixels of the squashed image


def test_a_box_of_a_squashed_image_lies_within_it(photographs: list[str]) -> None:
    split = varied(photographs)
    rows, sizes = np.arange(len(photographs)), split.sizes
    assert sizes is not None
    for epoch in range(20):
        drawn = fed(split).draws(epoch).box
        boxes = split.squashed.boxes(rows, drawn)
        assert boxes is not None and boxes.dtype == np.int32
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all() and (boxes[:, :2] + boxes[:, 2:] <= 36).all()
    whole = np.concatenate([np.zeros_like(sizes), sizes], 1)
    assert split.varied and (split.varied.squashed.boxes(rows, whole) == [0, 0, 36, 36]).all()


def section(root: Path, **values: Any) -> DataSection:
    given = {"name": "image_folder", "root": str(root), "evaluate": EVALUATE.model_dump(), **values}
    return parse_run_spec({**SPEC, "data": given}).data


SPEC: dict[str, Any] = {"model": "mlp", "optimizer": {"name": "sgd", "lr": 0.1}}


@pytest.fixture
def folder(photographs: list[str], tmp_path: Path) -> Path:
    for number, path in enumerate(photographs):
        into = tmp_path / "images" / f"class{number % 2}"
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, into)
    return tmp_path / "images"


@pytest.mark.parametrize("encoded", [True, False])
def test_a_folder_of_any_sizes_is_read(folder: Path, encoded: bool) -> None:
    splits = prepare(section(folder, normalize="train"), encoded=encoded)
    assert splits.image_shape(Augment()) == (3, 32, 32) and len(splits.test.labels) == 8
    mean, std = normalization(section(folder, normalize="train"), splits.train)
    pixels = seen(splits.train, np.arange(len(splits.train.labels))) / 255
    assert np.allclose(mean, pixels.mean((0, 1, 2))) and np.allclose(std, pixels.std((0, 1, 2)))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["class0/00.jpg", "class1/plain.png"])
def test_a_file_that_was_cut_short_is_named_before_the_first_step_or_left_out(folder: Path, name: str) -> None:
    path = next(folder.rglob(Path(name).name))
    cut_short(path)
    with pytest.raises(HarnessError, match=rf"{path.name} is not a readable image"):
        prepare(section(folder), encoded=True)
    assert prepare(section(folder, unreadable="skip"), encoded=True).skipped == (str(path),)


def test_a_file_that_is_damaged_behind_its_header_is_named(folder: Path) -> None:
    path = next(folder.rglob("00.jpg"))
    content = path.read_bytes()
    comment = b"\xff\xfe\x00\x04\xff\xd9"  # it looks like the end of a file, as a preview in the EXIF data may
    path.write_bytes(content[:2] + comment + content[2 : len(content) // 2])
    given = section(folder, unreadable="skip")
    train = prepare(given, encoded=True).train
    assert train.varied
    rows = np.array([row for row, each in enumerate(train.varied.encoded()) if os.fsdecode(each) == str(path)])
    with pytest.raises(HarnessError, match=r"00\.jpg is not a readable image"):
        cut(train.varied, rows, train.varied.boxes(rows))
    with pytest.raises(HarnessError, match=r"00\.jpg is not a readable image"):
        prepare(given, encoded=False)
    for workers in (0, 2):
        loader = build("pinned", {"workers": workers}, fed(train.take(np.arange(20))))
        with pytest.raises(HarnessError, match=r"^\S*00\.jpg is not a readable image"):
            list(loader.epoch(0))
        loader.close()


def test_a_file_that_became_smaller_is_named(photographs: list[str], tmp_path: Path) -> None:
    path = str(shutil.copy(photographs[0], tmp_path))
    split = varied([path])
    assert split.sizes is not None
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(HarnessError, match="is smaller than when it was first read"):
        seen(split, np.array([0]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"evaluate": {"resize": 30, "crop": 32}}, "crop, 32, must not be above resize, 30"),
        ({"augment": {"resize": 32}}, "both bring images to one size"),
        ({"augment": {"random_resized_crop": {"size": 24}}}, "crop must be 24, as data.augment.random_resized_crop"),
    ],
)
def test_what_does_not_fit_together_is_one_error(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        section(tmp_path, **values)
    assert caught.value.path[:2] == ("data", "evaluate")


@pytest.mark.parametrize("values", [{"size": 40}, {"name": "digits"}])
def test_images_of_one_size_are_refused(folder: Path, values: dict[str, Any]) -> None:
    spec = (
        section(folder, **values)
        if "size" in values
        else parse_run_spec({**SPEC, "data": {"name": "digits", "evaluate": {}}}).data
    )
    for read in (prepare, known_fingerprint):  # the second is what a plan asks for
        with pytest.raises(HarnessError, match=r"data\.evaluate is for files of any size"):
            read(spec)
