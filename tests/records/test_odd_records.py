"""Records that are not what a run writes: each is named and left out by all who read it, and takes no other down."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.compare.sides import measured_suite
from harness.errors import HarnessError
from harness.launching.slurm.submission import read_submissions
from harness.launching.status import suite_status
from harness.live.follow import Watched
from harness.records.calibration import Calibration, Rate, calibration_path, read_calibrations, write_calibration
from harness.records.events import read_events
from harness.records.files import OddFile, open_file, read_file, read_object
from harness.records.planned import read_planned
from harness.records.read import read_result, read_suite
from harness.records.result import Clock, Metrics, RunResult
from harness.records.store import RunFolder, run_folder
from harness.report.build import build_report
from harness.report.epochs import curve_of
from harness.report.formats import as_json
from harness.report.write import write_report
from harness.results.study import study_of_plans
from harness.suite.plan import Plan, PlannedRun, load_suite
from harness.trackers.entries import read_entries
from harness.visualize.draw import _once
from harness.visualize.trained import find_run, read_run
from tests.records.test_result import DATA

SYSTEM = {"system_id": "m", "name": "machine m"}
METRICS = Metrics(accuracy=0.75, top5_accuracy=None, loss=0.5, macro_recall=0.7, recall_by_class=[0.5, None])


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two runs of one config."""
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nbase: {model: mlp, data: synthetic, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 2}}\nseeds: 2\n"
    )
    return load_suite(suite).plan(lambda data: "f00d")


def record(root: Path, run: PlannedRun) -> RunFolder:
    """Writes what a run of two epochs leaves."""
    folder = run_folder(root, "s", run.run_id, "m")
    ids: dict[str, Any] = {"suite": "s", "run_id": run.run_id, "config_id": run.config_id}
    folder.start({**ids, "spec": run.spec.model_dump(mode="json")}, SYSTEM)
    for epoch in range(2):
        metrics = {name: METRICS.model_dump(exclude={"recall_by_class"}) for name in ("train", "test")}
        folder.event("epoch", epoch=epoch, train_seconds=1.5, wait_seconds=0.1, learning_rate=0.1, metrics=metrics)
    written = RunResult(
        **ids,
        label=run.spec.label,
        system_id="m",
        seed=run.spec.seed,
        status="ok",
        started_at="2026-01-01T00:00:00+00:00",
        ended_at="2026-01-01T00:00:01+00:00",
        num_processes=1,
        epochs=2,
        spec=run.spec.model_dump(mode="json"),
        clock=Clock(train_seconds=3.0, total_seconds=4.0),
        metrics={"test": METRICS, "train": METRICS},
        data=DATA,
    )
    folder.finish(written)
    return folder


def changed(path: str, value: Any) -> Callable[[Path], None]:
    """Returns what changes a field of a record, by its dotted name."""

    def change(file: Path) -> None:
        values = json.loads(file.read_text())
        inner, *names = values, *path.split(".")
        for name in names[:-1]:
            inner = inner[name]
        inner[names[-1]] = value
        file.write_text(json.dumps(values))

    return change


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Returns what puts something else in the place of a file."""

    def change(file: Path) -> None:
        file.unlink()
        make(file)

    return change


FIELDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN accuracy": (changed("metrics.test.accuracy", float("nan")), "metrics.test.accuracy: "),
    "accuracy in per cent": (changed("metrics.test.accuracy", 92.1), "metrics.test.accuracy: "),
    "negative time": (changed("clock.train_seconds", -1.0), "clock.train_seconds: "),
    "endless time": (changed("clock.train_seconds", float("inf")), "clock.train_seconds: "),
    "time of 10^30": (changed("clock.train_seconds", 1e30), "clock.train_seconds: "),
    "10^30 bytes": (changed("memory.host_rss_bytes", 10**30), "memory.host_rss_bytes: "),
    "10^12 epochs": (changed("epochs", 10**12), "epochs: "),
    "negative seed": (changed("seed", -1), "seed: "),
    "no moment": (changed("started_at", "yesterday"), "started_at: "),
    "moment without a zone": (changed("started_at", "2026-01-01T00:00:00"), "started_at: "),
    "negative loss": (changed("metrics.test.loss", -0.1), "metrics.test.loss: "),
    "NaN in the spec": (changed("spec.optimizer.lr", float("nan")), "spec: "),
    "10^30 in the spec": (changed("spec.train.epochs", 10**30), "spec: "),
    "list for an object": (changed("clock", []), "clock: "),
    "list for the spec": (changed("spec", []), "spec: "),
    "another schema": (changed("schema_version", 2), "schema version 2; this harness reads 1"),
    "ok without its data": (changed("data", None), "data: null in the record of a run that ended ok"),
    "text for a version": (changed("schema_version", "x" * 1000), "schema version xxx"),
}
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn": (lambda file: file.write_bytes(file.read_bytes()[:-9]), "not a whole JSON object"),
    "a list": (lambda file: file.write_text("[]"), "not a whole JSON object"),
    "deeply nested": (lambda file: file.write_text("[" * 100_000), "not a whole JSON object"),
    "a directory": (replaced(Path.mkdir), "a directory, not a file"),
    "a FIFO": (replaced(os.mkfifo), "a FIFO, not a file"),
    "a link to /dev/full": (replaced(lambda file: file.symlink_to("/dev/full")), "a device, not a file"),
    "a link to /dev/zero": (replaced(lambda file: file.symlink_to("/dev/zero")), "a device, not a file"),
    "too large": (lambda file: os.truncate(file, 1 << 40), "too large for a record"),
}
ODD = {**FIELDS, **FILES}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_record_is_named_and_left_out_by_all(plan: Plan, tmp_path: Path, case: str) -> None:
    change, reason = ODD[case]
    good, bad = (record(tmp_path, run) for run in plan.runs)
    path = bad.path / "result.json"
    change(path)
    assert_left_out(plan, tmp_path, good, path, reason)
    with pytest.raises(HarnessError, match=r"holds no valid result\.json: ") as refused:
        read_run(bad, {})
    assert reason in refused.value.message
    with pytest.raises(ValueError, match=r"^result\.json: ") as named:
        read_entries(bad)
    assert reason in str(named.value)
    assert not bad.is_done() and good.is_done()


def assert_left_out(plan: Plan, root: Path, good: RunFolder, path: Path, reason: str) -> None:
    """Checks that all who read a suite name a record, and that a good one beside it counts."""
    stored = read_suite(root, "s")
    assert [result.run_id for result in stored.results] == [good.path.parent.name]
    assert list(stored.unreadable) == [path] and reason in stored.unreadable[path]
    assert "\n" not in stored.unreadable[path] and len(stored.unreadable[path]) < 300
    sentence = f"Unreadable record {path}: {stored.unreadable[path]}."
    report = build_report(study_of_plans([plan], stored, [root]))
    assert sentence in report.notes and len(report.tables[0].rows[0].ok) == 1
    measured = measured_suite(study_of_plans([plan], stored, [root]))
    assert sentence in measured.notes and len(measured.configs[0].runs) == 1
    status = suite_status(plan, root)
    assert status.unreadable == {str(path): stored.unreadable[path]}
    assert status.systems["m"].counts == {"ok": 1, "open": 1}
    (state,) = Watched(plan, root).look()
    assert set(state.ended) == {good.path.parent.name}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda file: file.symlink_to("/dev/zero")])
def test_events_that_are_no_file(plan: Plan, tmp_path: Path, make: Callable[[Path], object]) -> None:
    good, bad = (record(tmp_path, run) for run in plan.runs)
    replaced(make)(bad.path / "events.jsonl")
    assert_left_out(plan, tmp_path, good, bad.path / "result.json", "events.jsonl is a ")
    assert bad.start({}, SYSTEM).number == 1
    assert (bad.path / "events.jsonl.odd-1").exists() and bad.events()[0]["files"] == ["events.jsonl.odd-1"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda file: file.symlink_to("/dev/zero")])
def test_a_spec_that_is_no_file(plan: Plan, tmp_path: Path, make: Callable[[Path], object]) -> None:
    good, bad = (record(tmp_path, run) for run in plan.runs)
    replaced(make)(bad.path / "spec.json")
    assert_left_out(plan, tmp_path, good, bad.path / "result.json", "spec.json is a ")
    with pytest.raises(ValueError, match=r"spec\.json: a .*, not a file"):
        read_entries(bad)
    bad.start({}, SYSTEM)
    assert (bad.path / "spec.json").is_file()


@pytest.mark.parametrize("change", ["renamed run", "renamed system", "another run's folder"])
def test_a_copy_in_another_folder_counts_for_nothing(plan: Plan, tmp_path: Path, change: str) -> None:
    good = record(tmp_path, plan.runs[0])
    run_id = plan.runs[0].run_id
    copy = {
        "renamed run": good.path.parents[1] / f"{run_id}.old" / "m",
        "renamed system": good.path.parent / "n",
        "another run's folder": good.path.parents[1] / plan.runs[1].run_id / "m",
    }[change]
    shutil.copytree(good.path, copy)
    path = copy / "result.json"
    assert_left_out(plan, tmp_path, good, path, f"a copy of run {run_id} on system m: it does not lie in {run_id}/m")
    assert not RunFolder(copy).is_done(), "the run of that folder is still to be done"
    with pytest.raises(ValueError, match=r"a copy of run|is of system m"):
        read_entries(RunFolder(copy))
    assert find_run(run_id[:8], tmp_path).path == good.path


def test_a_record_that_is_read_from_its_own_folder(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(record(tmp_path, plan.runs[0]).path)
    assert read_result(Path("result.json")).run_id == plan.runs[0].run_id
    assert RunFolder(Path("../m")).is_done() and RunFolder(Path()).is_done()


def test_the_same_run_in_two_roots_is_drawn_once(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one, other = record(tmp_path / "a", plan.runs[0]), record(tmp_path / "b", plan.runs[0])
    runs = [read_run(folder, {}) for folder in (one, other, one, record(tmp_path / "a", plan.runs[1]))]
    console = Console(width=1000)
    assert [run.folder.path for run in _once(runs, console)] == [one.path, runs[3].folder.path]
    assert capsys.readouterr().out == f"{other.path}: the same run as {one.path}, left out\n"


def test_the_same_run_under_two_suites_counts_once_and_an_odd_record_there_is_named(plan: Plan, tmp_path: Path) -> None:
    first, second = (record(tmp_path, run) for run in plan.runs)
    shutil.copytree(tmp_path / "s", tmp_path / "renamed")
    run_ids = [run.run_id for run in plan.runs]
    both = read_planned(tmp_path, "s", run_ids)
    assert sorted(result.run_id for result in both.results) == sorted(run_ids) and not both.unreadable
    for folder in (first.path, second.path, tmp_path / "renamed" / run_ids[1]):
        shutil.rmtree(folder)
    (one,) = read_planned(tmp_path, "s", run_ids).results
    assert (one.run_id, one.elsewhere) == (run_ids[0], "renamed"), "its accuracy counts from there"
    there = tmp_path / "renamed" / run_ids[0] / "m"
    for name, reason in (("system.json", "system.json: not a whole JSON object"), ("result.json", "not a whole JSON")):
        (there / name).write_text("[]")
        found = read_planned(tmp_path, "s", run_ids)
        assert not found.results and found.unreadable[there / "result.json"].startswith(reason)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"event": "epoch", "epoch": 1, "train_seconds": -1}, "train_seconds: "),
        ({"event": "epoch", "epoch": 1, "train_seconds": float("nan")}, "train_seconds: "),
        ({"event": "epoch", "epoch": -1}, "epoch: "),
        ({"event": "epoch", "epoch": 10**30}, "epoch: "),
        ({"event": "epoch", "train_seconds": 1}, "epoch: Field required"),
        ({"event": "set_aside", "reason": "disturbed"}, "number: Field required"),
        ({"event": "epoch", "epoch": 1, "train_seconds": 1, "metrics": []}, "metrics: "),
        ({"event": "epoch", "epoch": 1, "metrics": {"test": {"accuracy": 99.1}}}, "metrics.test.accuracy: "),
        ({"event": "run_resumed", "attempt": []}, "attempt: "),
        ({"event": ["epoch"]}, "event: "),
        ({"event": "epoch", "epoch": 1, "at": 5}, "at: "),
    ],
)
def test_an_odd_event_is_named_and_its_run_counts_without_its_curve(
    plan: Plan, tmp_path: Path, event: dict[str, Any], reason: str
) -> None:
    _, folder = (record(tmp_path, run) for run in plan.runs)
    before = folder.events()
    with (folder.path / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    assert folder.events() == before and folder.attempt().number == 1
    report = build_report(study_of_plans([plan], read_suite(tmp_path, "s"), [tmp_path]))
    (note,) = (note for note in report.notes if "events.jsonl" in note)
    assert reason in note and len(report.tables[0].rows[0].ok) == 2
    assert read_entries(folder)


def test_torn_lines_are_no_event_and_a_number_that_is_a_text_is_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start({}, {})
    before = len(folder.events())
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"event":"epoch"\n"epoch":3}\n\n[]\n\xff\n{"event":"epoch","epoch":0,"train_seconds":"1.5"}\n')
    assert read_events(tmp_path / "events.jsonl")[1] == "" and len(folder.events()) == before + 1
    assert curve_of(folder.epochs()) is None and folder.epochs()[0]["train_seconds"] == 1.5


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"system_id": "n"}', '{"system_id": "m", "memory_bytes": 1e999}', f'{{"memory_bytes": {10**30}}}'],
)
def test_an_odd_system(plan: Plan, tmp_path: Path, content: str) -> None:
    good, bad = sorted((record(tmp_path, run) for run in plan.runs), key=lambda folder: folder.path, reverse=True)
    (bad.path / "system.json").write_text(content)
    stored = read_suite(tmp_path, "s")
    assert list(stored.unreadable) == [bad.path / "result.json"]
    assert "system.json" in stored.unreadable[bad.path / "result.json"]
    assert [result.run_id for result in stored.results] == [good.path.parent.name]
    assert list(suite_status(plan, tmp_path).unreadable) == [str(bad.path / "result.json")]


def test_what_is_in_the_place_of_a_record_keeps_no_run_from_being_trained(plan: Plan, tmp_path: Path) -> None:
    folder = record(tmp_path, plan.runs[0])
    path = folder.path / "result.json"
    for number in (1, 2):
        replaced(Path.mkdir)(path) if path.is_file() else path.mkdir()
        (path / "notes").touch()
        assert folder.start({}, SYSTEM).number == number + 1
        assert (folder.path / f"result.json.odd-{number}" / "notes").exists() and not path.exists()
    os.mkfifo(path)
    folder.start({}, SYSTEM)
    assert not path.exists() and folder.attempt().number == 4, "what is no folder is replaced"


def test_odd_calibrations_are_named(tmp_path: Path) -> None:
    rate = Rate(unit="FLOP/s", median=1e9, interquartile_range=1.0, relative_error=0.01, rounds=3)
    for system_id in ("m", "n", "o"):
        made = Calibration(
            system_id=system_id,
            system="s",
            measured_at="2026-01-01T00:00:00+00:00",
            device="cpu",
            threads=2,
            seconds=1.0,
            rates={"matmul.fp32": rate},
        )
        write_calibration(tmp_path, made, {"system_id": system_id})
    changed("rates", {"matmul.fp32": {**rate.model_dump(), "median": -1}})(calibration_path(tmp_path, "n"))
    shutil.copy(calibration_path(tmp_path, "m"), calibration_path(tmp_path, "o"))
    found, unreadable = read_calibrations(tmp_path, ["m", "n", "o", "none"])
    assert list(found) == ["m"]
    assert unreadable[calibration_path(tmp_path, "n")].startswith("rates.matmul.fp32.median: ")
    assert "a copy of the calibration of system m" in unreadable[calibration_path(tmp_path, "o")]


@pytest.mark.parametrize("content", ["[]", "{}", '{"jobs": {"1": {}}}', '{"jobs": {"x": 3}}', '{"jobs": 3}'])
def test_an_odd_submission_is_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s" / "submissions" / "1" / "submission.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(HarnessError, match=r"submission\.json"):
        read_submissions(tmp_path, "s")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), Path("/dev/full")):
        for read in (read_file, open_file, read_object):
            with pytest.raises(OddFile, match="not a file"):
                read(path)
    (tmp_path / "large").write_bytes(b"12345")
    assert read_file(tmp_path / "large", 5) == b"12345"
    with pytest.raises(OddFile, match="5 bytes: too large"):
        read_file(tmp_path / "large", 4)
    (tmp_path / "link").symlink_to("large")
    assert read_file(tmp_path / "link") == b"12345", "a link to a file is one"


def test_all_kept_records_are_read() -> None:
    paths = sorted((Path(__file__).parents[2] / "results/reference").glob("**/result.json"))
    assert paths and [read_result(path).status for path in paths]
    for path in paths:
        epochs, problem = RunFolder(path.parent).epochs_and_problem()
        assert problem == "" and (epochs or read_result(path).status == "diverged")


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_network_whose_logits_overflowed_counts(plan: Plan, tmp_path: Path, loss: float) -> None:
    _, folder = (record(tmp_path, run) for run in plan.runs)
    changed("metrics.test.loss", loss)(folder.path / "result.json")
    stored = read_suite(tmp_path, "s")
    assert len(stored.results) == 2 and not stored.unreadable
    report = build_report(study_of_plans([plan], stored, [tmp_path]))
    assert len(report.tables[0].rows[0].ok) == 2 and not any("Unreadable" in note for note in report.notes)
    write_report(tmp_path / "out", report)
    assert (tmp_path / "out" / "table.md").exists() and json.loads(json.dumps(as_json(report)))
    assert len(measured_suite(study_of_plans([plan], stored, [tmp_path])).configs[0].runs) == 2
