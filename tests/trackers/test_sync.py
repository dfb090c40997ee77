"""What a server has after `harness wandb sync`, by W&B's own client: all of it, once, whatever went wrong before."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.result import Cause
from harness.records.store import RunFolder
from harness.trackers.account import read_sent
from harness.trackers.entries import read_entries
from harness.trackers.mirror import RunMirror
from harness.trackers.options import Tracking
from harness.trackers.sync import Synced, sync
from harness.trackers.weights_and_biases import WandbRun
from tests.trackers import records
from tests.trackers.server import ENTITY, Server

pytestmark = pytest.mark.launch  # the client is a process
PATIENT = Tracking(("wandb",), entity=ENTITY, project="p", patience_seconds=60)


def bring_up(root: Path, tracking: Tracking = PATIENT) -> Synced:
    return sync(root / "made", tracking, lambda name: None)


def test_all_of_a_run_is_there_and_only_once(tmp_path: Path, server: Server) -> None:
    folder = records.whole(tmp_path)
    assert bring_up(tmp_path).text() == f"1 run brought up to {server.url}, {ENTITY}/p"
    run, entries = server.only_run(), read_entries(folder)
    assert entries and entries.ending
    assert run.name == entries.id and run.exit_code == 0
    rows = run.history
    assert [row["_step"] for row in rows] == [1, 2, 3]
    for number, row in enumerate(rows, 1):
        expected = {name: value for name, value in entries.rows[number].items() if name != "timestamp"}
        assert {name: row[name] for name in expected} == expected
        assert row["_timestamp"] == pytest.approx(entries.rows[number]["timestamp"])
    summary = run.summary
    assert {name: summary[name] for name in entries.ending} == entries.ending
    assert run.fields["groupName"] == entries.group and run.fields["jobType"] == "made"
    assert run.config["model"] == entries.config["model"]
    assert run.fields["program"] == "harness" and "host" not in run.fields and "repo" not in run.fields

    asked = len(server.requests)
    assert bring_up(tmp_path) == Synced(0, 1, 0)
    assert len(server.requests) == asked, "a second call asks nothing"


def test_a_run_that_has_changed_is_continued(tmp_path: Path, server: Server) -> None:
    folder = records.begin(tmp_path)
    records.epoch_event(folder, 0)
    records.end(tmp_path, status="preempted", cause=Cause(kind="SIGTERM", message="stopped"))
    assert bring_up(tmp_path).brought == 1
    assert server.only_run().exit_code == 75
    records.begin(tmp_path, resumed_at_step=12)
    records.epoch_event(folder, 1)
    records.epoch_event(folder, 2)
    records.end(tmp_path)
    assert bring_up(tmp_path).brought == 1
    run = server.only_run()
    assert (run.sessions, run.exit_code) == (2, 0)
    assert [(row["_step"], row["epoch"]) for row in run.history] == [(1, 1), (2, 2), (3, 3)]
    assert run.history[2]["train_seconds"] == run.summary["clock/train_seconds"]


def test_a_run_that_began_anew_is_another_there(tmp_path: Path, server: Server) -> None:
    folder = records.begin(tmp_path)
    records.epoch_event(folder, 0, seconds=5.0)
    records.end(tmp_path, status="failed", cause=Cause(kind="ValueError", message="x"))
    assert bring_up(tmp_path).brought == 1
    records.whole(tmp_path)
    assert bring_up(tmp_path).brought == 1
    first, second = server.runs.values()
    assert second.name == f"{first.name}-1" and (first.exit_code, second.exit_code) == (1, 0)
    assert [row["_step"] for row in second.history] == [1, 2, 3]


def test_a_run_that_is_being_done_is_left_alone(tmp_path: Path, server: Server) -> None:
    from harness.records.claims import claim

    folder = records.whole(tmp_path)
    own = claim(folder.path)
    assert own
    with own:
        assert bring_up(tmp_path) == Synced(0, 0, 1)
    assert not server.requests


def test_another_project_is_another_place(tmp_path: Path, server: Server) -> None:
    records.whole(tmp_path)
    assert bring_up(tmp_path).brought == 1
    assert bring_up(tmp_path, Tracking(("wandb",), entity=ENTITY, project="q", patience_seconds=60)).brought == 1
    assert set(server.runs) == {
        f"{ENTITY}/{project}/{run.name}" for project, run in zip("pq", server.runs.values(), strict=True)
    }


FAULTS = [
    ("500", "does not answer as it should ("),
    ("reset", "does not answer as it should ("),
    ("stall", "does not answer as it should (time"),
    ("401", "refuses the key"),
    ("403", f"does not let this account write to {ENTITY}/p"),
    ("unknown_entity", f"knows no {ENTITY}/p"),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the client's, when it is ended
@pytest.mark.parametrize(("fault", "sentence"), FAULTS)
@pytest.mark.parametrize(
    "after", [pytest.param(0, id="at once"), pytest.param(2, id="in the middle", marks=pytest.mark.slow)]
)
def test_a_server_that_fails_costs_one_sentence(
    tmp_path: Path, server: Server, fault: str, sentence: str, after: int
) -> None:
    if fault == "unknown_entity" and after:
        pytest.skip("an entity is known or not")
    patience = 1 if fault in ("500", "reset", "stall") else 20  # the others are told at once
    folder = records.whole(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    server.fail(fault, after)
    with pytest.raises(HarnessError) as caught:
        bring_up(tmp_path, Tracking(("wandb",), entity=ENTITY, project="p", patience_seconds=patience))
    assert "\n" not in caught.value.message and caught.value.hint
    if not after:
        assert sentence in caught.value.message
    assert not read_sent(folder), "what the server did not answer to have is not taken for there"
    assert {path: path.read_bytes() for path in before} == before, "nothing local is lost"

    server.fail("")
    assert bring_up(tmp_path).brought == 1
    run = server.only_run()
    assert [row["_step"] for row in run.history] == [1, 2, 3] and run.exit_code == 0
    assert bring_up(tmp_path) == Synced(0, 1, 0)


def test_what_was_sent_before_a_failure_is_remembered(tmp_path: Path, server: Server) -> None:
    folders = [records.whole(tmp_path, records.planned(seed=seed)) for seed in range(2)]
    records.whole(tmp_path, records.planned(seed=2))
    tracking = Tracking(("wandb",), entity=ENTITY, project="p", patience_seconds=2)

    def after_two(name: str) -> None:
        if sum(bool(read_sent(folder)) for folder in folders) == 2:
            server.fail("500")

    with pytest.raises(HarnessError, match="does not answer") as caught:
        sync(tmp_path / "made", tracking, after_two)
    assert "brought up: 2 of 3 runs" in caught.value.hint
    server.fail("")
    assert bring_up(tmp_path) == Synced(1, 2, 0, f"{server.url}, {ENTITY}/p")


def test_only_one_process_tells_of_a_run(tmp_path: Path, server: Server) -> None:
    from harness.records.claims import claim

    folder = records.whole(tmp_path)
    own = claim(folder.path / "trackers")
    assert own
    with own, pytest.raises(HarnessError, match="is being sent by host"):
        bring_up(tmp_path)
    assert not server.requests


@pytest.mark.parametrize("resumed", [False, True])
def test_live_and_at_once_are_the_same(tmp_path: Path, server: Server, resumed: bool) -> None:
    """Followed while it grows, a run comes to the same rows and summary as told at the end."""
    folder = records.begin(tmp_path)

    def replay(folder: RunFolder) -> RunMirror:
        return RunMirror(folder, lambda entries, run: WandbRun(entries, run, PATIENT))

    live = replay(folder)
    for epoch in range(3):
        records.epoch_event(folder, epoch)
        live.advance()
        if epoch == 1 and resumed:
            live.advance(to_the_end=True)
            records.begin(tmp_path, resumed_at_step=24)
            live = replay(folder)
    records.end(tmp_path)
    live.advance()
    assert live.ended
    own = server.only_run()
    rows, summary = own.history, own.summary
    server.runs.clear()
    (folder.path / "trackers/wandb.json").unlink()
    bring_up(tmp_path)
    again = server.only_run()
    assert again.name == own.name
    times = {"_runtime", "_timestamp", "_wandb"}

    def plain(row: dict) -> dict:
        return {name: value for name, value in row.items() if name not in times}

    assert list(map(plain, again.history)) == list(map(plain, rows))
    assert plain(again.summary) == plain(summary)


def test_no_runs_and_no_key(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match="has no runs"):
        bring_up(tmp_path)
    records.whole(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HarnessError, match="no key is found"):
        bring_up(tmp_path)
    assert not server.requests
