"""Bad data end a suite before a run is opened, with one error; by policy they are left out and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.house import House

pytestmark = pytest.mark.launch

SUITE = """\
name: folder
base:
  model: mlp
  data: {{name: image_folder, root: {root}}}
  optimizer: {{name: sgd, lr: 0.1}}
  train: {{epochs: 1, global_batch_size: 8}}
"""
# Rank 0 needs eight seconds to read data, and a collective may take three.
WAITED = {
    "harness/running/build.py": """
SLACK_SECONDS = -1797.0
""",
    "harness/data/prepare.py": """
_at_once = prepare

def prepare(*arguments, **options):
    import os, time

    time.sleep(8 if os.environ.get("LOCAL_RANK") == "0" else 0)
    return _at_once(*arguments, **options)
""",
}


@pytest.fixture
def suite(house: House) -> Path:
    """A suite on a folder of images, of which one is cut short."""
    root = house.path / "images"
    for split, count in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (16, 16), (index * 20, 0, 200)).save(folder / f"{index}.jpg")
    broken = root / "train/dog/3.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    path = house.path / "suite.yaml"
    path.write_text(SUITE.format(root=root))
    return path


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_truncated_image_is_named_and_nothing_is_recorded(house: House, suite: Path, processes: int) -> None:
    for name, code in WAITED.items():  # longer than the ranks wait in a collective
        (house.path / name).write_text((house.path / name).read_text() + code)
    done = house.run(str(suite), "--set", f"train.num_processes={processes}")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1 and done.stderr.count("hint:") == 1, "once, not from each rank"
    assert "train/dog/3.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(house.path.glob("results/folder/*/*"))


def test_it_is_left_out_and_counted_where_the_suite_says_so(house: House, suite: Path) -> None:
    done = house.run(str(suite), "--set", "data.unreadable=skip")
    assert done.returncode == 0, done.stderr
    [result] = house.results("folder").values()
    assert (result["data"]["skipped_files"], result["data"]["skipped_names"]) == (1, ["train/dog/3.jpg"])
    assert "1 file of the data could not be read and is in no run here (train/dog/3.jpg)." in " ".join(
        done.stdout.split()
    )
    assert result["data"]["train_samples"] == 23


def test_an_output_folder_that_cannot_be_written_is_found_before_training(house: House) -> None:
    (house.path / "file").write_text("")
    done = house.run(str(house.suite("")), "--output", "file/results")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to"), "nothing was launched"


SLOWLY = """
_at_once = read_image

def read_image(*arguments, **options):
    import time

    time.sleep(2)
    return _at_once(*arguments, **options)
"""


@pytest.mark.slow
def test_reading_files_for_longer_than_the_limit_of_a_step_is_no_hang(house: House, suite: Path) -> None:
    files = house.path / "harness/data/files.py"
    code = "import harness.data.images\nharness.data.images.CHUNK = 1\n" + SLOWLY
    files.write_text(files.read_text() + code)
    done = house.run(str(suite), "--set", "train.timeout_seconds=15", "--set", "data.unreadable=skip")
    assert done.returncode == 0, done.stderr
    [result] = house.results("folder").values()
    assert result["status"] == "ok" and result["data"]["decode_seconds"] > 15
