"""Both entrances, with one and two processes: the same runs, in records that agree."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.records.read import read_result
from harness.records.store import RunFolder
from harness.results.question import read_question
from harness.visualize.trained import read_run
from tests.house import NO_CHARTS, ROOT, House

pytestmark = pytest.mark.launch

SUITE = "benchmarks/quickstart.yaml"
FEW = ["--set", "seeds=1", "--set", "train.epochs=2", "--only", "model.name=mlp", "--only", "model.name=resnet18"]


@pytest.fixture
def project(house: House) -> House:
    """A house with the shipped suites and launch configs."""
    (house.path / "sitecustomize.py").write_text(NO_CHARTS)
    for folder in ("benchmarks", "launch"):
        (house.path / folder).symlink_to(ROOT / folder)
    return house


SHUTS_DOWN = """
import atexit, os, pathlib
if "RANK" in os.environ:
    atexit.register(pathlib.Path(f"shut-down-{os.environ['RANK']}").touch)
"""


def test_two_processes_by_accelerate_launch_and_then_by_harness_run(project: House) -> None:
    with (project.path / "sitecustomize.py").open("a") as file:
        file.write(SHUTS_DOWN)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "launch/cpu.yaml"]
    launched = project.run(SUITE, *FEW, launcher=[*launcher, "--num_processes", "2"])
    assert launched.returncode == 0, launched.stderr
    # Threads of gloo could abort the interpreter of rank 1 while it shuts down.
    assert [path.name for path in project.path.glob("shut-down-*")] == ["shut-down-0"]
    assert "quickstart on" in launched.stdout, "rank 0 shows the table"
    assert len(re.findall("^quickstart on", launched.stdout, re.MULTILINE)) == 1, "and no other rank does"

    results = project.results("quickstart")
    assert len(results) == 4
    for path in (project.path / "results/quickstart").glob("*/*/predictions.npz"):
        stored = np.load(path)
        assert stored["confusion_test"].sum() == 359, "each test image is counted once"
        assert (stored["label"] == stored["prediction"]).sum() == np.trace(stored["confusion_test"])
        run = read_run(RunFolder(path.parent), {})
        images, _ = run.test_images(range(359))
        assert (run.network(images).argmax(1).numpy() == stored["prediction"]).mean() > 0.99, "the weights that ended"
        with np.load(path.parent / "losses.npz") as arrays:
            of_steps = arrays["loss"]
        assert len(of_steps) == run.result.throughput.steps == 24
        last_epoch = (128 * of_steps[12:23].sum() + 30 * of_steps[23]) / 1438
        assert last_epoch == pytest.approx(run.result.metrics["train"].loss, rel=1e-3), "over both ranks"
        assert run.result.clock.checkpoint_seconds
    assert {(r["num_processes"], r["status"]) for r in results.values()} == {(2, "ok")}

    # `harness run` knows the same runs: they are done.
    supervised = project.run(SUITE, *FEW, "--set", "train.num_processes=2")
    assert supervised.returncode == 0, supervised.stderr
    assert "4 runs; 4 are done on this system: skipped" in supervised.stderr
    assert project.results("quickstart") == results


@pytest.mark.slow
def test_one_process_by_each_entrance_gives_the_same_numbers(project: House) -> None:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "launch/cpu.yaml"]
    launched = project.run(SUITE, *FEW, "--output", "launched", launcher=launcher)
    supervised = subprocess.run(
        [sys.executable, "-m", "harness", "run", SUITE, *FEW, "--output", "supervised"],
        cwd=project.path,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert launched.returncode == 0, launched.stderr
    assert supervised.returncode == 0, supervised.stderr
    assert metrics(project.path / "launched") == metrics(project.path / "supervised")
    for name in ("table.md", "table.tex", "table.csv", "runs.csv"):
        [file] = (project.path / "supervised/quickstart").glob(f"only-*/{name}")  # a selection has files of its own
        assert file.stat().st_size > 0


def metrics(output: Path) -> dict[str, tuple[float, float]]:
    """Returns test accuracy and loss of each run."""
    from harness.records.read import read_suite

    results = read_suite(output, "quickstart").results
    assert len(results) == 4
    return {result.run_id: (result.metrics["test"].accuracy, result.metrics["test"].loss) for result in results}


def test_weights_are_kept_unless_the_suite_says_no(project: House) -> None:
    one = ["--set", "seeds=1", "--set", "train.epochs=1", "--only", "model.name=mlp", "--only", "optimizer.name=sgd"]
    done = project.run(SUITE, *one, "--set", "train.keep_weights=false")
    assert done.returncode == 0, done.stderr
    [folder] = [path.parent for path in (project.path / "results/quickstart").glob("*/*/result.json")]
    assert not (folder / "checkpoints").exists()
    with pytest.raises(HarnessError, match=r"final\.safetensors does not exist") as caught:
        _ = read_run(RunFolder(folder), {}).network
    assert "keep_weights: true" in caught.value.hint


ANCHORED = """\
name: anchored
base:
  model: mlp
  data: {name: digits, train_samples: 256}
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 1, global_batch_size: 64, keep_weights: false, timeout_seconds: 77}
include: [{label: one}, {label: two, train.epochs: 2}]
target: {metric: test.accuracy, at_least: 0.1}
anchors: {label: two, runs: 3}
seeds: [7]
"""
LAUNCHER = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "launch/cpu.yaml"]


@pytest.mark.parametrize(
    ("options", "launcher"),
    [([], None), (["--isolate"], None), (["--pack", "2"], None), ([], LAUNCHER)],
    ids=["run", "isolate", "pack", "accelerate"],
)
def test_anchors_labels_seeds_and_targets_reach_the_record(
    project: House, options: list[str], launcher: list[str] | None
) -> None:
    (project.path / "anchored.yaml").write_text(ANCHORED)
    ended = project.run("anchored.yaml", *options, launcher=launcher)
    assert ended.returncode == 0, ended.stderr
    results = [read_result(path) for path in (project.path / "results/anchored").glob("*/*/result.json")]
    expected = [("one", 0), *[("two", repeat) for repeat in range(4)]]
    assert sorted((result.label, result.spec["repeat"]) for result in results) == expected
    assert {(r.seed, r.spec["seed"], r.spec["train"]["timeout_seconds"]) for r in results} == {(7, 7, 77)}
    assert all(result.target and result.target.at_least == 0.1 for result in results)
    with (project.path / "results/anchored/table.csv").open() as file:
        assert {row["label"]: row["runs"] for row in csv.DictReader(file)} == {"one": "1 ok", "two": "1 ok"}
    assert list(read_question([project.path / "results/anchored"]).labels.values()) == ["one", "two"]
    if "--pack" not in options:
        table = (project.path / "results/anchored/table.md").read_text(encoding="utf-8")
        assert re.search("Drift: .*4 runs of “two”, seed 7", table), table
