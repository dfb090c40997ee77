"""A supervisor and its ranks: who is silent, what is said once, and what ends no training. No rank imports torch."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.errors import HarnessError
from harness.launching import ranks
from harness.launching.launch_folder import Heartbeat
from harness.launching.manifest import Manifest
from harness.launching.ranks import WatchedTime
from harness.launching.stop_signals import StopSignals
from harness.records.follow import OpenedRun
from harness.records.result import Cause
from harness.records.store import RunFolder
from tests.house import ROOT
from tests.launching.scripted import supervise
from tests.live.made import planned_run
from tests.processes import wait_for

pytestmark = pytest.mark.launch

# Trains for so many seconds, with a step every tenth of one.
TRAIN = """
def train(seconds):
    for step in range(int(10 * seconds)):
        if stop():
            break
        heartbeat.beat(step)
        time.sleep(0.1)
    report_end(folder, stop.reason)

"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "OBEY_SECONDS", 1.0)
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 1.0)


def test_each_run_has_its_own_time_in_which_a_step_must_come(tmp_path: Path) -> None:
    script = """
begin()
heartbeat.beat(0)
time.sleep(4 if manifest.runs[0].run_id == "run0" else 2)
report_end(folder, "")
"""
    # Three launches, the first for all runs and each later one for those that are left.
    _, results, _ = supervise(tmp_path, script, count=3, timeout_seconds=[1.0, 60.0, 60.0])
    assert [(result.run_id, result.status) for result in results] == [("run0", "timeout")]
    assert results[0].cause and results[0].cause.message.startswith("no step for 1 s")


def test_time_in_which_the_supervisor_did_not_run_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.chain([100.0, 100.2, 100.4, 4000.0, 4000.2], itertools.repeat(4000.2))
    monkeypatch.setattr(ranks.time, "monotonic", lambda: next(moments))
    watched = WatchedTime()
    assert [round(watched(), 6) for _ in range(4)] == [0.2, 0.4, 1.4, 1.6]
    assert round(watched.woke, 6) == 1.4, "from here on the ranks have all their time again"


SUSPENDED = """
from pathlib import Path
from tests.launching.scripted import supervise
from tests.live.made import planned_run
code, results, _ = supervise(Path({folder!r}), {script!r}, timeout_seconds=2.5)
assert not results, results
"""


@pytest.mark.slow
def test_a_machine_that_was_suspended_has_no_hang(tmp_path: Path) -> None:
    script = TRAIN + "begin(); train(3)"
    code = SUSPENDED.format(folder=str(tmp_path), script=script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    supervisor = psutil.Process(child.pid)
    opened = tmp_path / "suite/run0/system/events.jsonl"
    assert wait_for(opened.exists, 60)
    both = [supervisor, *supervisor.children()]
    assert len(both) == 2
    for process in both:
        process.suspend()
    wait_for(lambda: False, 3.2)
    supervisor.resume()
    wait_for(lambda: False, 0.3)  # the rank comes back a little later
    both[1].resume()
    _, words = child.communicate(timeout=60)
    assert child.returncode == 0, words


def test_where_the_folder_is_deleted_the_ranks_save_and_stop(tmp_path: Path) -> None:
    script = f"{TRAIN}\nimport shutil\nbegin(); shutil.rmtree(folder)\nheartbeat.write()\n"
    script += "try:\n    train(20)\nexcept FileNotFoundError:\n    (manifest.output / 'saved').write_text(stop.reason)"
    code, results, words = supervise(tmp_path, script)
    assert (code, results, (tmp_path / "saved").read_text()) == (75, [], "SIGTERM")
    assert words.count("the folder of the launch was deleted: saving") == 1
    assert words.count("the same command goes on from here") == 1


def test_where_no_folder_can_be_made_that_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = tmp_path / "temporary"
    parent.touch()
    monkeypatch.setattr("tempfile.tempdir", str(parent))
    for packed in (1, 2):
        with pytest.raises(HarnessError, match=r"cannot make a folder for the launch: Not a directory: .*/temporary"):
            supervise(tmp_path, "", packed=packed)


@pytest.mark.parametrize("spoil", ["full disk", "deleted folder"])
def test_a_heartbeat_that_cannot_be_written_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    folder = tmp_path / "launch"
    if spoil == "full disk":
        folder.mkdir()
        (folder / "rank-0.json").symlink_to("/dev/full")
    heartbeat = Heartbeat(folder, 0)
    heartbeat.beat("import")
    for _ in range(3):
        heartbeat.write()
    why = "No space left on device" if spoil == "full disk" else "No such file or directory"
    said = f"rank 0: cannot write to the folder of the launch, {folder}: {why}; training goes on\n"
    assert capsys.readouterr().err == said


ORDERS_SPOILT = (
    TRAIN
    + """
begin()
(folder / "orders.json").unlink()
(folder / "orders.json").mkdir()  # nothing can be written in its place
"""
)


def test_ranks_that_cannot_be_asked_are_not_called_hung(tmp_path: Path) -> None:
    _, results, _ = supervise(tmp_path, f"{ORDERS_SPOILT}\ntime.sleep(5); train(0)", timeout_seconds=2.0)
    assert not results


def test_ranks_to_whom_no_order_can_be_written_are_told_by_a_signal(tmp_path: Path) -> None:
    script = f"{ORDERS_SPOILT}\nos.kill(os.getppid(), signal.SIGTERM); train(20)\nassert stop.reason == 'SIGTERM'"
    code, results, _ = supervise(tmp_path, f"import signal\n{script}")
    assert (code, results) == (75, [])


@pytest.mark.parametrize("to", ["supervisor", "rank"])
def test_sighup_saves_and_stops(tmp_path: Path, to: str) -> None:
    process = "os.getppid()" if to == "supervisor" else "os.getpid()"
    script = f"import signal\n{TRAIN}\nbegin(); os.kill({process}, signal.SIGHUP); train(20)\n"
    script += "(manifest.output / 'saved').write_text(stop.reason)"
    code, results, _ = supervise(tmp_path, script)
    assert (code, results, (tmp_path / "saved").read_text()) == (75, [], "SIGHUP")


def test_with_nohup_a_closed_terminal_stops_nothing() -> None:
    def ignored() -> bool:
        return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals(print) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert ignored() and not stop.reason
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.fixture
def rank_of(tmp_path: Path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Starts a rank of the launch in a folder, with which it ends before it trains."""

    def start(folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_LAUNCH": str(folder)}
        command = [sys.executable, str(ROOT / "harness/worker.py"), str(folder)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return start


def test_a_rank_whose_launch_folder_is_gone_says_so(
    tmp_path: Path, rank_of: Callable[[Path], subprocess.CompletedProcess[str]]
) -> None:
    done = rank_of(tmp_path / "gone")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot read {tmp_path / 'gone'}/manifest.jsonl: No such file")
    assert "Traceback" not in done.stderr


def test_a_rank_is_heard_while_its_main_thread_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1.0

    class Clock:
        woke = 0.0

        def __call__(self) -> float:
            return now

    monkeypatch.setattr(ranks, "WatchedTime", Clock)
    run = planned_run("r0", "a", timeout_seconds=10, num_processes=2)
    watched = ranks.Ranks(tmp_path, Manifest(suite="s", output=tmp_path, runs=(run,)))
    watched.opened = OpenedRun("r0", RunFolder(tmp_path / "run"))
    heartbeats = [Heartbeat(tmp_path, rank) for rank in range(2)]

    def hang_at(moment: float, *heard: int) -> Cause | None:
        nonlocal now
        now = moment
        for rank in heard:
            heartbeats[rank].write()
        return watched.hang()

    for heartbeat in heartbeats:
        heartbeat.beat(4)
    assert not hang_at(2.0, 0, 1)
    heartbeats[0].has_read(1)  # a sign of life
    assert not hang_at(9.0, 0, 1)
    (tmp_path / "rank-0.json").write_text("")  # it is just being written
    assert not hang_at(18.0, 1)
    hang = hang_at(19.5, 0)
    assert hang and "rank 0 is stuck in write (harness/launching/launch_folder.py" in hang.message
    assert "after step 5; rank 1" in hang.message
    hang = hang_at(30.0, 0)
    assert hang and "rank 1 does not answer" in hang.message
