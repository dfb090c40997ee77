"""Data that one rank reads and the others of its machine take over."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data import prepare as prepare_module
from harness.data.cut import seen
from harness.data.prepare import Splits, prepare
from harness.errors import HarnessError
from harness.running import shared_data
from harness.running.shared_data import borrow, identity_from_rank_0, lend, take_back
from harness.spec import DataSection, parse_run_spec
from tests.house import House

CPU = str(Path(__file__).parents[2] / "launch/cpu.yaml")
LAUNCH = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file", CPU]
SUITE = """\
name: suite
seeds: 1
base:
  model: mlp
  data: {name: image_folder, root: images, evaluate: {resize: 8, crop: 8}}
  optimizer: {name: sgd, lr: 0.1}
  loader: {name: pinned, workers: 0}
  train: {epochs: 1, global_batch_size: 8}
matrix: {optimizer.lr: [0.1, 0.2]}
"""
# Each process that lists a folder says its rank.
TOLD = """
_at_once = list_images

def list_images(*arguments):
    with Path({told!r}).open("a") as file:
        file.write(f"{{os.environ.get('RANK')}}\\n")
    return _at_once(*arguments)
"""


def fill(root: Path, count: int = 12) -> Path:
    for number in range(count):
        path = root / f"class{number % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9 + number % 3, 8), (number * 9, 0, 7)).save(path)
    return root


def section(**values: Any) -> DataSection:
    return parse_run_spec({"model": "mlp", "optimizer": {"name": "sgd", "lr": 0.1}, "data": values}).data


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder of temporary files of this test's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(prepare_module, "_kept", {})
    monkeypatch.setattr(shared_data, "_borrowed", [])
    return tmp_path / "temporary"


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("how", [{"evaluate": {"resize": 8, "crop": 8}}, {"size": 8, "validation": 0.2}])
def test_what_is_borrowed_is_what_was_read_and_no_file_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: Path, encoded: bool, how: dict[str, Any]
) -> None:
    read = prepare(section(name="image_folder", root=str(fill(tmp_path / "images")), **how), encoded=encoded)
    lent = lend(read)
    assert lend(read) == shared_data.LAST
    with monkeypatch.context() as forbidding:
        forbidding.setattr(os, "scandir", lambda *_: pytest.fail("a folder was listed"))
        forbidding.setattr(os, "stat", lambda *_: pytest.fail("the size of a file was asked for"))
        found = borrow(lent)
        assert found and found.train.shape == read.train.shape
    take_back(lent)
    assert found and borrow(shared_data.LAST) is found
    assert not list(places.iterdir())
    assert found.class_names == read.class_names and found.train.store is found.test.store
    for one, other in zip(every(found), every(read), strict=True):
        assert (one.labels == other.labels).all() and (one.rows == other.rows).all()
        numbers = np.arange(len(other.labels))
        assert (seen(one, numbers) == seen(other, numbers)).all()
        assert one.store.encoded() == other.store.encoded()
        one.labels[:] = 0  # of this process alone
        assert other.labels.any() or not len(numbers)


def every(splits: Splits) -> list[Any]:
    return [splits.train, splits.validation, splits.test]


def test_images_in_memory_are_not_lent(places: Path) -> None:
    assert lend(prepare(section(name="digits"))) == "" and not list(places.iterdir())
    take_back("")
    assert borrow("") is None


def test_where_there_is_no_room_each_rank_reads_for_itself(tmp_path: Path, places: Path) -> None:
    read = prepare(section(name="image_folder", root=str(fill(tmp_path / "images")), size=8))
    places.rmdir()
    assert lend(read) == ""


class Told(dict[str, bytes]):
    """A key-value store."""

    def set(self, name: str, value: str) -> None:
        self[name] = value.encode()

    def check(self, names: list[str]) -> bool:
        return all(name in self for name in names)


def test_rank_0_looks_and_the_others_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Told()
    monkeypatch.setattr(shared_data, "_store", lambda: store)
    monkeypatch.setenv("MASTER_PORT", "1")
    good, bad = (section(name="image_folder", root=str(tmp_path / name)) for name in ("good", "bad"))

    def refuse(_: DataSection) -> str:
        raise HarnessError("there is no folder", "check data.root")

    def never(_: DataSection) -> str:
        raise AssertionError("another rank looked")

    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert identity_from_rank_0(good, never if int(rank) else lambda _: "its hash") == "its hash"
        with pytest.raises(HarnessError, match="there is no folder") as caught:
            identity_from_rank_0(bad, never if int(rank) else refuse)
        assert caught.value.hint == "check data.root"
    assert identity_from_rank_0(section(name="digits"), lambda _: "of its own") == "of its own"


@pytest.mark.launch
@pytest.mark.parametrize("under", ["supervisor", "launcher"])
def test_of_two_ranks_one_lists_the_files(house: House, under: str) -> None:
    fill(house.path / "images")
    (house.path / "suite.yaml").write_text(SUITE)
    module = house.path / "harness/data/datasets/image_folder.py"
    module.write_text(module.read_text() + TOLD.format(told=str(house.path / "told")))
    if under == "launcher":
        done = house.run("suite.yaml", launcher=[*LAUNCH, "--num_processes", "2", "--main_process_port", "0"])
    else:
        done = house.run("suite.yaml", "--set", "train.num_processes=2")
    assert done.returncode == 0, done.stderr
    assert len(house.results("suite")) == 2
    assert {*(house.path / "told").read_text().split()} == ({"0"} if under == "launcher" else {"None", "0"})
