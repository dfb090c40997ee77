"""What the end of a launch is taken for: launches whose ranks are a few lines that import no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.launching import failure_causes, ranks
from harness.launching.failure_causes import cause_of_failure, cause_of_hang, hint_for
from harness.launching.launch_folder import FOLDER, report_failure
from harness.launching.ranks import end_launch, processes_of
from harness.records.result import Cause
from tests.house import ROOT
from tests.launching.scripted import supervise
from tests.processes import wait_for

pytestmark = pytest.mark.launch

OWN = str(ROOT / "harness/training/loop.py")
TORCH = "/site-packages/torch"


def word(folder: Path, rank: int, kind: str, message: str, status: Any = "failed", trace: str = "") -> None:
    report_failure(folder, rank, status, Cause(kind=kind, message=message, rank=rank, step=3, traceback=trace or None))


def exits(folder: Path, codes: str) -> None:
    (folder / "exits-host-1.json").write_text(codes)


LOST = "[pair.cc:538] Connection closed by peer [127.0.0.1]:1"


def test_the_rank_that_failed_is_blamed_and_not_the_one_that_lost_its_peer(tmp_path: Path) -> None:
    word(tmp_path, 0, "RuntimeError", LOST)
    word(tmp_path, 1, "OutOfMemoryError", "CUDA out of memory", "oom")
    exits(tmp_path, '{"0": 1, "1": 1}')
    status, cause = cause_of_failure(tmp_path, 1, 2)
    assert (status, cause.kind, cause.rank, cause.step) == ("oom", "OutOfMemoryError", 1, 3)


def test_out_of_memory_that_nccl_reports_is_no_lost_peer(tmp_path: Path) -> None:
    word(tmp_path, 0, "DistBackendError", "NCCL error: remote process exited")
    word(tmp_path, 1, "DistBackendError", "NCCL error: Cuda failure 2 'out of memory'", "oom")
    status, cause = cause_of_failure(tmp_path, 1, 2)
    assert (status, cause.rank) == ("oom", 1)


def test_of_two_errors_the_first_is_blamed(tmp_path: Path) -> None:
    word(tmp_path, 1, "ValueError", "first")
    word(tmp_path, 0, "ValueError", "second")
    assert cause_of_failure(tmp_path, 1, 2)[1].message == "first"


@pytest.mark.parametrize("codes", ['{"1": -9}', '{"0": 1, "1": -9}', '{"0": -6, "1": -9}'])
def test_a_killed_rank_is_named_with_its_signal(tmp_path: Path, codes: str) -> None:
    word(tmp_path, 0, "RuntimeError", LOST)
    (tmp_path / "rank-1.json").write_text('{"run_id": "r", "at": 4}')
    exits(tmp_path, codes)
    status, cause = cause_of_failure(tmp_path, 1, 2)
    assert (status, cause.kind, cause.rank, cause.step) == ("failed", "SIGKILL", 1, 5)
    assert cause.message == "rank 1 was killed by SIGKILL"


def test_a_crash_shows_where(tmp_path: Path) -> None:
    (tmp_path / "crash-0.txt").write_text("Fatal Python error: Segmentation fault\n")
    _, cause = cause_of_failure(tmp_path, -signal.SIGSEGV, 1)
    assert (cause.kind, cause.rank) == ("SIGSEGV", 0)
    assert "Segmentation fault" in (cause.traceback or "")


def test_ends_without_a_word(tmp_path: Path) -> None:
    _, killed = cause_of_failure(tmp_path, -signal.SIGKILL, 2)
    assert (killed.kind, killed.rank, killed.message) == ("SIGKILL", None, "the launcher was killed by SIGKILL")
    assert cause_of_failure(tmp_path, 3, 1)[1].message == "the launch ended with code 3 without an error message"
    exits(tmp_path, '{"1": 3}')
    word(tmp_path, 0, "RuntimeError", LOST)
    _, cause = cause_of_failure(tmp_path, 1, 2)
    assert (cause.kind, cause.rank, cause.message) == ("exit", 1, "rank 1 ended with code 3 without an error message")


def beat(*stack: tuple[str, int, str], at: int = 6) -> dict[str, Any]:
    return {"at": at, "stack": [(OWN, 131, "train_epoch"), *stack]}


WAITS = beat((f"{TORCH}/autograd/graph.py", 9, "_engine_run_backward"))


def test_a_clone_in_a_folder_called_accelerate_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path("/home/someone/accelerate/harness")
    monkeypatch.setattr(failure_causes, "PACKAGE", package)
    stuck = {"at": 6, "stack": [(str(package / "training/loop.py"), 51, "fail")]}
    assert cause_of_hang({0: WAITS, 1: stuck}, (), 2, 15.0).rank == 1


def test_a_hang_names_who_is_stuck_and_who_waits() -> None:
    beats = {0: WAITS, 1: beat((OWN, 51, "fail")), 2: beat((f"{TORCH}/distributed/c10d_logger.py", 8, "all_reduce"))}
    cause = cause_of_hang(beats, (), 3, 15.0)
    assert (cause.kind, cause.rank, cause.step) == ("hang", 1, 7)
    assert cause.message.startswith(
        "no step for 15 s: rank 1 is stuck in fail (harness/training/loop.py:51) after step 7; "
        "rank 0 waits in _engine_run_backward (autograd/graph.py:9), called by train_epoch ("
    )
    assert "rank 2 waits in all_reduce" in cause.message
    assert "fail" in (cause.traceback or "") and "all_reduce" not in (cause.traceback or ""), "of who is stuck"


def test_ranks_that_do_not_answer_never_began_or_wait_for_each_other() -> None:
    silent = cause_of_hang({0: WAITS, 1: WAITS}, {1}, 2, 1.0)
    assert silent.rank == 1 and "rank 1 does not answer" in silent.message
    assert "rank 1 never began" in cause_of_hang({0: WAITS}, (), 2, 1.0).message
    all_wait = cause_of_hang({0: WAITS, 1: WAITS}, (), 2, 1.0)
    assert all_wait.rank is None and all_wait.message.count(" waits in ") == 2
    assert cause_of_hang({0: WAITS}, (), 1, 1.0).rank == 0, "a single process has nobody to wait for"


def test_each_cause_has_a_hint_of_its_own() -> None:
    trace = '  File "x.py", line 3, in evaluate\n    y'
    causes: dict[str, tuple[Any, Cause]] = {
        "retry_out_of_memory": ("oom", Cause(kind="OutOfMemoryError", message="m", traceback="  in train_epoch\n")),
        "eval_batch_size": ("oom", Cause(kind="OutOfMemoryError", message="m", traceback=trace)),
        "timeout_seconds": ("timeout", Cause(kind="hang", message="m")),
        "dmesg": ("failed", Cause(kind="SIGKILL", message="m")),
        "stand above": ("failed", Cause(kind="no start", message="m")),
        "result.json": ("failed", Cause(kind="ValueError", message="m", traceback=trace)),
    }
    for expected, (status, cause) in causes.items():
        assert expected in hint_for(status, cause, Path("run"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "OBEY_SECONDS", 1.0)
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 1.0)


def test_a_launch_that_ends_before_a_run_is_recorded_once_and_other_launches_go_on(tmp_path: Path) -> None:
    code, [result], words = supervise(tmp_path, "print('its own words'); sys.exit(3)", count=3)
    assert (code, result.run_id, result.status) == (1, "run0", "failed")
    assert result.cause and result.cause.kind == "no start"
    assert "never came to a run: the launch ended with code 3" in words
    assert words.count("hint:") == 1 and "2 more runs of this launch stay open" in words
    assert (tmp_path / "suite/run0/system/system.json").exists(), "a record that tables can read"


@pytest.mark.slow
def test_a_launch_that_never_begins_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "START_SECONDS", 1.0)
    script = "heartbeat.folder = None\ntime.sleep(60)"  # nobody sees a sign of life
    code, [result], _ = supervise(tmp_path, script, timeout_seconds=0.5)
    assert (code, result.cause and result.cause.kind) == (1, "no start")
    assert "rank 0 never began" in str(result.cause)


def test_a_death_between_two_runs_is_nobody_s(tmp_path: Path) -> None:
    script = """
run = begin(0)
if run.run_id == "run0":
    heartbeat.run_ended()
    os._exit(1)
fail("failed")
os._exit(1)
"""
    _, [result], _ = supervise(tmp_path, script, count=2)
    assert (result.run_id, result.cause and result.cause.message) == ("run1", "planted")


def test_runs_that_a_rank_passes_over_without_opening_them_are_not_launched_again(tmp_path: Path) -> None:
    code, results, _ = supervise(tmp_path, "report_end(folder, '')", count=2)
    assert (code, results) == (1, [])


def test_peers_that_wait_for_a_rank_that_failed_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "LINGER_SECONDS", 0.5)
    began = time.monotonic()
    _, [result], _ = supervise(tmp_path, "begin(); fail('oom', 'OutOfMemoryError'); time.sleep(60)")
    assert time.monotonic() - began < 50
    assert (result.status, result.cause and result.cause.kind) == ("oom", "OutOfMemoryError")


def test_an_evaluation_that_takes_too_long_is_a_hang(tmp_path: Path) -> None:
    script = "def evaluate():\n    time.sleep(60)\nbegin(); heartbeat.beat(0); evaluate()"
    _, [result], _ = supervise(tmp_path, script, timeout_seconds=2.0)
    assert (result.status, result.cause and result.cause.kind) == ("timeout", "hang")
    assert "rank 0 is stuck in evaluate (" in str(result.cause)


RETRIED = """
run = begin()
steps = manifest.spec_to_train(run).train.gradient_accumulation_steps
with open(manifest.output / "tried", "a") as file:
    file.write(f"{steps}\\n")
assert run.spec.train.gradient_accumulation_steps == 1, "the record keeps the suite's"
fail("oom", "OutOfMemoryError")
os._exit(1)
"""


def test_out_of_memory_is_tried_again_with_halved_micro_batches_until_they_no_longer_divide(tmp_path: Path) -> None:
    _, [result], words = supervise(tmp_path, RETRIED, global_batch_size=24, retry_out_of_memory=True)
    assert (tmp_path / "tried").read_text().split() == ["1", "2", "4", "8"], "micro-batches of 24, 12, 6 and 3"
    assert result.status == "oom"
    assert words.count("again with micro-batches of") == 3
    lines = (tmp_path / "suite/run0/system/events.jsonl").read_text()
    assert lines.count('"retried"') == 3
    assert '"reason":"planted","gradient_accumulation_steps":2,"micro_batch_size":12' in lines


def test_out_of_memory_is_not_tried_again_unasked(tmp_path: Path) -> None:
    _, [result], words = supervise(tmp_path, RETRIED, global_batch_size=24)
    assert (tmp_path / "tried").read_text().split() == ["1"]
    assert result.status == "oom" and "retry_out_of_memory" in words


def test_the_end_of_a_launch_reaches_what_obeys_no_order_and_no_sigterm(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    stubborn = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(60)"
    rank = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stubborn!r}], start_new_session=True)"
    environment = {**os.environ, FOLDER: str(tmp_path)}
    launcher = subprocess.Popen([sys.executable, "-c", rank], env=environment)
    assert wait_for(ready.exists, 120)
    launcher.kill()  # what it started is left to init
    launcher.wait()
    assert len(processes_of(tmp_path)) == 1
    end_launch(launcher, tmp_path)
    assert not processes_of(tmp_path)
