"""Data sets of Hugging Face: parquet files, a saved data set, or the hub (https://huggingface.co/docs/datasets).

The encoded images are written to the cache as files, once, so that every loader reads them as it reads a folder.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# `datasets` is an extra, and not the folder of this file.

from __future__ import annotations

import json
import math
import re
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from harness.cache import cache_root
from harness.data.images import tell_progress
from harness.data.listed import ListedFiles
from harness.data.source import DataSource, fingerprint_of
from harness.data.split import hold_out
from harness.data.varied import Found, source_of_files
from harness.errors import HarnessError, MachineError
from harness.parameters import Fraction, NonNegativeInt, PositiveInt
from harness.paths import user_path
from harness.registry import dataset

INSTALL = "pip install datasets"
# Beside the data they say what its splits and classes are.
DESCRIPTIONS = ("README.md", "dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")
TEST_SPLITS = ("test", "validation", "valid", "val")
LABELS = ("label", "labels", "fine_label", "class")  # where no column has the type of a class
IN_A_FOLDER = 10_000


@dataset("huggingface")
def huggingface(
    *,
    root: str | None = None,
    repository: str | None = None,
    revision: str = "",
    subset: str | None = None,
    download: bool = False,
    image: str | None = None,
    label: str | None = None,
    test_split: str | None = None,
    test_fraction: Fraction = 0.2,
    split_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
    channels: Literal[1, 3] = 3,
    unreadable: Literal["fail", "skip"] = "fail",
) -> DataSource:
    """Images and labels of a Hugging Face data set: local parquet files, what `save_to_disk` wrote, or the hub.

    Args:
        root: Folder of parquet files (train*.parquet, test*.parquet) or of a saved data set.
        repository: Name on the hub, for instance uoft-cs/cifar10, in place of root.
        revision: Commit of data.repository, 40 hex digits.
        subset: Configuration of data.repository.
        download: Fetch data.repository if it is not there.
        image: Column of the images; null: the only one that holds images.
        label: Column of the labels; null: the only one of classes, or label.
        test_split: Split with the test images; null: test or validation.
        test_fraction: Share of each class that is tested on, where there is one split.
        split_seed: Seed of that split.
        size: Height and width in pixels (shorter side resized, centre cut out); null: all have one size, unless
            data.evaluate takes them as they are.
        channels: 1 for gray, 3 for colour; every image is converted.
        unreadable: What to do with an unreadable image; skip leaves it out and lists it.
    """
    folder = user_path(root) if root else None
    columns = image, label, test_split

    def content(most_bytes: float = math.inf) -> str:
        _require_place(root, repository, revision, subset)
        if not folder:
            return fingerprint_of(repository, revision, subset)
        return ListedFiles(_data_files(folder)).content(folder, most_bytes)

    def fingerprint(most_bytes: float) -> str:
        found = content(most_bytes)
        return found and fingerprint_of("huggingface", found, columns, test_fraction, split_seed)

    def unpack(*, fetch: bool) -> Path:
        kept = cache_root() / "huggingface" / fingerprint_of(content(), columns)[:32]
        if not (kept / "index.json").exists():
            if not fetch:
                raise HarnessError(
                    f"{repository} is not in {kept.parent}", "`harness run SUITE --download` fetches it first"
                )
            _unpack(_open(folder, repository, revision, subset), kept, *columns)
        return kept

    def fetch() -> None:
        unpack(fetch=True)

    def find() -> Found:
        import numpy as np

        kept = unpack(fetch=bool(folder) or download)
        index = json.loads((kept / "index.json").read_text())
        of_split: dict[str, list[int]] = index["labels"]
        labels = np.array([label for some in of_split.values() for label in some], np.int64)
        train, test = np.split(np.arange(len(labels)), [len(of_split["train"])])
        if "test" not in of_split:
            train, test = hold_out(labels, test_fraction, split_seed)
        paths = [f"{kept}/{_place(name, row)}" for name, some in of_split.items() for row in range(len(some))]
        return Found(ListedFiles(paths), labels, train, test, tuple(index["classes"]))

    return source_of_files(
        fingerprint,
        find,
        channels=channels,
        size=size,
        unreadable=unreadable,
        download=fetch if repository and download else None,
    )


def _require_place(root: str | None, repository: str | None, revision: str, subset: str | None) -> None:
    if (root is None) == (repository is None):
        raise HarnessError("dataset 'huggingface' takes one of data.root and data.repository", "name one")
    if root and subset:
        message = f"data.subset '{subset}' is of a repository, and data.root names a folder"
        raise HarnessError(message, "leave it out, and let data.root be the folder of the subset's files")
    if repository and not re.fullmatch("[0-9a-f]{40}", revision):
        message = f"data.revision is '{revision}', not a commit: other data would have the same name"
        raise HarnessError(message, f"https://huggingface.co/datasets/{repository}/commits/main has its commits")


def _data_files(folder: Path) -> list[str]:
    """Returns the parquet files of a folder, or those that `save_to_disk` wrote, and what says how to read them."""
    found = sorted(str(path) for suffix in ("parquet", "arrow") for path in folder.rglob(f"*.{suffix}"))
    if not found:
        message = f"{folder} holds no parquet files and no saved data set"
        raise HarnessError(message, "data.root is a folder of *.parquet, or what save_to_disk wrote")
    return found + sorted(str(path) for name in DESCRIPTIONS for path in folder.rglob(name))


def _open(folder: Path | None, repository: str | None, revision: str, subset: str | None) -> dict[str, Any]:
    """Returns the splits by their names."""
    try:
        import datasets
    except ImportError as error:
        raise MachineError(f"dataset 'huggingface' needs the package datasets: {error}", INSTALL) from None
    try:
        if folder and ((folder / "dataset_info.json").exists() or (folder / "dataset_dict.json").exists()):
            found = datasets.load_from_disk(str(folder))
        elif folder:
            found = datasets.load_dataset(str(folder), streaming=True)
        else:
            found = datasets.load_dataset(str(repository), subset, revision=revision, streaming=True)
    except Exception as error:  # of the network, of files, of the hub: its own classes
        what = folder or repository
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        hint = "check data.root" if folder else "check the network, data.repository and data.revision"
        raise HarnessError(f"{what} cannot be read: {reason}", hint) from None
    return {str(name): split for name, split in found.items()} if isinstance(found, dict) else {"train": found}


def _unpack(splits: dict[str, Any], kept: Path, image: str | None, label: str | None, test_split: str | None) -> None:
    """Writes the images as files and then the index: names of classes, and the labels of each split."""
    from datasets import Image

    test = test_split or next((name for name in TEST_SPLITS if name in splits), None)
    if "train" not in splits or (test_split and test_split not in splits):
        missing = "train" if "train" not in splits else test_split
        raise HarnessError(f"there is no split '{missing}'", f"there are: {', '.join(sorted(splits))}")
    chosen = {"train": splits["train"], **({"test": splits[test]} if test else {})}
    of_images, typed, of_labels, names = _columns(chosen["train"], image, label)
    temporary = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}")
    labels: dict[str, list[Any]] = {}
    try:
        for name, split in chosen.items():
            if typed:
                split = split.cast_column(of_images, Image(decode=False))
            labels[name] = [
                _write(row[of_images], temporary / _place(name, number), row[of_labels], name, number)
                for number, row in enumerate(split.select_columns([of_images, of_labels]))
            ]
        if not names:
            names = sorted({each for some in labels.values() for each in some}, key=str)
            numbers = {each: number for number, each in enumerate(names)}
            labels = {split: [numbers[each] for each in some] for split, some in labels.items()}
        (temporary / "index.json").write_text(json.dumps({"classes": [str(each) for each in names], "labels": labels}))
        if not (kept / "index.json").exists():
            temporary.replace(kept)
    except OSError as error:
        message = f"{temporary} cannot be written: {error.strerror or error}"
        raise MachineError(message, "set HARNESS_CACHE to a folder with room") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _columns(split: Any, image: str | None, label: str | None) -> tuple[str, bool, str, list[str]]:
    """Returns the column of images, whether it has their type, that of labels, and the names of its classes."""
    from datasets import ClassLabel, Image

    features = split.features or {}
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    pairs = [name for name, feature in features.items() if isinstance(feature, dict) and "bytes" in feature]
    classes = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    own_image = _only("image", image, images or pairs, features)
    own_label = _only("label", label, classes or [name for name in LABELS if name in features][:1], features)
    names = features[own_label].names if own_label in classes else []
    return own_image, own_image in images, own_label, names


def _only(what: str, named: str | None, found: list[str], features: Iterable[str]) -> str:
    if named and named not in features:
        raise HarnessError(f"there is no column '{named}'", f"there are: {', '.join(features)}")
    if not named and len(found) != 1:
        several = f"several columns may hold the {what}" if found else f"no column holds the {what}"
        raise HarnessError(several, f"set data.{what}; there are: {', '.join(found or features)}")
    return named or found[0]


def _place(split: str, number: int) -> str:
    return f"{split}/{number // IN_A_FOLDER:04}/{number:08}"


def _write(image: Any, path: Path, label: Any, split: str, number: int) -> Any:
    if label is None or label == -1:
        raise HarnessError(f"split '{split}' has images without a label", "set data.test_split, e.g. to validation")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes):
        content = Path((image or {}).get("path") or "").read_bytes() if isinstance(image, dict) else b""
    path.write_bytes(content)
    tell_progress(number + 1)
    return label
