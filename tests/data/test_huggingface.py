"""Data sets of Hugging Face: parquet files and saved ones give what a folder of the same images gives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.datasets.huggingface import huggingface
from harness.data.datasets.image_folder import image_folder
from harness.errors import HarnessError
from harness.spec import Evaluate

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the package's own
REVISION = "0" * 40


def encoded(side: int, value: int, format: str = "png") -> bytes:
    pixels = np.random.default_rng(value).integers(0, 256, (side, side + 3, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def rows(count: int = 6, **more: Any) -> dict[str, list[Any]]:
    images = [{"bytes": encoded(9 + row, row, ("png", "jpeg")[row % 2]), "path": None} for row in range(count)]
    return {"image": images, "label": [row * 2 // count for row in range(count)], **more}


def data_set(columns: dict[str, list[Any]], **features: Any) -> Any:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), **features}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def write_parquet(root: Path, columns: dict[str, list[Any]] | None = None, **features: Any) -> Path:
    root.mkdir(exist_ok=True)
    for name in ("train", "test"):
        data_set(columns or rows(), **features).to_parquet(str(root / f"{name}-00000-of-00001.parquet"))
    return root


def test_parquet_and_a_saved_data_set_give_what_a_folder_of_the_same_images_gives(tmp_path: Path) -> None:
    columns = rows()
    for split in ("train", "test"):
        for number, (image, label) in enumerate(zip(columns["image"], columns["label"], strict=True)):
            path = tmp_path / "folder" / split / ("cat", "dog")[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image["bytes"])
    write_parquet(tmp_path / "parquet")
    saved = datasets.DatasetDict(train=data_set(columns), test=data_set(columns))
    saved.save_to_disk(str(tmp_path / "saved"))
    expected = image_folder(root=str(tmp_path / "folder"), size=8).load()
    seen = {}
    for name in ("parquet", "saved"):
        source = huggingface(root=str(tmp_path / name), size=8)
        found, seen[name] = source.load(), source.fingerprint()
        assert found.class_names == ("cat", "dog") and source.fingerprint() == seen[name]
        for one, other in ((found.train, expected.train), (found.test, expected.test)):
            assert (one.labels == other.labels).all() and (one.images == other.images).all()
    assert len(set(seen.values())) == 2
    (tmp_path / "parquet").rename(tmp_path / "elsewhere")
    assert huggingface(root=str(tmp_path / "elsewhere"), size=8).fingerprint() == seen["parquet"]
    write_parquet(tmp_path / "elsewhere", rows(4))
    assert huggingface(root=str(tmp_path / "elsewhere"), size=8).fingerprint() != seen["parquet"]
    info = next((tmp_path / "saved").rglob("dataset_info.json"))
    info.write_text(info.read_text().replace('"cat"', '"bird"'))
    assert huggingface(root=str(tmp_path / "saved"), size=8).fingerprint() != seen["saved"], "a class has another name"


def test_images_stay_as_they_are_and_one_split_is_divided(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    load = huggingface(root=str(tmp_path), test_fraction=0.34).load_varied
    assert load
    found = load(Evaluate(resize=8, crop=8))
    assert found.train.sizes is not None and found.test.sizes is not None
    assert sorted([*found.train.sizes[:, 0], *found.test.sizes[:, 0]]) == [9, 10, 11, 12, 13, 14]
    assert found.train.labels.tolist() == [0, 0, 1, 1] and found.test.labels.tolist() == [0, 1]


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    plain = {"image": datasets.features.features.Value("binary"), "label": datasets.Value("string")}
    columns = rows()
    columns = {"image": [each["bytes"] for each in columns["image"]], "label": ["b", "a", "b", "a", "b", "a"]}
    write_parquet(tmp_path / "named", columns, **plain)
    found = huggingface(root=str(tmp_path / "named"), image="image", size=8).load()
    assert found.class_names == ("a", "b") and found.train.labels.tolist() == [1, 0, 1, 0, 1, 0]
    with pytest.raises(HarnessError, match="no column holds the image") as caught:
        huggingface(root=str(tmp_path / "named"), size=8).load()
    assert caught.value.hint == "set data.image; there are: image, label"
    write_parquet(tmp_path / "two", rows(other=rows()["image"]), other=datasets.Image())
    with pytest.raises(HarnessError, match="several columns may hold the image"):
        huggingface(root=str(tmp_path / "two"), size=8).load()
    with pytest.raises(HarnessError, match="there is no column 'picture'"):
        huggingface(root=str(tmp_path / "two"), image="picture", size=8).load()


def test_bad_input_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match=r"one of data\.root and data\.repository"):
        huggingface().fingerprint()
    with pytest.raises(HarnessError, match=r"data\.revision is 'main', not a commit"):
        huggingface(repository="a/b", revision="main").fingerprint()
    with pytest.raises(HarnessError, match="holds no parquet files and no saved data set"):
        huggingface(root=str(tmp_path)).fingerprint()
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(HarnessError, match=r"data\.subset 'b' is of a repository"):
        huggingface(root=str(tmp_path), subset="b").fingerprint()
    with pytest.raises(HarnessError, match="cannot be read"):
        huggingface(root=str(tmp_path)).load()
    hub = huggingface(repository="a/b", revision=REVISION)
    assert len(hub.fingerprint()) == 64 and hub.download is None
    with pytest.raises(HarnessError, match=r"a/b is not in .*huggingface") as caught:
        hub.load()
    assert "--download" in caught.value.hint

    def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionError("Couldn't reach 'a/b' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    download = huggingface(repository="a/b", revision=REVISION, download=True).download
    assert download
    with pytest.raises(HarnessError, match="a/b cannot be read: Couldn't reach") as caught:
        download()
    assert "check the network" in caught.value.hint


def test_the_hub_is_read_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"train": data_set(rows()), "validation": data_set(rows(4))}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: given)
    source = huggingface(repository="a/kept", revision=REVISION, download=True, size=8)
    assert source.download
    source.download()
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("it was read again"))
    found = huggingface(repository="a/kept", revision=REVISION, size=8).load()
    assert found.train.images.shape == (6, 8, 8, 3) and found.test.images.shape == (4, 8, 8, 3)


def test_a_split_without_labels_and_damaged_images_are_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "hidden", {**rows(), "label": [-1] * 6})
    with pytest.raises(HarnessError, match="split 'train' has images without a label"):
        huggingface(root=str(tmp_path / "hidden"), size=8).load()
    damaged = rows()
    damaged["image"][1] = {"bytes": damaged["image"][1]["bytes"][:200], "path": None}
    write_parquet(tmp_path / "damaged", damaged)
    with pytest.raises(HarnessError, match="is not a readable image"):
        huggingface(root=str(tmp_path / "damaged"), size=8).load()
    assert len(huggingface(root=str(tmp_path / "damaged"), size=8, unreadable="skip").load().skipped) == 2
