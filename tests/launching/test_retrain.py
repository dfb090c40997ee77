"""Runs that are done and are trained again: by `--retake`, and by any other rule on their records."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.launching.manifest import Manifest, Retrain
from harness.launching.run_suite import DISTURBED, KnownRuns, is_to_retake, run_suite
from harness.records.result import Measurements, RunResult
from harness.records.store import RunFolder
from harness.spec import parse_run_spec
from harness.spec.code import own_code
from harness.suite.plan import PlannedRun
from tests.house import House
from tests.launching.scripted import Scripted, Unseen
from tests.records.test_result import DATA

# Stands in for what a run measures of others: seed 0 is disturbed twice, seed 1 always, seed 2 never.
MEASURED = """

_result = Manifest.result


def _disturbed(self, run, system_id, attempt, status, cause, measured):
    times = {0: 2, 1: 10**6, 2: 0}[run.spec.seed]
    measured.disturbed = [f"planted in attempt {attempt.number}"] if attempt.number <= times else []
    return _result(self, run, system_id, attempt, status, cause, measured)


Manifest.result = _disturbed
"""


def on_one_line(text: str) -> str:
    return " ".join(text.split())


def by_seed(house: House) -> list[dict[str, Any]]:
    return sorted(house.results().values(), key=lambda result: result["seed"])


@pytest.mark.launch
def test_what_was_disturbed_is_trained_again_after_all_others_and_its_records_are_kept(house: House) -> None:
    with (house.path / "harness/launching/manifest.py").open("a") as file:
        file.write(MEASURED)
    suite = str(house.suite("seeds: 3\n"))
    first = house.run(suite)
    assert first.returncode == 0, first.stderr
    plain = by_seed(house)
    assert [bool(result["disturbed"]) for result in plain] == [True, True, False]
    assert "Disturbed (planted in attempt 1): 2 of 3 runs of “faulty”. Their times are left out" in on_one_line(
        first.stdout
    )

    ended = house.run(suite, "--retake", "2")
    assert ended.returncode == 0, ended.stderr
    assert "3 runs; 3 are done on this system: skipped" in ended.stderr
    assert "2 runs were disturbed: trained again, in pass 1 of at most 2" in ended.stderr
    assert "2 runs were disturbed: trained again, in pass 2 of at most 2" in ended.stderr
    assert "still disturbed: 1 of 3 runs; each was trained again up to 2 times" in ended.stderr
    results = by_seed(house)
    assert [(one["attempt"], one["replaced"], one["disturbed"]) for one in results] == [
        (3, 2, []), (3, 2, ["planted in attempt 3"]), (1, 0, [])
    ]  # fmt: skip
    assert results[2] == plain[2]

    root = house.path / "results/faults"
    folders = [RunFolder(root / one["run_id"] / one["system_id"]) for one in results]
    begun = sorted(
        (event["at"], seed)
        for seed, folder in enumerate(folders)
        for event in folder.events()
        if event["event"] == "run_started"
    )
    assert [seed for _, seed in begun][3:] == [0, 1, 0, 1], "in the order of the plan, pass by pass"
    kept = [json.loads((folders[0].path / f"replaced/{k}/result.json").read_text()) for k in (1, 2)]
    assert kept[0] == plain[0] and (kept[1]["attempt"], kept[1]["replaced"]) == (2, 1)
    for folder in folders[:2]:
        for number in (1, 2):
            names = {path.name for path in (folder.path / f"replaced/{number}").iterdir()}
            assert {"result.json", "spec.json", "system.json", "predictions.npz", "events.jsonl"} <= names
        assert (folder.path / "predictions.npz").exists() and not list(folder.path.glob("replaced/.*"))
    assert not (folders[2].path / "replaced").exists()

    assert "Disturbed (planted in attempt 3): 1 of 3 runs of “faulty”." in on_one_line(ended.stdout)
    table = (house.path / "results/faults/table.md").read_text(encoding="utf-8")
    assert "Trained again: 2 of 3 runs of “faulty”. 4 earlier records of them are kept" in table
    with (root / "table.csv").open() as file:
        [row] = csv.DictReader(file)
    assert (row["runs"], row["test_accuracy_n"], row["train_seconds_n"]) == ("3 ok", "3", "2")
    with (root / "runs.csv").open() as file:
        marked = {one["seed"]: (one["marks"], one["replaced"]) for one in csv.DictReader(file)}
    assert marked == {"0": ("", "2"), "1": ("disturbed", "2"), "2": ("", "0")}

    third = house.run(suite, "--retake", "2")
    assert third.returncode == 0 and "trained again, in pass" not in third.stderr, "it was, as often as is asked for"
    assert "still disturbed: 1 of 3 runs" in third.stderr
    assert by_seed(house) == results


@pytest.mark.launch
def test_runs_that_another_suite_holds_are_trained_again_under_this_one(house: House) -> None:
    with (house.path / "harness/launching/manifest.py").open("a") as file:
        file.write(MEASURED)
    lender = house.suite("seeds: 3\n")
    assert house.run(str(lender)).returncode == 0
    lent = house.results()
    suite = house.path / "borrower.yaml"
    suite.write_text(lender.read_text().replace("name: faults", "name: borrower"))
    with (house.path / "harness/training/loop.py").open("a") as file:
        file.write("\nANOTHER_CODE = 1\n")

    ended = house.run(str(suite), "--retake", "1")
    assert ended.returncode == 0, ended.stderr
    assert "3 of them under other suites (faults): the accuracy counts here, times do not" in ended.stderr
    _, _, after = ended.stderr.partition("2 runs were disturbed: trained again, in pass 1 of at most 1")
    assert [line[:5] for line in after.splitlines() if "✓" in line] == ["2/3  ", "3/3  "], "the count grows"
    own = house.results("borrower")
    assert [(one["seed"], one["suite"], one["attempt"], one["replaced"]) for one in own.values()] == [
        (0, "borrower", 1, 0), (1, "borrower", 1, 0)
    ]  # fmt: skip
    assert own["faulty 0"]["code"] == own["faulty 1"]["code"] != lent["faulty 0"]["code"]
    assert "seeds 2, until" in on_one_line(ended.stdout), "what is left is named"

    ended = house.run(str(suite), "--renew")
    assert ended.returncode == 0, ended.stderr
    assert "3 runs; 2 are done on this system: skipped" in ended.stderr
    renewed = house.results("borrower")
    assert {**renewed, "faulty 2": None} == {**own, "faulty 2": None}, "the new code's are left"
    assert (renewed["faulty 2"]["suite"], renewed["faulty 2"]["code"]) == ("borrower", own["faulty 0"]["code"])
    assert "Run elsewhere" not in ended.stdout and house.results() == lent, "the other suite's are as they were"
    assert not list((house.path / "results").glob("*/*/*/replaced"))


def manifest_of(tmp_path: Path, count: int = 3) -> Manifest:
    sections = {"model": "mlp", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}}
    runs = []
    for seed in range(count):
        spec = parse_run_spec({**sections, "seed": seed, "label": f"run {seed}"})
        runs.append(PlannedRun(spec=spec, config_id=spec.config_id(), run_id=f"run{seed}", fingerprint="data"))
    return Manifest(suite="suite", output=tmp_path, runs=tuple(runs))


def recorded(manifest: Manifest, seed: int, status: Any = "ok", **fields: Any) -> RunResult:
    """Records a run, once more where it was recorded before."""
    run = manifest.runs[seed]
    folder = manifest.folder(run, "system")
    code = own_code(run.spec.plugins())
    environment = fields.pop("environment", None)
    described = manifest.description(run)
    attempt = folder.start(described, {"system_id": "system"}, code=code, environment=environment)
    result = manifest.result(run, "system", attempt, status, None, Measurements(data=DATA, **fields))
    folder.finish(result)
    return result


def test_records_of_another_environment_are_known_unless_their_times_do_not_count(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, 4)
    for seed, threads in enumerate("1233"):
        recorded(manifest, seed, environment={"OMP_NUM_THREADS": threads}, disturbed=["others"] * (seed == 3))
    found = KnownRuns.of(manifest, "system")
    assert set(found.of_another_environment({1: {"OMP_NUM_THREADS": "2"}})) == {"run0", "run2"}
    assert not found.of_another_environment({2: {}}), "of launches of another size"
    [told] = found.sentences({1: {"OMP_NUM_THREADS": "2"}}, renew=True)
    assert told.startswith("2 of them ran in another environment (OMP_NUM_THREADS 1, not 2)")


def test_the_rule_of_retake_looks_at_the_mark_and_at_nothing_else(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    folder = manifest.folder(manifest.runs[0], "system")
    marked = {"disturbed": ["planted"]}
    assert is_to_retake(recorded(manifest, 0, **marked), folder, 1)
    assert not is_to_retake(recorded(manifest, 0, **marked), folder, 0)
    for seconds in (1e-3, 1e6):
        assert not is_to_retake(recorded(manifest, 0, clock={"train_seconds": seconds}), folder, 1)
        assert is_to_retake(recorded(manifest, 0, clock={"train_seconds": seconds}, **marked), folder, 1)
    assert not is_to_retake(recorded(manifest, 0, "diverged", **marked), folder, 1)
    assert not is_to_retake(recorded(manifest, 0, resumed_at_steps=[3]), folder, 1)

    for times, most in ((1, 1), (2, 2)):
        folder.set_aside(recorded(manifest, 0, **marked), DISTURBED)
        result = recorded(manifest, 0, **marked)
        assert folder.times_set_aside(DISTURBED) == times
        assert not is_to_retake(result, folder, most) and is_to_retake(result, folder, most + 1)
    folder.set_aside(recorded(manifest, 0, **marked), "other code")
    result = recorded(manifest, 0, **marked)
    assert result.replaced == 3 and is_to_retake(result, folder, 1), "of the new code it is the first"


def test_a_newer_record_than_the_one_that_was_looked_at_is_left(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    run = manifest.runs[0]
    folder = manifest.folder(run, "system")
    looked_at = recorded(manifest, 0)
    again = {"run0": Retrain(looked_at.attempt, "other code")}
    asking = manifest.model_copy(update={"again": again})
    assert manifest.is_done(run, folder) and not asking.is_done(run, folder)
    assert asking.to_replace(run, folder) == looked_at
    asking.write(tmp_path / "manifest.jsonl")
    assert Manifest.read(tmp_path / "manifest.jsonl").again == again

    folder.set_aside(looked_at, "other code")
    assert asking.to_replace(run, folder) is None and not asking.is_done(run, folder)
    newer = recorded(manifest, 0)
    assert (newer.attempt, newer.replaced) == (2, 1)
    assert asking.is_done(run, folder) and asking.to_replace(run, folder) is None

    run = manifest.runs[1]
    folder = manifest.folder(run, "system")
    lent = looked_at.model_copy(update={"run_id": "run1", "kept_under": "other"})
    asking = manifest.model_copy(update={"again": {"run1": Retrain.of(lent, "other code")}})
    assert not asking.is_done(run, folder)
    assert recorded(manifest, 1).attempt == lent.attempt
    assert asking.is_done(run, folder), "the record that was looked at is another suite's"


def test_runs_that_a_rule_names_are_launched_with_those_that_are_open(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, 4)
    for seed in range(3):
        recorded(manifest, seed, "failed" if seed == 2 else "ok")

    folders = {run.run_id: manifest.folder(run, "system") for run in manifest.runs}
    by_other_code = folders["run0"].path / "result.json"
    by_other_code.write_text(json.dumps({**json.loads(by_other_code.read_text()), "code": "0123456789ab"}))
    assert KnownRuns.of(manifest, "system").by_other_code == {"run0": Retrain(1, "other code")}
    script = """
(manifest.output / "seen").write_text(json.dumps([run.run_id for run in manifest.runs]))
open_now = [run.run_id for run in manifest.runs if not manifest.is_done(run, manifest.folder(run, "system"))]
(manifest.output / "open").write_text(json.dumps(open_now))
heartbeat.run_begins(manifest.runs[0].run_id, manifest.folder(manifest.runs[0], "system"))
fail("failed")
os._exit(1)
"""
    display = Unseen()
    launcher = Scripted(isolate=True, script=script)
    run_suite(manifest, launcher, {"system_id": "system"}, display, renew=True)
    assert "4 runs; 1 is done on this system: skipped" in display.words
    [last] = json.loads((tmp_path / "seen").read_text())
    assert [last] == json.loads((tmp_path / "open").read_text()) == ["run3"], "each in a launch of its own"
    told = "✗ run 0 · seed 0 · failed: planted: not trained again, its earlier record stays"
    assert told in display.words
    result = folders["run0"].result()
    assert result and (result.status, result.attempt) == ("ok", 1), "it came not so far as to replace it"


def test_wrong_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("suite.yaml").write_text("name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}\n")

    def error(*arguments: str, suite: str = "suite.yaml") -> str:
        with pytest.raises(SystemExit) as caught:
            main(["run", suite, *arguments])
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert "--retake" in error("--retake", "-1")
    assert "times of packed runs do not" in error("--retake", "1", "--pack", "2")
    for option in (["--retake", "1"], ["--renew"]):
        told = error(*option, suite="manifest.jsonl")
        assert told.startswith(f"error: {option[0]} trains runs again that are done, and manifest.jsonl is a frozen ")
        assert told.endswith(f"hint: harness run SUITE {' '.join(option)}, with the suite's YAML file\n")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert "hint: harness run suite.yaml --retake 1" in error("--retake", "1")
    assert "hint: harness run suite.yaml --renew" in error("--renew")
    assert not Path("results").exists()
