"""Lines where there is no terminal, the block where there is one, and what travels from the ranks to both."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.app import stderr
from harness.live import view as live_view
from harness.live.events import Note
from harness.live.messages import Launched, Messenger, leave_file, read_files, remove_file
from harness.live.state import SuiteState
from harness.live.view import TerminalView, View, can_draw, view_for
from harness.streams import guard_streams
from tests.live.made import ended, epoch, going_on, planned, seen, started


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
    view = view_for(Console(file=out, width=40), SuiteState("s", planned(2)))
    assert type(view) is View
    view.tell(started("r0"))
    view.tell(seen("r0", 5))
    view.note("a [bold]note[/] that is longer than forty columns of a terminal")
    view.tell(ended("r0", accuracy=0.931))
    view.tell(ended("r1", "failed"))
    assert out.getvalue().splitlines() == [
        "a [bold]note[/] that is longer than forty columns of a terminal",
        "1/2  ✓ r0 · test accuracy 93.10% · train 10.00 s",
        "2/2  ✗ r1 · failed: planted",
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
    view = view_for(Console(file=out, width=80, height=12), going_on(), every_seconds=0.01)
    assert isinstance(view, TerminalView)
    view.start()
    view.tell(Note("goes on from step 7"))
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
        view = view_for(stderr(), going_on())
        view.start()
        view.note("x")
        view.tell(ended("r3"))
        view.close()
    assert tried and "x\n" in file.getvalue()


def test_messages_of_a_launch(tmp_path: Path) -> None:
    rank0, launched = Messenger(tmp_path), Launched(tmp_path)
    assert list(launched.news()) == []
    rank0.tell(started("r0"))
    rank0.note("n")
    assert list(launched.news()) == [started("r0"), Note("n")]
    with (tmp_path / "live.jsonl").open("a") as file:
        file.write('{"kind": "Note", "te')
    assert list(launched.news()) == [], "a line that is still being written"
    with (tmp_path / "live.jsonl").open("a") as file:
        file.write('xt": "later"}\n{"kind": "of another version"}\nnonsense\n')
    assert list(launched.news()) == [Note("later")]
    beat = {"run_id": "r0", "at": 6, "gauges": {"gpu_utilization": 0.5}}
    (tmp_path / "rank-1.json").write_text(json.dumps(beat))
    [rank] = launched.news()
    assert (rank.rank, rank.step, rank.gpu_utilization) == (1, 7, 0.5)  # type: ignore[union-attr]
    assert list(launched.news()) == [], "as before"


def test_a_view_follows_a_launch_until_it_ends(tmp_path: Path) -> None:
    out = io.StringIO()
    view = View(Console(file=out), SuiteState("s", planned(3)))
    view.follow(tmp_path)
    rank0 = Messenger(tmp_path)
    rank0.tell(started("r0"))
    rank0.tell(ended("r0"))
    rank0.tell(started("r1"))
    view.leave(tmp_path)
    assert out.getvalue().startswith("1/3  ✓ r0")
    assert view.state.counts() == {"done": 1, "running": 0, "open": 2}, "r1 died with its launch"


def test_a_view_follows_several_launches_and_forgets_the_runs_of_the_one_that_ends(tmp_path: Path) -> None:
    view = View(Console(file=io.StringIO()), SuiteState("s", planned(3)))
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        view.follow(folder)
        Messenger(folder).tell(started(f"r{number}"))
    view._look()
    assert set(view.state.current) == {"r0", "r1"}
    view.leave(tmp_path / "0")
    assert set(view.state.current) == {"r1"}


def test_files_in_the_folder_of_a_run(tmp_path: Path) -> None:
    assert list(read_files(tmp_path)) == []
    for rank in (0, 1):
        leave_file(tmp_path, seen("r0", 5, rank=rank, gpu=True), started("r0"))
    assert list(read_files(tmp_path)) == [
        started("r0"), seen("r0", 5, gpu=True), started("r0"), seen("r0", 5, rank=1, gpu=True)
    ]  # fmt: skip
    (tmp_path / "live" / "rank-1.json").write_text("[{")
    assert len(list(read_files(tmp_path))) == 2
    remove_file(tmp_path, 0)
    remove_file(tmp_path, 1)
    assert not list(tmp_path.iterdir())
    leave_file(tmp_path / "no folder", seen("r0", 5), started("r0"))


def test_messages_that_cannot_be_written_stop_nobody(tmp_path: Path) -> None:
    Messenger(tmp_path / "gone").tell(epoch("r0", 1))
    assert not list(tmp_path.iterdir())
