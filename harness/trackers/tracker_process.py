"""The tracker processes beside `harness run`: one for each tracker, started with the call and gone when it ends.

    python -m harness.trackers.tracker_process TRACKING FILE

TRACKING is a `Tracking` as JSON; FILE is the list to which the process that trains appends the runs that it comes to,
see `harness.records.follow`. It lasts longer than the launches of a call, as a tracker may be slow. The end of standard
input says that no more will come: also where the process that wrote to it was killed. Each line of standard output is a
sentence for a person.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness.records.follow import TRACKED_RUNS, NewOpenedRuns
from harness.records.store import RunFolder
from harness.trackers.account import why_offline
from harness.trackers.entries import Entries
from harness.trackers.mirror import Mirror, Tracker
from harness.trackers.options import WANDB, Tracking

LOOK_EVERY_SECONDS = 2.0
START_SECONDS = 120  # until its client is imported, from a busy network disk, too
NICENESS = 19
LOCAL = 10
KINDS = {
    "mlflow": ("mlflow_run", "MlflowRun"),
    "tensorboard": ("tensorboard_run", "TensorBoardRun"),
    WANDB: ("weights_and_biases", "WandbRun"),
}
TRACKER_PROCESS = "HARNESS_TRACKER_PROCESS"  # in its environment; see `harness.measure.processes`
# What tells a process that it is one of several, or has a GPU: a tracker is neither.
_OF_A_LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_", "ACCELERATE_", "FORK_")

_Process = tuple[subprocess.Popen[str], threading.Thread]  # and what says its words


@contextlib.contextmanager
def tracked(tracking: Tracking, parent: Path | None, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Sends the runs that this process, or those that it starts, open in this context to trackers.

    Nothing that a tracker does, or does not, waits here before the end, ends the context early, or raises.

    Args:
        parent: where the folder goes through which opened runs are told; all ranks see it. None: this machine's own.
        say: is given sentences for a person, in a thread.

    Yields:
        The ids of the processes.
    """
    if not tracking.names:
        yield []
        return
    tracking = _told_if_offline(tracking, say)
    with tempfile.TemporaryDirectory(prefix="harness-", dir=parent, ignore_cleanup_errors=True) as name:
        runs = Path(name) / "runs.jsonl"
        os.environ[TRACKED_RUNS] = str(runs)
        started: dict[str, _Process] = {}
        try:
            for each in tracking.names:
                try:
                    started[each] = _start(dataclasses.replace(tracking, names=(each,)), runs, say)
                except OSError as error:
                    say(f"{each}: cannot be started ({error}); the runs go on")
            yield [child.pid for child, _ in started.values()]
        finally:
            del os.environ[TRACKED_RUNS]
            _end(started, tracking.patience_seconds, say)


def _told_if_offline(tracking: Tracking, say: Callable[[str], None]) -> Tracking:
    if WANDB not in tracking.names:
        return tracking
    why = why_offline(os.environ, Path.home())
    if os.environ.get("WANDB_MODE") == "disabled":
        say("wandb: WANDB_MODE is disabled, so runs are not sent there")
        return dataclasses.replace(tracking, names=tuple(name for name in tracking.names if name != WANDB))
    if why:
        say(f"wandb: {why}, so runs are kept on this disk; `harness wandb sync` sends them later")
    return dataclasses.replace(tracking, offline=bool(why))


def _start(tracking: Tracking, runs: Path, say: Callable[[str], None]) -> _Process:
    """Starts the process of one tracker, in a session of its own: Ctrl-C is for the runs.

    Raises:
        OSError: it cannot be started.
    """
    [name] = tracking.names
    import_path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_OF_A_LAUNCH)}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", TRACKER_PROCESS: name}
    told = json.dumps(dataclasses.asdict(tracking))
    child = subprocess.Popen(
        [sys.executable, "-m", "harness.trackers.tracker_process", told, str(runs), str(START_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment | {"PYTHONPATH": os.pathsep.join(import_path)},
        text=True,
        start_new_session=True,
    )

    def listen() -> None:
        """Says each of its lines, so that it does not write into what others draw; and that it never started."""
        assert child.stdout
        with child.stdout as lines:
            for line in lines:
                say(f"{name}: {line.rstrip()}")
        if child.wait() == -signal.SIGALRM:
            say(f"{name}: not started after {START_SECONDS:g} s, and ended{_remedy(name)}; the runs go on")

    listener = threading.Thread(target=listen, daemon=True, name=f"words of {name}")
    listener.start()
    return child, listener


def _end(started: Mapping[str, _Process], patience: float, say: Callable[[str], None]) -> None:
    """Waits until each process has sent the last of it; one that takes too long is ended, which costs no record."""
    began = time.monotonic()
    for child, _ in started.values():
        assert child.stdin
        with contextlib.suppress(OSError):
            child.stdin.close()
    for name, (child, listener) in started.items():
        # A busy machine lets a tracker wait long; without a server, what it writes need not be cut short.
        seconds = patience * (1 if name == WANDB else LOCAL)
        try:
            child.wait(max(0.0, began + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            say(f"{name}: not done after {seconds:g} s, and ended{_remedy(name)}")
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        listener.join(timeout=1.0)


def _remedy(name: str) -> str:
    return "; send what is missing: harness wandb sync" if name == WANDB else ""


def main() -> None:
    """Follows runs and sends them to a tracker, until standard input ends."""
    signal.alarm(int(sys.argv[3]))  # ends this process where the import of a client hangs
    value = json.loads(sys.argv[1])
    tracking = Tracking(**{**value, "names": tuple(value["names"])})
    new_runs = NewOpenedRuns(Path(sys.argv[2]))
    words = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)  # what a tracker's client prints

    def say(sentence: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            words.write(f"{sentence}\n")

    [name] = tracking.names
    kind = _kind(name)
    signal.alarm(0)
    os.nice(NICENESS)  # after the imports, which take their seconds while those of the runs do
    mirror = Mirror(lambda entries, folder: kind(entries, folder, tracking), say, tracking)
    is_over = False
    while not is_over:
        is_over = bool(select.select([sys.stdin], [], [], LOOK_EVERY_SECONDS)[0])
        for run in new_runs():
            if run.stage == "opened":  # one whose data are read may be another launch's
                mirror.add(run.folder.path.absolute())
        mirror.look()
    mirror.close()
    if name == WANDB:
        from harness.trackers.weights_and_biases import end_client

        # It may wait for its server at a normal exit, for ever; but it may also have to write the last of a file.
        ending = threading.Thread(target=end_client, daemon=True)
        ending.start()
        ending.join(tracking.patience_seconds)
    os._exit(0)


def _kind(name: str) -> Callable[[Entries, RunFolder, Tracking], Tracker]:
    """Imports the client of a tracker, and no other; returns what makes the tracker of a run."""
    module, kind = KINDS[name]
    return getattr(importlib.import_module(f"harness.trackers.{module}"), kind)


if __name__ == "__main__":
    main()
