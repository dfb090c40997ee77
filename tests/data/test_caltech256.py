import hashlib
import os
import tarfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.datasets import caltech256 as module
from harness.data.datasets.caltech256 import caltech256
from harness.errors import HarnessError


def small(root, **parameters) -> Any:
    return caltech256(root=str(root), **{"size": 8, "train_per_class": 3, "test_per_class": 2, **parameters})


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The dataset in small: two classes, the clutter, and the stray files the real one has."""
    folder = tmp_path / module.FOLDER
    for name, count in {"001.ak47": 6, "056.dog": 8, module.CLUTTER: 5}.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            size = (20, 10 + index)
            Image.new("RGB", size, (10 * index, 0, 0)).save(folder / name / f"{name[:3]}_{index:04}.jpg")
    (folder / "056.dog/greg").mkdir()
    (folder / "056.dog/RENAME2").touch()
    monkeypatch.setattr(module, "IMAGES", {True: 19, False: 14})
    return tmp_path


def test_so_many_images_of_each_class(root):
    data = small(root).load()
    assert data.class_names == ("ak47", "dog")
    assert data.train.images.shape == (6, 8, 8, 3) and data.test.images.shape == (4, 8, 8, 3)
    assert np.bincount(data.train.labels).tolist() == [3, 3]
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    assert data.train.labels.dtype == np.int64


def reds(split):
    return [(int(label), round(image[4, 4, 0] / 10)) for image, label in zip(split.images, split.labels, strict=True)]


def test_train_and_test_are_disjoint_and_seeded(root):
    data, again, other = (small(root, split_seed=seed).load() for seed in (0, 0, 1))
    assert not set(reds(data.train)) & set(reds(data.test))
    assert len(set(reds(data.train))) == 6
    assert reds(data.train) == reds(again.train)
    assert (reds(data.train), reds(data.test)) != (reds(other.train), reds(other.test))


def test_more_to_train_on_leaves_the_test_images(root):
    few, more = (small(root, train_per_class=count).load() for count in (2, 4))
    assert reds(few.test) == reds(more.test)
    assert set(reds(few.train)) < set(reds(more.train))


def test_the_clutter_is_a_class_when_asked_for(root):
    assert small(root, clutter=True).load().class_names == ("ak47", "dog", "clutter")


def test_left_encoded_the_splits_are_the_same_and_nothing_is_decoded(root):
    encoded = small(root).load_encoded()
    assert not (encoded.train.store.folder / "images.npy").exists()
    assert encoded.train.store.resized and encoded.train.shape == (8, 8, 3) and encoded.decode_seconds > 0
    decoded, again = small(root).load(), small(root).load()
    assert decoded.decode_seconds > 0 and again.decode_seconds == 0
    assert reds(encoded.train) == reds(decoded.train) and reds(encoded.test) == reds(decoded.test)
    paths = [os.fsdecode(path) for path in encoded.train.store.encoded()]
    for split in (encoded.train, encoded.test):
        folders = [paths[row].split("/")[-2] for row in split.rows]
        assert folders == [("001.ak47", "056.dog")[label] for label in split.labels]


def test_only_what_is_chosen_is_read(root):
    data = small(root).load()
    assert data.train.store is data.test.store and len(data.train.pixels) == 6 + 4


def test_a_truncated_photograph_is_named(root):
    for path in root.glob("*/056.dog/*.jpg"):
        path.write_bytes(path.read_bytes()[:-40])
    for load in (small(root).load, small(root).load_encoded):
        with pytest.raises(HarnessError, match=r"056_\d+\.jpg is not a readable image"):
            load()


def test_more_than_there_are_is_an_error(root):
    with pytest.raises(HarnessError, match=r"5 \+ 2 images a class were asked for, the smallest has 6"):
        small(root, train_per_class=5).load()


def test_an_incomplete_folder_is_an_error(root):
    next(root.glob("*/001.ak47/*.jpg")).unlink()
    with pytest.raises(HarnessError, match="holds 13 images, not 14"):
        small(root).load()


def test_the_archive_is_verified_and_unpacked(root, monkeypatch):
    with tarfile.open(root / module.ARCHIVE, "w") as tar:
        tar.add(root / module.FOLDER, module.FOLDER)
    (root / module.FOLDER).rename(root / "away")
    with pytest.raises(HarnessError, match="is damaged or another version"):
        small(root).load()
    assert not (root / module.FOLDER).exists()
    digest = hashlib.md5((root / module.ARCHIVE).read_bytes()).hexdigest()
    monkeypatch.setattr(module, "CHECKSUM", f"md5:{digest}")
    planned = small(root).fingerprint()
    assert len(small(root).load().train.labels) == 6
    assert small(root).fingerprint() == planned
    photograph = next(root.glob("*/001.ak47/*.jpg"))
    photograph.write_bytes(photograph.read_bytes() + b"x")
    assert small(root).fingerprint() != planned


def test_missing_data_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(HarnessError, match=f"{tmp_path} holds neither") as caught:
        caltech256(root=str(tmp_path)).load()
    assert "--download" in caught.value.hint


def test_the_fingerprint_follows_what_is_chosen(tmp_path):
    variants = [{}, {"size": 32}, {"train_per_class": 5}, {"test_per_class": 5}, {"split_seed": 1}, {"clutter": True}]
    assert len({small(tmp_path, **variant).fingerprint() for variant in variants}) == len(variants)
