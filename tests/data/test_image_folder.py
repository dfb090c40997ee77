import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.datasets.image_folder import image_folder
from harness.errors import HarnessError


def fill(folder, classes, *, size=(4, 4)):
    """Makes `folder/<class>/<n>.png`, one gray value an image."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("L", size, index).save(folder / name / f"{index:03}.png")
    return folder


@pytest.fixture
def split(tmp_path):
    fill(tmp_path / "train", {"cat": 3, "dog": 2})
    fill(tmp_path / "test", {"cat": 1, "dog": 2})
    return tmp_path


def load(root, **parameters) -> Any:
    return image_folder(root=str(root), **parameters).load()


def load_encoded(root, **parameters) -> Any:
    source: Any = image_folder(root=str(root), **parameters)
    return source.load_encoded()


def fails(root, message, hint="", **parameters):
    """Asserts that loading fails with one message and one hint."""
    with pytest.raises(HarnessError, match=message) as caught:
        load(root, **parameters)
    assert hint in caught.value.hint and caught.value.hint
    assert "\n" not in caught.value.message


def test_train_and_test_folders(split):
    data = load(split)
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1] and data.test.labels.tolist() == [0, 1, 1]
    assert data.train.images.shape == (5, 4, 4, 3) and data.train.images.dtype == np.uint8
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert data.test.images[:, 0, 0, 0].tolist() == [0, 0, 1]
    assert data.train.labels.dtype == np.int64
    assert data.skipped == () and data.rankable


def test_the_test_folder_has_any_name(split):
    (split / "test").rename(split / "val")
    assert len(load(split, test_folder="val").test.labels) == 3
    fails(split, "holds train but no test", hint="beside train there is: val")


def test_classes_alone_are_split(tmp_path):
    fill(tmp_path, {"cat": 10, "dog": 20})
    data = load(tmp_path, test_fraction=0.2)
    assert np.bincount(data.train.labels).tolist() == [8, 16] and np.bincount(data.test.labels).tolist() == [2, 4]
    cats = [*data.train.images[data.train.labels == 0], *data.test.images[data.test.labels == 0]]
    assert sorted(cat[0, 0, 0] for cat in cats) == list(range(10))
    values = [load(tmp_path, split_seed=seed).test.images[:, 0, 0, 0].tolist() for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, {"car": 5, "train": 5})
    assert load(tmp_path).class_names == ("car", "train")


def test_size_and_channels(tmp_path):
    fill(tmp_path, {"a": 3}, size=(8, 6))
    fill(tmp_path, {"b": 3}, size=(5, 9))
    assert load(tmp_path, size=7, channels=1).train.images.shape[1:] == (7, 7, 1)
    fails(tmp_path, r"b/\d+\.png is 5 x 9, others are 8 x 6", hint="data.size")


def test_names_in_any_script_and_case(tmp_path):
    fill(tmp_path, {"貓": 2, "кошка": 2, "chat à poil": 2})
    for path in tmp_path.glob("*/*.png"):
        path.rename(path.with_name(f"图 {path.stem}.PNG"))
    assert load(tmp_path).class_names == ("chat à poil", "кошка", "貓")


def test_a_name_that_is_not_utf8(tmp_path):
    fill(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "dog").rename(os.fsdecode(os.fsencode(tmp_path) + b"/d\xf6g"))
    source = image_folder(root=str(tmp_path))
    assert source.load().class_names == ("cat", "d\N{REPLACEMENT CHARACTER}g")
    assert len(source.fingerprint()) == 64


def test_files_that_are_not_images_and_hidden_ones_are_passed_over(split):
    (split / "train/cat/notes.txt").write_text("no image")
    (split / "train/cat/._000.png").write_text("written by another system")
    (split / "train/.cache").mkdir()
    (split / "README.md").touch()
    assert len(load(split).train.labels) == 5


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "text", "broken link"])
def test_an_unreadable_file_is_named_or_left_out(split, content):
    bad = split / "train/cat/001.png"
    bad.unlink()
    if content is None:
        bad.symlink_to("nowhere.png")
    else:
        bad.write_bytes(content)
    fails(split, r"train/cat/001\.png is not a readable image", hint="data.unreadable=skip")
    data = load(split, unreadable="skip")
    assert data.skipped == (str(bad),)
    assert data.train.labels.tolist() == [0, 0, 1, 1] and data.test.labels.tolist() == [0, 1, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 2, 0, 1]


def test_a_truncated_photograph_is_named(split):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(split / "train/cat/photo.jpg")
    content = (split / "train/cat/photo.jpg").read_bytes()
    (split / "train/cat/photo.jpg").write_bytes(content[: len(content) // 2])
    fails(split, r"photo\.jpg is not a readable image: image file is truncated", size=4)


def test_a_class_of_which_nothing_is_left_is_an_error(split):
    for path in (split / "train/dog").iterdir():
        path.write_bytes(b"")
    fails(split, "no readable image is left to train on of class 'dog'", unreadable="skip")


def test_a_test_split_of_which_nothing_is_left_is_an_error(split):
    for path in split.glob("test/*/*"):
        path.write_bytes(b"")
    fails(split, "no readable image is left to test on", unreadable="skip")


def test_no_test_images_is_an_error(tmp_path):
    fill(tmp_path, {"cat": 1, "dog": 1})
    fails(tmp_path, "no image is left to test on", hint="data.test_fraction")


def test_missing_and_unusable_folders(tmp_path):
    fails(tmp_path / "gone", "gone cannot be read: No such file", hint="data.root")
    (tmp_path / "file").touch()
    fails(tmp_path / "file", "file cannot be read: Not a directory", hint="data.root")
    fails(tmp_path, "holds no class folders", hint="root/cat/1.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(split):
    (split / "train/cat").chmod(0)
    fails(split, "cat cannot be read: Permission denied", hint="data.root")
    (split / "train/cat").chmod(0o700)


def test_an_error_of_the_file_system_is_one_error(split, monkeypatch):
    def scandir(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", scandir)
    fails(split, "cannot be read: Permission denied", hint="data.root")


def test_a_class_folder_without_images(split):
    for path in (split / "test/dog").iterdir():
        path.unlink()
    fails(split, "train and test have different classes: dog", hint="with images in each")
    for path in (split / "test/cat").iterdir():
        path.unlink()
    fails(split, "no class folder in ", hint=".jpg")


def test_an_empty_folder_and_an_archivers_are_no_classes(tmp_path):
    fill(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "bird").mkdir()
    fill(tmp_path, {"__MACOSX": 2})
    assert load(tmp_path).class_names == ("cat", "dog")


@pytest.mark.parametrize(("nested", "classes"), [("first", ("home", "wild")), ("last", ("cat", "dog", "owl"))])
def test_classes_of_nested_folders(tmp_path, nested, classes):
    fill(tmp_path / "home", {"cat": 4, "dog": 5})
    fill(tmp_path / "wild", {"cat": 6, "owl": 7})
    found = load(tmp_path, nested=nested)
    assert found.class_names == classes
    counts = Counter(found.class_names[label] for split in (found.train, found.test) for label in split.labels)
    assert counts == ({"home": 9, "wild": 13} if nested == "first" else {"cat": 10, "dog": 5, "owl": 7})
    fails(tmp_path, f"class folder {tmp_path / 'home'} holds folders", hint="data.nested=first")


def test_different_classes_in_train_and_test(split):
    fill(split / "test", {"owl": 1})
    fails(split, "train and test have different classes: owl")


def test_root_one_level_too_high(tmp_path):
    fill(tmp_path / "pets/train", {"cat": 1})
    fails(tmp_path, f"class folder {tmp_path / 'pets'} holds folders", hint="data.root")


def test_the_fingerprint_follows_names_and_content(split):
    def fingerprint(**parameters):
        return image_folder(root=str(split), **parameters).fingerprint()

    seen = [fingerprint()]
    assert fingerprint() == fingerprint(split_seed=5) == fingerprint(unreadable="skip") == seen[0]
    (split / "train/cat/000.png").rename(split / "train/cat/zzz.png")
    seen.append(fingerprint())
    with (split / "train/cat/zzz.png").open("ab") as file:
        file.write(b"x")
    seen.append(fingerprint())
    (split / "test/dog/001.png").rename(split / "test/cat/001.png")
    seen.append(fingerprint())
    (split / "test/cat/001.png").unlink()
    seen.append(fingerprint())
    assert len(set(seen)) == 5


def test_the_fingerprint_follows_content_of_the_same_name_size_and_time(split):
    path = split / "train/cat/000.png"
    content, times = path.read_bytes(), path.stat()
    before = image_folder(root=str(split)).fingerprint()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns and path.stat().st_size == times.st_size
    assert image_folder(root=str(split)).fingerprint() != before
    path.write_bytes(content)
    assert image_folder(root=str(split)).fingerprint() == before


def test_what_is_known_of_the_content_of_large_data_is_told_without_reading(split, monkeypatch):
    size = sum(path.stat().st_size for path in split.rglob("*.png"))
    monkeypatch.setattr("harness.data.varied.QUICK_BYTES", size)
    assert (known := image_folder(root=str(split)).known_fingerprint) and len(known()) == 64
    (split / "train/cat/000.png").touch()
    monkeypatch.setattr("harness.data.varied.QUICK_BYTES", size - 1)
    source = image_folder(root=str(split))
    assert source.known_fingerprint and source.known_fingerprint() == ""
    found = source.fingerprint()
    monkeypatch.setattr("harness.data.listed._hash_of", lambda *_: pytest.fail("a file was read"))
    assert source.known_fingerprint() == source.fingerprint() == found
    (split / "train/cat/000.png").touch()
    source = image_folder(root=str(split))
    assert source.known_fingerprint and source.known_fingerprint() == ""


def test_the_fingerprint_does_not_depend_on_where_the_folder_is(tmp_path, monkeypatch):
    fill(tmp_path / "here", {"cat": 2})
    before = image_folder(root=str(tmp_path / "here")).fingerprint()
    (tmp_path / "here").rename(tmp_path / "there")
    assert image_folder(root=str(tmp_path / "there")).fingerprint() == before
    monkeypatch.chdir(tmp_path / "there")
    assert image_folder(root=".").fingerprint() == before


def test_the_fingerprint_follows_the_split_where_there_is_one(tmp_path):
    fill(tmp_path, {"cat": 4})
    variants = [{}, {"split_seed": 1}, {"test_fraction": 0.5}]
    assert len({image_folder(root=str(tmp_path), **variant).fingerprint() for variant in variants}) == 3


def same(first, second):
    return all(
        (one.labels == other.labels).all() and (one.rows == other.rows).all() and (one.images == other.images).all()
        for one, other in ((first.train, second.train), (first.test, second.test))
    ) and (first.class_names, first.skipped) == (second.class_names, second.skipped)


@pytest.mark.parametrize("bad", [False, True], ids=["all are readable", "one is left out"])
def test_left_encoded_the_splits_are_the_same(split, bad):
    if bad:
        (split / "train/cat/001.png").write_bytes(b"")
    encoded = load_encoded(split, unreadable="skip")
    folder = encoded.train.store.folder
    assert not (folder / "images.npy").exists() and (folder / "survey.npz").exists()
    assert encoded.train.shape == (4, 4, 3)
    decoded = load(split, unreadable="skip")
    assert (folder / "images.npy").exists()
    assert same(encoded, decoded)
    paths = [os.fsdecode(path) for path in decoded.train.store.encoded()]
    assert [Path(path).stem for path in np.array(paths)[decoded.train.rows]] == (
        ["000", "002", "000", "001"] if bad else ["000", "001", "002", "000", "001"]
    )


def test_the_splits_share_one_store(split):
    data = load(split)
    assert data.train.store is data.test.store and len(data.train.pixels) == 8
    assert data.train.rows.tolist() == [0, 1, 2, 3, 4] and data.test.rows.tolist() == [5, 6, 7]


def test_the_second_load_decodes_nothing(split):
    first, second = load(split), load(split)
    assert first.decode_seconds > 0 and second.decode_seconds == 0 and same(first, second)
    third = load_encoded(split)
    assert third.decode_seconds == 0 and same(first, third)


def test_what_decoding_took_is_told_also_after_a_load_that_decoded_nothing(split):
    surveyed, decoded = load_encoded(split), load(split)
    assert surveyed.decode_seconds > 0 and decoded.decode_seconds > 0
    assert decoded.decode_seconds == decoded.train.store.seconds
    decoded.train.images.sum()
    assert decoded.train.store.seconds == decoded.decode_seconds  # it was all there


def test_nothing_is_written_beside_the_images(split):
    before = sorted(split.rglob("*"))
    load(split, size=3)
    load_encoded(split)
    assert sorted(split.rglob("*")) == before


@pytest.mark.skipif("HARNESS_CIFAR10_JPEG" not in os.environ, reason="HARNESS_CIFAR10_JPEG is not set")
def test_cifar10_as_jpeg_files():
    root = Path(os.environ["HARNESS_CIFAR10_JPEG"])
    data = load(root)
    assert data.train.images.shape == (50_000, 32, 32, 3) and data.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    means = data.train.images.reshape(-1, 3).mean(0) / 255
    assert np.allclose(means, [0.4914, 0.4822, 0.4465], atol=2e-3)
