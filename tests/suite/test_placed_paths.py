"""A `data.root` that a suite says begins at the suite's folder; one that a call says, at the current folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.data.prepare import data_source
from harness.launching.manifest import Manifest
from harness.suite.plan import load_suite
from tests.house import House

BASE = """\
name: s
base:
  model: {name: mlp, hidden_sizes: [4]}
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 1, global_batch_size: 8, keep_weights: false}
"""
DATA = "  data: {name: image_folder, root: ROOT}\n"
OTHER = "{name: image_folder, test_fraction: 0.5, root: images}"
# Each way in which a suite says where its data are, with `images` beside it.
PLACES = {
    "base": BASE + DATA.replace("ROOT", "images"),
    "dotted": BASE + "  data: image_folder\n  data.root: images\n",
    "dot": BASE + DATA.replace("ROOT", "./images"),
    "up": BASE + DATA.replace("ROOT", "../suites/images"),
    "matrix": BASE + "  data: image_folder\nmatrix: {data.root: [images]}\n",
    "whole section": BASE + f"matrix: {{data: [{OTHER}]}}\n",
    "zip": BASE + "  data: image_folder\nzip: [{data.root: [images], data.nested: [first]}]\n",
    "one at a time": BASE + DATA.replace("ROOT", "images") + f"one_at_a_time: {{data: [{OTHER}]}}\n",
    "include": BASE + f"include: [{{data: {OTHER}}}]\n",
    "exclude": BASE + f"matrix: {{data: [{OTHER}, digits]}}\nexclude: [{{data.name: digits}}]\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `images` in `suites/` below it."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "suites" / "images")
    return tmp_path


def write_images(folder: Path, count: int = 12) -> None:
    draw = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name / f"{number}.png")


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    code = call("plan", *arguments, "--json")
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def roots(rows: list[dict[str, Any]]) -> set[str]:
    return {row["spec"]["data"]["root"] for row in rows}


@pytest.mark.parametrize("text", PLACES.values(), ids=PLACES)
def test_a_suite_finds_its_data_from_every_folder(place, capsys, monkeypatch, text):
    (place / "suites/s.yaml").write_text(text)
    seen = []
    for folder, suite in (
        (place, "suites/s.yaml"),
        (place / "suites", "s.yaml"),
        (Path("/"), f"{place}/suites/s.yaml"),
    ):
        monkeypatch.chdir(folder)
        rows = planned(capsys, suite)
        assert roots(rows) == {str(place / "suites/images")}
        seen.append([row["run_id"] for row in rows])
    assert seen[0] == seen[1] == seen[2] and all(seen[0])


def test_labels_say_what_the_suite_says(place, capsys):
    (place / "suites/s.yaml").write_text(PLACES["matrix"])
    assert planned(capsys, "suites/s.yaml")[0]["label"] == "root=images"


def test_matches_mean_the_same_path_as_the_configs(place, capsys):
    text = BASE + DATA.replace("ROOT", "images") + f"matrix: {{data: [{OTHER}, digits]}}\n"
    for more in ("exclude: [{data.root: images}]\n", "exclude: [{data: {root: images}}]\n"):
        (place / "suites/s.yaml").write_text(text + more)
        assert [row["spec"]["data"]["name"] for row in planned(capsys, "suites/s.yaml")] == ["digits"]
    reference = "references: [{match: {data.root: images}, metric: test.accuracy, value: 0.5, source: a book}]\n"
    (place / "suites/s.yaml").write_text(text + reference)
    assert call("plan", "suites/s.yaml") == 0, "the reference matches a config"
    assert len(planned(capsys, "suites/s.yaml", "--only", "data.root=suites/images")) == 1
    assert call("plan", "suites/s.yaml", "--only", "data.root=images") == 2, "of a call: of the current folder"


def test_smoke_is_of_the_suite_too(place, capsys):
    write_images(place / "suites/few", 5)
    base = BASE + DATA.replace("ROOT", "images")
    for smoke in ("{data.root: few}", "{data: {name: image_folder, root: few}}"):
        (place / "suites/s.yaml").write_text(f"{base}smoke: {{set: {smoke}}}\n")
        assert roots(planned(capsys, "suites/s.yaml", "--smoke")) == {str(place / "suites/few")}
        assert roots(planned(capsys, "suites/s.yaml")) == {str(place / "suites/images")}
    (place / "suites/s.yaml").write_text(
        BASE
        + f"matrix: {{data: [{OTHER}, {{name: image_folder, root: few}}]}}\nsmoke: {{only: {{data.root: [few]}}}}\n"
    )
    assert roots(planned(capsys, "suites/s.yaml", "--smoke")) == {str(place / "suites/few")}


def test_the_command_line_and_the_default_are_of_the_current_folder(place, capsys, monkeypatch):
    write_images(place / "own")
    (place / "suites/s.yaml").write_text(PLACES["base"])
    for words in (["data.root=own"], ["data={name: image_folder, root: own}"]):
        assert roots(planned(capsys, "suites/s.yaml", "--set", *words)) == {str(place / "own")}
    monkeypatch.setenv("HOME", str(place))
    assert roots(planned(capsys, "suites/s.yaml", "--set", "data.root=~/own")) == {str(place / "own")}
    (place / "suites/s.yaml").write_text(BASE + "  data: cifar10\n")
    (run,) = load_suite(Path("suites/s.yaml")).plan(lambda data: "f").runs
    source = data_source(run.spec.data)
    assert source.archive and source.archive.path == Path("data/cifar-10-python.tar.gz")


def test_a_home_is_no_folder_of_the_suite(place, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "suites"))
    (place / "suites/s.yaml").write_text(BASE + DATA.replace("ROOT", "~/images"))
    assert roots(planned(capsys, "suites/s.yaml")) == {str(place / "suites/images")}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BASE + DATA.replace("ROOT", "own/images"), 6),
        (BASE + "  data: image_folder\nmatrix:\n  data.root: [own/images]\n", 8),
        (BASE + f"include:\n  - data: {OTHER.replace('images', 'own/images')}\n", 7),
        (BASE + "  data: digits\nsmoke:\n  set:\n    data: {name: image_folder, root: own/images}\n", 9),
    ],
    ids=["base", "matrix", "include", "smoke"],
)
def test_a_path_that_begins_at_the_current_folder_is_one_clear_error(place, capsys, text, line):
    write_images(place / "own/images")
    (place / "suites/s.yaml").write_text(text)
    smoke = ["--smoke"] * ("smoke" in text)
    assert call("plan", "suites/s.yaml", *smoke) == 2
    message, hint = capsys.readouterr().err.splitlines()
    begins = f"data.root begins at the suite's folder, and there is no {place}/suites/own/images"
    assert message == f"error: suites/s.yaml:{line}: {begins}"
    found = f"{place}/own/images is there: write root: ../own/images, or call with --set data.root=own/images"
    assert hint == f"hint: {found}"
    (place / "suites/s.yaml").write_text(text.replace("own/images", "../own/images"))
    assert roots(planned(capsys, "suites/s.yaml", *smoke)) == {str(place / "own/images")}
    (place / "suites/s.yaml").write_text(text)
    given = planned(capsys, "suites/s.yaml", *smoke, "--set", "data={name: image_folder, root: own/images}")
    assert roots(given) == {str(place / "own/images")}


def test_what_is_nowhere_is_named_in_full(place, capsys):
    (place / "suites/s.yaml").write_text(BASE + DATA.replace("ROOT", "gone"))
    assert call("plan", "suites/s.yaml") == 2
    assert f"{place}/suites/gone cannot be read" in capsys.readouterr().err
    (place / "suites/s.yaml").write_text(BASE + DATA.replace("ROOT", '""'))
    assert call("plan", "suites/s.yaml") == 2
    assert "suites/s.yaml:6: data.root is empty" in capsys.readouterr().err


def test_a_manifest_is_right_from_every_folder(place, monkeypatch):
    (place / "suites/s.yaml").write_text(PLACES["base"])
    plan = load_suite(Path("suites/s.yaml")).plan(lambda data: data_source(data).fingerprint())
    Manifest.of(plan, place / "results").write(place / "manifest.jsonl")
    monkeypatch.chdir("/")
    (run,) = Manifest.read(place / "manifest.jsonl").runs
    assert data_source(run.spec.data).fingerprint() == run.fingerprint


@pytest.mark.launch
def test_a_run_is_the_same_one_from_another_folder(house: House) -> None:
    write_images(house.path / "suites/images")
    (house.path / "suites/s.yaml").write_text(PLACES["base"])
    assert house.run("suites/s.yaml").returncode == 0
    (spec,) = house.path.glob("results/s/*/*/spec.json")
    assert json.loads(spec.read_text())["spec"]["data"]["root"] == str(house.path / "suites/images")
    (house.path / "suites").rename(house.path / "elsewhere")
    again = house.run("elsewhere/s.yaml")
    assert again.returncode == 0 and "1 is done on this system: skipped" in again.stderr
