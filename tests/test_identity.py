"""Identity follows what ran: tried by runs, edits, and runs again."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.records.read import read_result
from tests.house import House

SUITE = """\
name: s
base:
  model: {name: mlp, hidden_sizes: [8]}
  data: DATA
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 1, global_batch_size: 64, keep_weights: false}
seeds: 2
"""
FOLDER = SUITE.replace("DATA", "{name: image_folder, root: images}").replace("64", "8")
DIGITS = "{name: digits, train_samples: 256, test_samples: 100}"

pytestmark = pytest.mark.launch


def records(house: House, suite: str = "s") -> dict[int, dict]:
    """Returns run id, code and data of each result, by seed."""
    found = [read_result(path) for path in (house.path / "results" / suite).glob("*/*/result.json")]
    return {r.seed: {"run_id": r.run_id, "code": r.code, "data": r.data and r.data.fingerprint} for r in found}


def rows(house: House, suite: str = "s") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((house.path / f"results/{suite}/table.csv").read_text())))


def test_runs_by_other_code_are_told_are_never_averaged_and_can_be_renewed(house: House) -> None:
    (house.path / "s.yaml").write_text(SUITE.replace("DATA", DIGITS))
    assert house.run("s.yaml").returncode == 0
    before = records(house)
    assert before[0]["code"] == before[1]["code"]
    file = house.path / "harness/models/mlp.py"
    (house.path / "harness/report/__init__.py").write_text('"""Another document."""\n')
    file.write_text("# A comment.\n" + file.read_text())
    ended = house.run("s.yaml")
    assert "2 are done on this system: skipped" in ended.stderr and "other code" not in ended.stderr

    file.write_text(file.read_text() + "\n\nCHANGED = True\n")
    ended = house.run("s.yaml", "--set", "seeds=3")
    assert "2 of them were trained by other code of the harness: --renew trains them again" in ended.stderr
    after = records(house)
    assert after[0] == before[0] and after[2]["code"] != after[0]["code"]
    assert [row["runs"] for row in rows(house)] == ["1 ok"]
    told = " ".join(ended.stdout.split())
    assert "Other code of the harness trained 2 of the runs of mlp" in told and "seeds 0, 1" in told

    ended = house.run("s.yaml", "--set", "seeds=3", "--renew")
    assert ended.returncode == 0 and "1 is done on this system: skipped" in ended.stderr, ended.stderr
    assert {record["code"] for record in records(house).values()} == {after[2]["code"]}
    assert [row["runs"] for row in rows(house)] == ["3 ok"]
    assert len(list(house.path.glob("results/s/*/*/replaced/1/result.json"))) == 2


def test_a_suite_that_is_renamed_trains_nothing_again(house: House) -> None:
    text = SUITE.replace("DATA", DIGITS)
    (house.path / "s.yaml").write_text(text)
    assert house.run("s.yaml").returncode == 0
    (house.path / "t.yaml").write_text(text.replace("name: s\n", "name: t\n", 1))
    ended = house.run("t.yaml", "--set", "seeds=3")
    assert ended.returncode == 0, ended.stderr
    assert "3 runs; 2 are done on this system: skipped" in ended.stderr
    assert "2 of them under other suites (s): the accuracy counts here, times do not" in ended.stderr
    assert set(records(house, "t")) == {2}
    [row] = rows(house, "t")
    assert (row["runs"], row["test_accuracy_n"], row["train_seconds_n"]) == ("3 ok", "3", "1")
    assert "elsewhere" in ended.stdout.lower()
    launched = house.run("t.yaml", launcher=None)
    assert launched.returncode == 0 and "2 are done on this system: skipped" in launched.stderr


def images(folder: Path, swapped: bool) -> None:
    """Writes black and white images in two classes, all of one size in bytes; or swaps the classes."""
    for split, count in (("train", 16), ("test", 8)):
        for name, value in (("black", 0), ("white", 255)):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                path = folder / split / name / f"{number}.png"
                shade = 255 - value if swapped and split == "test" else value
                Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path, compress_level=0)


def test_images_that_were_replaced_by_others_of_the_same_names_and_sizes_are_other_runs(house: House) -> None:
    data = house.path / "images"
    images(data, swapped=False)
    sizes = {path: path.stat().st_size for path in data.rglob("*.png")}
    (house.path / "s.yaml").write_text(FOLDER.replace("seeds: 2", "seeds: 1"))
    first = house.run("s.yaml")
    assert first.returncode == 0, first.stderr
    before = records(house)
    images(data, swapped=True)
    assert {path: path.stat().st_size for path in data.rglob("*.png")} == sizes
    second = house.run("s.yaml")
    assert second.returncode == 0 and "skipped" not in second.stderr, second.stderr
    found = [read_result(path) for path in house.path.glob("results/s/*/*/result.json")]
    accuracy = {result.run_id: result.metrics["test"].accuracy for result in found}
    assert len(accuracy) == 2 and accuracy.pop(before[0]["run_id"]) > 0.9 and max(accuracy.values()) < 0.1


def test_data_that_changed_since_they_were_planned_are_an_error_and_no_record(house: House) -> None:
    images(house.path / "images", swapped=False)
    (house.path / "s.yaml").write_text(FOLDER)
    frozen = house.path / "results/s/submissions/now"
    frozen.mkdir(parents=True)
    script = f"""
from pathlib import Path
from harness.data.prepare import fingerprint
from harness.launching.manifest import Manifest
from harness.suite.plan import load_suite
plan = load_suite(Path("s.yaml")).plan(fingerprint)
Manifest.of(plan, Path("results")).write(Path({str(frozen)!r}) / "manifest.jsonl")
"""
    (house.path / "freeze.py").write_text(script)
    subprocess.run([sys.executable, "freeze.py"], cwd=house.path, env=house.environment(), check=True)
    images(house.path / "images", swapped=True)
    ended = house.run(str(frozen / "manifest.jsonl"))
    assert ended.returncode == 2
    assert f"the data of {house.path / 'images'} are not those that this run was planned for" in ended.stderr
    assert json.dumps(records(house)) == "{}"
