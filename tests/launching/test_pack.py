"""Several runs at a time on one device: each is done once and marked, and nothing is left behind."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.launching import run_suite
from harness.launching.failure_causes import hint_for
from harness.launching.launch_command import Launcher
from harness.launching.manifest import Manifest
from harness.records.result import Cause
from harness.records.store import RunFolder
from harness.suite.plan import load_suite
from tests.house import House
from tests.launching.paced import Paced, stop
from tests.launching.scripted import supervise
from tests.processes import processes_in, wait_for

SUITE = """\
name: s
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}
seeds: 4
"""
# A rank that walks its runs as `harness.running.all_runs` does, and writes down which they were.
WALK = """
def walk(of_run):
    for index, run in enumerate(manifest.runs):
        if stop():
            break
        begin(index)
        with open(manifest.output / "done", "a") as file:
            file.write(f"{run.run_id} {os.getpid()}\\n")
        of_run(run)
        heartbeat.run_ended()
    report_end(folder, stop.reason)
"""


def done(path: Path) -> list[list[str]]:
    """Returns the run and the process of each line that `WALK` left."""
    return [line.split() for line in (path / "done").read_text().splitlines()]


@pytest.mark.launch
def test_each_run_is_done_once_by_one_of_two_and_no_time_of_any_counts(house: House) -> None:
    suite = house.suite("matrix: {model.slow: [0.1, 0.11, 0.12, 0.13, 0.14]}\ninclude: [{model.fault: raise}]\n")
    ended = house.run(str(suite), "--pack", "2")
    assert ended.returncode == 1, ended.stderr
    results = house.results()
    assert [result["status"] for result in results.values()].count("ok") == 5 and len(results) == 6
    assert {(result["packed"], result["attempt"]) for result in results.values()} == {(2, 1)}
    folders = [RunFolder(path) for path in (house.path / "results/faults").glob("*/*/") if path.is_dir()]
    spans = [tuple(run.events()[place]["at"] for place in (0, -1)) for run in folders if run.events()]
    assert len(spans) == 6, "each was begun once"
    at_its_start = [sum(start <= begun < end for start, end in spans) for begun, _ in spans]
    assert max(at_its_start) == 2, "two at a time, and never more"

    assert ended.stderr.count("6 runs, 2 at a time: their times will not count") == 1
    assert (
        ended.stderr.count("all columns, effects and notes: ") == 1
        and ended.stderr.count("Packed (2 at a time): all runs here.") == 0
    )
    assert "left to" not in ended.stderr
    assert ended.stderr.count("✓") == 5 and ended.stderr.count("train") >= 5 == ended.stderr.count(", not ranked")
    assert ended.stdout.count("Packed (2 at a time): all runs here. Their times are left out") == 1
    with (house.path / "results/faults/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    times = ["train_seconds_mean", "samples_per_second_mean", "total_seconds_mean", "host_cpu_share_mean", "on_front"]
    assert {row[name] for row in rows for name in times} == {""}
    assert sum(bool(row["test_accuracy_mean"]) for row in rows) == 5
    assert not processes_in(house.path)


@pytest.mark.launch
@pytest.mark.slow
def test_killed_or_stopped_nobody_is_left_and_another_call_finishes(house: House) -> None:
    run = Paced(house, 1)
    three = ("--set", "seeds=3", "--set", "train.epochs=12")
    child = run.start("--pack", "2", *three)
    assert wait_for(lambda: len(processes_in(house.path)) == 3, 120), "a supervisor and two that train"
    child.kill()
    child.communicate()
    assert not run.left(), "they outlived their supervisor"

    run.hold("step")
    child = run.start("--pack", "2", *three)
    folder = house.path / "results/paced"
    assert wait_for(lambda: len(list(folder.glob("*/*/live/rank-0.json"))) == 2, 120), "two runs never began"
    words = stop(child, signal.SIGTERM)
    assert child.returncode == 75, words
    assert words.count("SIGTERM: saving") == 1 and words.count("stopped: what was done is kept") == 1
    assert not run.left()
    stopped = house.results("paced")
    assert {(result["status"], result["packed"]) for result in stopped.values()} == {("preempted", 2)}
    assert len(stopped) == 2

    run.let_go()
    child = run.start(*three)
    _, words = child.communicate(timeout=250)
    assert child.returncode == 0, words
    results = [house.results("paced")[f"paced {seed}"] for seed in range(3)]
    assert [len(result["resumed_at_steps"]) for result in results] == [1, 1, 0]
    assert [result["packed"] for result in results] == [2, 2, 1], "the part that was packed is in its times"


@pytest.mark.launch
@pytest.mark.parametrize("isolate", [False, True])
def test_each_launch_does_every_second_run_beside_the_other(tmp_path: Path, isolate: bool) -> None:
    # The first run takes as long as it takes the other launches to do theirs.
    script = f"""
def wait(run):
    if run.run_id == "run0":
        while len((manifest.output / "done").read_text().splitlines()) < 3:
            time.sleep(0.01)

(manifest.output / f"launch-{{os.getpid()}}").touch()
{WALK}
walk(wait)
"""
    code, _, words = supervise(tmp_path, script, 5, 2, isolate=isolate)
    assert code == 1, "the script leaves no results"
    assert sorted(run for run, _ in done(tmp_path)) == [f"run{seed}" for seed in range(5)]
    assert len(list(tmp_path.glob("launch-*"))) == (5 if isolate else 2)
    if not isolate:
        [own] = [process for run, process in done(tmp_path) if run == "run0"]
        assert [run for run, process in done(tmp_path) if process == own] == ["run0", "run2", "run4"]
    assert "stay open" not in words


def test_a_launch_that_dies_costs_its_own_run_which_is_tried_once(tmp_path: Path) -> None:
    script = f"""
def end(run):
    if run.run_id == "run1":
        fail("failed")
        os._exit(1)

{WALK}
walk(end)
"""
    _, [result], words = supervise(tmp_path, script, 4, 2)
    assert (result.run_id, result.status, result.packed) == ("run1", "failed", 2)
    assert sorted(run for run, _ in done(tmp_path)) == [f"run{seed}" for seed in range(4)]
    assert words.count("✗") == 1


def test_one_that_never_comes_to_a_run_costs_its_own_part(tmp_path: Path) -> None:
    script = f"if manifest.runs[0].run_id == 'run1':\n    sys.exit(3)\n{WALK}\nwalk(lambda run: None)"
    _, [result], words = supervise(tmp_path, script, 4, 2)
    assert [run for run, _ in done(tmp_path)] == ["run0", "run2"]
    assert (result.run_id, result.cause and result.cause.kind) == ("run1", "no start")
    assert words.count("hint:") == 1 and "1 more runs of this launch stay open" in words


def test_bad_input_that_one_finds_stops_the_others(tmp_path: Path) -> None:
    script = f"""
from harness.errors import HarnessError
from harness.launching.launch_folder import refuse

def meet(run):
    if run.run_id == "run0":
        while not (manifest.output / "slow").exists():
            time.sleep(0.01)
        refuse(folder, HarnessError("no such image", "look"))
        os._exit(0)
    (manifest.output / "slow").touch()
    while not stop():
        time.sleep(0.01)
    (manifest.output / "saved").touch()

{WALK}
walk(meet)
"""
    with pytest.raises(HarnessError, match="no such image"):
        supervise(tmp_path, script, 4, 2)
    assert (tmp_path / "saved").exists() and len(done(tmp_path)) == 2


def test_there_are_no_more_launches_than_runs_and_the_number_is_what_was_asked_for(tmp_path: Path) -> None:
    script = """
(manifest.output / f"launch-{os.getpid()}").write_text(str(manifest.warm_up_seconds))
begin()
fail("failed")
os._exit(1)
"""
    _, [result], _ = supervise(tmp_path, script, 1, 3)
    [launch] = tmp_path.glob("launch-*")
    assert result.packed == 3 and launch.read_text() == "0.0", "no time would be the cleaner for a warm-up"


def test_cores_are_shared_by_all_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert "OMP_NUM_THREADS" not in Launcher().environment(1)
    assert Launcher(packed=2).environment(1)["OMP_NUM_THREADS"] == "4"
    assert Launcher(packed=16).environment(1)["OMP_NUM_THREADS"] == "1"


def test_what_helps_where_the_memory_is_too_small_for_several(tmp_path: Path) -> None:
    cause = Cause(kind="OutOfMemoryError", message="m")
    assert "; give fewer than --pack 4, or raise " in hint_for("oom", cause, tmp_path, 4)
    assert "--pack" not in hint_for("oom", cause, tmp_path)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """Returns what calls of `harness run` come to: how many runs at a time, and which; none is done."""
    found = []

    def take(manifest: Any, launcher: Launcher, *_: object, **_options: object) -> int:
        found.append((launcher.packed, [run.run_id for run in manifest.runs]))
        return 75

    monkeypatch.setattr(run_suite, "run_suite", take)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE)
    return found


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_frozen_manifest_and_its_lines(tmp_path: Path, asked: list[tuple[int, list[str]]]) -> None:
    plan = load_suite(Path("suite.yaml")).plan(lambda data: "f00d")
    Manifest.of(plan, Path("results")).write(tmp_path / "manifest.jsonl")
    assert exit_code("manifest.jsonl", "--lines", "2-3", "--pack", "2") == 75
    assert exit_code("suite.yaml", "--pack", "3") == exit_code("suite.yaml") == 75
    assert asked == [(2, [run.run_id for run in plan.runs[1:3]]), (3, asked[2][1]), (1, asked[2][1])]


def test_wrong_inputs(
    asked: list[tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("suite.yaml", "--pack", "0") == 2
    assert "--pack" in capsys.readouterr().err
    assert exit_code("suite.yaml", "--pack", "2", "--set", "train.num_processes=2") == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: --pack is one process a run, and 'mlp' asks for 2"
    assert hint.startswith("hint: leave it out, or --set train.num_processes=1")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert exit_code("suite.yaml", "--pack", "2") == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert "a launcher has started this one" in error and hint == "hint: harness run suite.yaml --pack 2"
    assert not asked and not Path("results").exists()
