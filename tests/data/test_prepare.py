"""From a data section to splits: slices, the validation split, the copy that runs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data import prepare as prepare_module
from harness.data.prepare import Splits, data_source, fingerprint, prepare
from harness.data.source import Split
from harness.errors import HarnessError
from harness.spec import Augment, DataSection, ImageShape, parse_run_spec


def section(**values: Any) -> DataSection:
    data = {"name": "digits", **values}
    return parse_run_spec({"model": "mlp", "data": data, "optimizer": "adam"}).data


def rows(split: Split) -> list[bytes]:
    return [image.tobytes() + label.tobytes() for image, label in zip(split.images, split.labels, strict=True)]


def test_by_default_all_images_are_trained_on_or_tested() -> None:
    splits = prepare(section())
    assert splits.image_shape(Augment()) == ImageShape(1, 8, 8)
    assert len(splits.train.labels) + len(splits.test.labels) == 1797 and len(splits.validation.labels) == 0
    assert [name for name, _ in splits.held_out()] == ["test"]
    assert splits.class_names == tuple("0123456789") and splits.rankable and splits.skipped == ()


def test_the_validation_split_is_taken_from_the_training_split_alone() -> None:
    whole, splits = prepare(section()), prepare(section(validation=0.25))
    assert [name for name, _ in splits.held_out()] == ["validation", "test"]
    assert rows(splits.test) == rows(whole.test)
    assert sorted(rows(splits.train) + rows(splits.validation)) == sorted(rows(whole.train))
    share = np.bincount(splits.validation.labels) / np.bincount(whole.train.labels)
    assert (abs(share - 0.25) < 0.01).all()


def test_the_validation_seed_decides_what_is_held_out() -> None:
    first, same, other = (rows(prepare(section(validation=0.1, validation_seed=seed)).validation) for seed in (0, 0, 1))
    assert first == same and sorted(first) != sorted(other)


def test_slices_are_stratified_and_taken_before_the_validation_split() -> None:
    splits = prepare(section(train_samples=200, test_samples=50, validation=0.1))
    assert len(splits.train.labels) + len(splits.validation.labels) == 200
    assert len(splits.test.labels) == 50
    assert np.bincount(splits.test.labels).tolist() == [5] * 10
    assert set(rows(splits.train)) <= set(rows(prepare(section()).train))


def test_more_samples_than_there_are_is_an_error() -> None:
    with pytest.raises(HarnessError, match="5,000 images were asked for"):
        prepare(section(train_samples=5000))


def test_runs_that_differ_in_augmentation_share_one_copy() -> None:
    first = prepare(section(augment={"flip": True}))
    assert prepare(section(augment={"crop": 2}, normalize="half")) is first
    assert prepare(section(size=16)) is not first


def test_images_and_labels_are_what_loaders_expect() -> None:
    splits: Splits = prepare(section(train_samples=50, validation=0.2))
    for split in (splits.train, splits.validation, splits.test):
        assert split.images.dtype == np.uint8 and split.images.ndim == 4
        assert split.labels.dtype == np.int64 and len(split.labels) == len(split.images)
        assert split.images.flags.c_contiguous and split.images.flags.writeable


def test_a_network_sees_images_of_the_size_that_the_augmentation_makes() -> None:
    splits = prepare(section())
    sizes = {"resize": 16, "random_resized_crop": {"size": 12}, "crop": 2}
    assert splits.image_shape(Augment.model_validate({"resize": 16})) == ImageShape(1, 16, 16)
    assert splits.image_shape(Augment.model_validate(sizes)) == ImageShape(1, 12, 12)
    assert splits.image_shape(Augment(crop=2)) == ImageShape(1, 8, 8)


def test_no_image_is_copied_when_a_part_of_a_split_is_taken() -> None:
    whole = prepare(section())
    splits = prepare(section(train_samples=200, validation=0.1))
    assert splits.train.store is splits.validation.store and len(splits.train.pixels) == len(whole.train.pixels)
    part = splits.train.take(np.array([5, 3]))
    assert part.store is splits.train.store and part.rows.tolist() == splits.train.rows[[5, 3]].tolist()
    assert part.labels.tolist() == splits.train.labels[[5, 3]].tolist()
    assert (part.images == splits.train.images[[5, 3]]).all()
    assert part.size_bytes == 2 * 64 and part.shape == (8, 8, 1)
    assert whole.train.images is whole.train.pixels is whole.train.store


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, Any]:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for value in range(20):
            Image.new("RGB", (6, 6), (value, value, value)).save(tmp_path / name / f"{value:02}.png")
    (tmp_path / "cat/05.png").write_bytes(b"")
    return {"name": "image_folder", "root": str(tmp_path), "unreadable": "skip", "validation": 0.25}


def test_image_files_may_be_left_encoded_for_a_loader_that_decodes_them(folder: dict[str, Any]) -> None:
    encoded = prepare(section(**folder), encoded=True)
    store: Any = encoded.train.store
    assert not (store.folder / "images.npy").exists() and encoded.decode_seconds > 0
    assert prepare(section(**folder), encoded=True) is encoded
    decoded = prepare(section(**folder))
    assert (store.folder / "images.npy").exists() and decoded is not encoded and decoded.decode_seconds > 0
    for first, second in [
        (encoded.train, decoded.train),
        (encoded.validation, decoded.validation),
        (encoded.test, decoded.test),
    ]:
        assert rows(first) == rows(second) and len(first.labels)
    assert encoded.skipped == decoded.skipped and len(encoded.skipped) == 1


def test_the_second_process_finds_the_images_decoded(folder: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(section(**folder))
    monkeypatch.setattr(prepare_module, "_kept", {})
    second = prepare(section(**folder))
    assert second is not first and first.decode_seconds > 0 and second.decode_seconds == 0
    assert rows(first.train) == rows(second.train)


def test_a_dataset_without_files_is_the_same_either_way() -> None:
    encoded, decoded = prepare(section(), encoded=True), prepare(section())
    assert rows(encoded.train) == rows(decoded.train) and encoded.decode_seconds == decoded.decode_seconds == 0


def test_the_fingerprint_is_that_of_the_source_and_knows_its_parameters() -> None:
    assert fingerprint(section()) == data_source(section()).fingerprint()
    assert fingerprint(section()) != fingerprint(section(size=16))
    assert fingerprint(section(augment={"flip": True}, validation=0.2)) == fingerprint(section())
