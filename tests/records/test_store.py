"""The folder of a run, and all results of a suite."""

import json
from typing import get_args

import pytest

from harness.records.events import since_last_start
from harness.records.read import read_suite
from harness.records.result import RunResult, Status
from harness.records.store import run_folder
from tests.records.test_result import DATA


def finished(root, run_id="r", system_id="m", status="ok", **changes) -> RunResult:
    folder = run_folder(root, "s", run_id, system_id)
    values = {
        "suite": "s",
        "label": "a",
        "run_id": run_id,
        "config_id": "c",
        "system_id": system_id,
        "seed": 0,
        "status": status,
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "ended_at": "2026-01-01T00:00:01.000+00:00",
        "num_processes": 1,
        "spec": {},
        "data": DATA,
    }
    attempt = folder.start({"spec": 1}, {"system_id": system_id, "name": f"machine {system_id}"})
    written = RunResult.model_validate({**values, "attempt": attempt.number, **changes})
    folder.finish(written)
    return written


def test_the_files_of_a_run(tmp_path):
    written = finished(tmp_path)
    folder = run_folder(tmp_path, "s", "r", "m")
    assert {path.name for path in (tmp_path / "s" / "r" / "m").iterdir()} == {
        "spec.json", "system.json", "events.jsonl", "result.json"
    }  # fmt: skip
    assert folder.result() == written
    assert [event["event"] for event in folder.events()] == ["run_started", "run_ended"]
    assert folder.events()[-1]["status"] == "ok" and folder.events()[0]["at"].endswith("+00:00")


def test_attempts_are_counted_and_a_new_one_takes_the_old_result_away(tmp_path):
    folder = run_folder(tmp_path, "s", "r", "m")
    assert folder.events() == since_last_start(folder.events()) == [] and not folder.is_done()
    assert finished(tmp_path, status="failed").attempt == 1
    assert folder.start({}, {}).number == 2
    assert folder.result() is None and not folder.is_done()
    folder.event("epoch", epoch=0)
    assert folder.start({}, {}).number == 3
    folder.event("epoch", epoch=1)
    assert [(event["event"], event.get("epoch")) for event in since_last_start(folder.events())] == [
        ("run_started", None), ("epoch", 1)
    ]  # fmt: skip
    assert len(folder.events()) == 6  # two, two, two: nothing is lost


def test_a_run_is_as_packed_as_the_most_packed_of_its_parts(tmp_path):
    folder = run_folder(tmp_path, "s", "r", "m")
    assert folder.start({}, {}, packed=4).packed == 4
    assert folder.start({}, {}, packed=2).packed == 2, "begun anew: nothing of the earlier one is left"
    assert folder.start({}, {}, resumed_at_step=3).packed == 2
    assert folder.start({}, {}).packed == 1


def test_a_torn_event_does_not_hide_the_others(tmp_path):
    folder = run_folder(tmp_path, "s", "r", "m")
    folder.start({}, {})
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "epo')
    assert folder.start({}, {}).number == 2
    assert len(since_last_start(folder.events())) == 1


@pytest.mark.parametrize("status", get_args(Status))
def test_a_run_is_done_where_another_try_would_end_the_same(tmp_path, status):
    finished(tmp_path, status=status)
    assert run_folder(tmp_path, "s", "r", "m").is_done() is (status in {"ok", "diverged"})


BAD = {
    "torn": (b'{"schema_version": 1, "sui', "not a whole JSON object"),
    "empty": (b"", "not a whole JSON object"),
    "list": (b"[]", "not a whole JSON object"),
    "later": (b'{"schema_version": 99}', "schema version 99; this harness reads 1"),
    "unversioned": (b"{}", "schema version None; this harness reads 1"),
    "lacking": (b'{"schema_version": 1, "suite": "s"}', "label: Field required"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_record_that_cannot_be_read_is_reported_and_the_run_is_open(tmp_path, case):
    good = finished(tmp_path, "a")
    finished(tmp_path, "b")
    content, reason = BAD[case]
    path = tmp_path / "s" / "b" / "m" / "result.json"
    path.write_bytes(content)
    found = read_suite(tmp_path, "s")
    assert found.results == [good] and list(found.unreadable) == [path]
    assert reason in found.unreadable[path] and "\n" not in found.unreadable[path]
    assert not run_folder(tmp_path, "s", "b", "m").is_done()


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_result_without_its_system_is_reported(tmp_path, content):
    finished(tmp_path, "a")
    path = tmp_path / "s" / "a" / "m" / "system.json"
    path.unlink() if content is None else path.write_bytes(content)
    found = read_suite(tmp_path, "s")
    assert found.results == [] and list(found.unreadable) == [path.with_name("result.json")]


def test_results_of_all_systems_in_the_order_of_their_folders(tmp_path):
    written = [finished(tmp_path, run, system) for run in ("a", "b") for system in ("m", "n")]
    finished(tmp_path / "other", "x")
    run_folder(tmp_path, "s", "c", "m").start({}, {})  # still running
    found = read_suite(tmp_path, "s")
    assert found.results == written and found.unreadable == {}
    assert found.systems == {name: {"system_id": name, "name": f"machine {name}"} for name in ("m", "n")}


def test_a_suite_that_was_never_run(tmp_path):
    found = read_suite(tmp_path, "never")
    assert (found.results, found.systems, found.unreadable) == ([], {}, {})


def test_what_is_written_is_json_on_disk(tmp_path):
    finished(tmp_path)
    folder = tmp_path / "s" / "r" / "m"
    assert json.loads((folder / "spec.json").read_text()) == {"spec": 1}
    assert json.loads((folder / "result.json").read_text())["status"] == "ok"


def left(folder):
    """Returns the files of a run's folder, but for its events."""
    paths = (path for path in folder.path.rglob("*") if path.is_file() and path.name != "events.jsonl")
    return {path.relative_to(folder.path).as_posix(): path.read_bytes() for path in paths}


def with_all(root):
    """Returns the folder of a run that left all there is, and its files."""
    result = finished(root)
    folder = run_folder(root, "s", "r", "m")
    for name in ("predictions.npz", "losses.npz", "checkpoints/final.safetensors", "pictures/curves.png"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_bytes(name.encode())
    for name in ("claims/1.json", "trackers/wandb.json", "live/rank-0.json"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_bytes(name.encode())
    return result, folder, left(folder)


STAY = {"claims/1.json", "trackers/wandb.json", "live/rank-0.json"}


def test_a_record_that_is_set_aside_is_kept_whole_and_the_run_is_open(tmp_path):
    result, folder, before = with_all(tmp_path)
    events = (folder.path / "events.jsonl").read_bytes()
    folder.set_aside(result, "disturbed")
    assert not folder.is_done() and read_suite(tmp_path, "s").results == []
    kept = {f"replaced/1/{name}": content for name, content in before.items() if name not in STAY}
    assert left(folder) == {**kept, **{name: before[name] for name in STAY}}
    assert (folder.path / "replaced/1/events.jsonl").read_bytes() == events
    again = finished(tmp_path, replaced=1)
    assert again.attempt == 2 and read_suite(tmp_path, "s").results == [again]
    folder.set_aside(again, "disturbed")
    assert {path.name for path in (folder.path / "replaced").iterdir()} == {"1", "2"}
    assert left(folder)["replaced/1/predictions.npz"] == b"predictions.npz", "the first is as it was"
    assert folder.times_set_aside("disturbed") == 2 and folder.times_set_aside("other code") == 0


@pytest.mark.parametrize("step", ["link", "rename", "event", "unlink", "rmtree"])
def test_a_crash_while_a_record_is_set_aside_loses_nothing(tmp_path, monkeypatch, step):
    result, folder, before = with_all(tmp_path)

    class Crash(BaseException):
        pass

    def crash(*_, **__):
        raise Crash

    with monkeypatch.context() as patched, pytest.raises(Crash):
        where = {"link": "os.link", "rename": "pathlib.Path.rename", "rmtree": "shutil.rmtree"}.get(step)
        if step == "event":
            patched.setattr(type(folder), "event", crash)
        elif step == "unlink":
            patched.setattr("pathlib.Path.unlink", crash)
        else:
            patched.setattr(where, crash)
        folder.set_aside(result, "disturbed")
    now = left(folder)
    if folder.is_done():  # the record is where it was, with all that belongs to it
        assert {name: now[name] for name in before} == before
        folder.set_aside(result, "disturbed")
    assert not folder.is_done() and folder.times_set_aside("disturbed") == 1
    kept = {name: content for name, content in before.items() if name not in STAY}
    assert {name: left(folder)[f"replaced/1/{name}"] for name in kept} == kept
    assert {path.name for path in (folder.path / "replaced").iterdir()} == {"1"}


def test_on_a_disk_without_links_a_record_is_copied(tmp_path, monkeypatch):
    result, folder, before = with_all(tmp_path)

    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    folder.set_aside(result, "disturbed")
    assert left(folder)["replaced/1/predictions.npz"] == before["predictions.npz"]


def test_a_run_that_other_code_took_up_again_is_of_both(tmp_path) -> None:
    folder = run_folder(tmp_path, "s", "r", "m")
    assert folder.start({}, {}, code="one").code == "one"
    assert folder.start({}, {}, code="one", resumed_at_step=3).code == "one"
    assert folder.start({}, {}, code="two", resumed_at_step=9).code == "one+two"
    assert folder.start({}, {}, resumed_at_step=12).code is None, "of one part it is not known"
    assert folder.start({}, {}, code="two").code == "two", "it began anew"


def test_a_run_that_was_taken_up_in_another_environment_is_of_both(tmp_path) -> None:
    folder = run_folder(tmp_path, "s", "r", "m")
    one, more = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2", "LD_PRELOAD": "x.so"}
    assert folder.start({}, {}, environment={}).environment == {}
    assert folder.start({}, {}, environment=one).environment == one, "it began anew"
    assert folder.start({}, {}, environment=one, resumed_at_step=3).environment == one
    both = {"OMP_NUM_THREADS": "1+2", "LD_PRELOAD": "unset+x.so"}
    assert folder.start({}, {}, environment=more, resumed_at_step=9).environment == both
    assert folder.start({}, {}, resumed_at_step=12).environment is None, "of one part it is not known"
