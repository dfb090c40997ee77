"""Lines where there is no terminal, the block where there is one, and what travels from the ranks to both."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.cli.app import stderr
from harness.launching.launch_folder import Heartbeat
from harness.live import view as live_view
from harness.live.current_run import EpochSeen
from harness.live.follow import LiveRun, Watched
from harness.live.state import SuiteState
from harness.live.view import View, can_draw
from harness.records.claims import claim
from harness.records.follow import OpenedRun
from harness.records.store import RunFolder, run_folder
from harness.streams import guard_streams
from tests.live.made import ended, going_on, planned, see, start
from tests.report.conftest import make_result
from tests.trackers import records


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_it_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert can_draw(Console(file=Terminal()))
    assert not can_draw(Console(file=io.StringIO()))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not can_draw(Console(file=io.StringIO())), "a log is no terminal, whatever its colours"
    monkeypatch.setenv("TERM", "dumb")
    assert not can_draw(Console(file=Terminal()))


def test_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    view = View(Console(file=out, width=40), SuiteState("s", planned(2)))
    assert not view.holds_terminal
    start(view.state, "r0")
    see(view.state, "r0", 5)
    view.note("a [bold]note[/] that is longer than forty columns of a terminal")
    view.tell(ended("r0", accuracy=0.931))
    view.tell(ended("r1", "failed"))
    assert out.getvalue().splitlines() == [
        "a [bold]note[/] that is longer than forty columns of a terminal",
        "1/2  ✓ resnet18 width=0 · seed 0 · test accuracy 93.10% · train 10.00 s",
        "2/2  ✗ resnet18 width=1 · seed 0 · failed: planted",
    ]


def test_a_long_run_says_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    view = View(Console(file=out, width=200), going_on())
    view._refresh()
    assert not out.getvalue(), "too early"
    monkeypatch.setattr(live_view, "LINE_EVERY_SECONDS", 0.0)
    view._refresh()
    assert out.getvalue() == (
        "… resnet18 width=0 · seed 1 · epoch 3/10 · loss 0.5 · test 70.00% · 250 samples/s · about 15 s left · "
        "suite about 2 min\n"
    )


def test_a_block_on_a_terminal_and_lines_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Terminal()
    view = View(Console(file=out, width=80, height=12), going_on(), every_seconds=0.01)
    assert view.holds_terminal
    view.start()
    view.note("goes on from step 7")
    view.close()
    text = out.getvalue()
    assert text.startswith("\x1b[?25l") and text.rstrip().endswith("\x1b[?25h"), "the cursor is given back"
    assert text.index("goes on from step 7") > text.index("3 of 6 done")
    assert text.count("3 of 6 done") >= 2, "drawn again under the note"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), BrokenPipeError(), ValueError("closed")])
def test_a_terminal_that_goes_away_stops_nobody(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    tried: list[str] = []

    class Gone(Terminal):
        def write(self, text: str) -> int:
            tried.append(text)
            raise error

    monkeypatch.setenv("TERM", "xterm-256color")
    for file in (Gone(), io.StringIO()):
        monkeypatch.setattr("sys.stdout", io.StringIO())
        monkeypatch.setattr("sys.stderr", file)
        guard_streams()
        view = View(stderr(), going_on())
        view.start()
        view.note("x")
        view.tell(ended("r3"))
        view.close()
    assert tried and "x\n" in file.getvalue()


def open_run(folder: RunFolder, **more: Any) -> None:
    """Opens a run as its process does."""
    folder.start({}, {}, steps=40, epochs=4, samples_per_epoch=100, **more)


def add_epoch(folder: RunFolder, epoch: int) -> None:
    metrics = {"train": {"loss": 0.5}, "test": {"accuracy": 0.7}}
    folder.event("epoch", epoch=epoch, train_seconds=4.0, wait_seconds=1.0, metrics=metrics)


def end_run(folder: RunFolder, **more: Any) -> None:
    folder.finish(make_result(run_id=folder.path.parent.name, system_id=folder.path.name, suite="s", **more))


def test_a_run_is_followed_by_its_records(tmp_path: Path) -> None:
    folder, state = run_folder(tmp_path, "s", "r0", "here"), SuiteState("s", planned(3))
    opened = OpenedRun("r0", RunFolder(folder.path))
    run = LiveRun(opened, state)
    assert not list(run.look()) and not state.current
    open_run(folder)
    add_epoch(folder, 0)
    assert not list(run.look())
    seen = state.current["r0"]
    assert (seen.name, seen.steps, seen.samples_per_epoch) == ("resnet18 width=0 · seed 0", 40, 100)
    assert seen.epoch == EpochSeen(1, 0.5, 0.7, 4.0, 1.0)
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"event": "of another version"}\n{"event":"epoch","epoch":7}\nnonsense\n[]\n')
    add_epoch(folder, 1)
    assert not list(run.look()) and seen.epoch and seen.epoch.number == 2
    heartbeat = Heartbeat(None, 1)
    heartbeat.run_begins("r0", folder)
    heartbeat.beat(6)
    heartbeat.sample({"gpu_utilization": 0.5})
    (folder.path / "live/rank-0.json").write_text("{")
    assert not list(run.look()) and list(seen.ranks) == [1]
    rank = seen.ranks[1]
    assert (rank.step, rank.gpu_utilization) == (7, 0.5)
    assert not list(run.look()) and seen.ranks[1] is rank, "as before"
    folder.event("run_ended", status="ok")
    assert not list(run.look()) and not run.has_ended, "the result is not written yet"
    end_run(folder)
    [end] = run.look()
    assert end.status == "ok" and run.has_ended and not list(run.look())
    assert not list(LiveRun(replace(opened, events_bytes=folder.events_bytes()), state).look()), "an earlier attempt's"


def test_a_view_takes_the_runs_of_a_launch(tmp_path: Path) -> None:
    launch, folders = tmp_path, [run_folder(tmp_path / "results", "s", f"r{number}", "here") for number in range(3)]
    out = io.StringIO()
    view = View(Console(file=out), SuiteState("s", planned(3)))
    state, opened = view.state, [OpenedRun(folder.path.parent.name, folder) for folder in folders]
    view.take_run(opened[0], launch)
    open_run(folders[0])
    view.take_run(replace(opened[0], stage="opened"), launch)
    end_run(folders[0])
    for _ in range(2):
        view.take_run(replace(opened[0], stage="ended"), launch)
    assert out.getvalue().startswith("1/3  ✓ resnet18 width=0 · seed 0") and out.getvalue().count("\n") == 1
    view.take_run(opened[1], launch)  # another process's by the time it is opened
    (launch / "rank-1.json").write_text(json.dumps({"run_id": "r1", "at": "data", "gauges": {}}))
    view._look()
    assert set(state.current) == {"r1"} and state.current["r1"].ranks[1].phase == "data"
    view.take_run(replace(opened[1], stage="ended"), launch)
    assert not state.current
    view.take_run(opened[2], launch)
    open_run(folders[2])
    view._look()
    assert set(state.current) == {"r2"} and not state.current["r2"].ranks, "the heartbeat is of another run"
    (launch / "rank-1.json").write_text(json.dumps({"run_id": "r2", "at": 6, "gauges": {}}))
    view._look()
    assert state.current["r2"].steps == 40 and state.current["r2"].ranks[1].step == 7
    view.leave(launch)
    assert state.counts() == {"done": 1, "running": 0, "open": 2}, "r2 died with its launch"


def test_a_view_shows_several_launches_and_forgets_the_runs_of_the_one_that_ends(tmp_path: Path) -> None:
    view = View(Console(file=io.StringIO()), SuiteState("s", planned(3)))
    for number in range(2):
        folder = run_folder(tmp_path / "results", "s", f"r{number}", "here")
        view.take_run(OpenedRun(f"r{number}", folder), tmp_path / str(number))
        open_run(folder)
    view._look()
    assert set(view.state.current) == {"r0", "r1"}
    view.leave(tmp_path / "0")
    assert set(view.state.current) == {"r1"}


def test_a_run_of_this_process_is_shown_until_it_is_left(tmp_path: Path) -> None:
    out = io.StringIO()
    view = View(Console(file=out), SuiteState("s", planned(3)))
    heartbeat = Heartbeat(None, 0)
    heartbeat.on_run = view.take_run
    for number, status in enumerate(("ok", "")):
        folder = run_folder(tmp_path, "s", f"r{number}", "here")
        heartbeat.run_begins(f"r{number}", folder)
        open_run(folder)
        heartbeat.run_opened()
        view._look()
        assert set(view.state.current) == {f"r{number}"}
        if status:
            end_run(folder)
        heartbeat.run_ended()
        assert not view.state.current
    assert out.getvalue().startswith("1/3  ✓ resnet18 width=0 · seed 0") and out.getvalue().count("\n") == 1


def test_heartbeats_that_cannot_be_written_stop_nobody(tmp_path: Path) -> None:
    heartbeat = Heartbeat(None, 0)
    heartbeat.run_begins("r0", RunFolder(tmp_path / "gone"))
    heartbeat.sample({})
    heartbeat.run_ended()
    assert not list(tmp_path.iterdir())


def test_a_run_that_goes_on_elsewhere_is_shown_while_it_has_an_owner(tmp_path: Path) -> None:
    run = records.planned()
    folder = run_folder(tmp_path, "made", run.run_id, "there")
    plan: Any = SimpleNamespace(suite=SimpleNamespace(name="made"), runs=[run], race=None)
    watched = Watched(plan, tmp_path)
    for _ in range(2):  # its owner leaves it, and comes back before it goes on
        held = claim(folder.path)
        assert held
        if not folder.events():
            open_run(folder)
        [state] = watched.look()
        assert state.current[run.run_id].steps == 40
        held.release()
        assert not watched.look()[0].current
    end_run(folder)
    [state] = watched.look()
    assert set(state.ended) == {run.run_id} and not state.current


def test_watch_goes_on_between_two_runs_and_ends_when_none_is_open(tmp_path: Path) -> None:
    first, second = (records.planned(seed=seed) for seed in range(2))
    plan: Any = SimpleNamespace(suite=SimpleNamespace(name="made"), runs=[first, second], race=None)
    open_run(folder := run_folder(tmp_path, "made", first.run_id, "there"))
    end_run(folder)
    watched = Watched(plan, tmp_path)
    [state] = watched.look()
    assert state.counts()["open"] == 1 and not state.current
    assert watched.goes_on(), "the next one may be about to begin"
    watched.look()
    assert watched.goes_on()
    watched.look()
    assert not watched.goes_on(), "none has begun"
    plan.runs = [first]
    watched = Watched(plan, tmp_path)
    watched.look()
    assert not watched.goes_on()
