"""Accelerate's launcher, which here tells which of its ranks ended first and how, and lets them hear the signals.

A script of its own: it is started in place of `python -m accelerate.commands.launch`, with the same arguments.
"""

from __future__ import annotations

import contextlib
import logging
import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    # Run by its path, Python puts this folder first on sys.path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.errors import HarnessError
from harness.launching.launch_folder import FOLDER, refuse
from harness.launching.stop_signals import STOP_SIGNALS
from harness.records.files import write_json


def main() -> None:
    """Launches; exits with 1 where a rank failed, after `exits-HOST-PID.json` was written."""
    # What asks a whole job to stop reaches the ranks as well, or their supervisor: they save, and this one waits.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.environ["PET_SIGNALS_TO_HANDLE"] = "SIGQUIT"
    os.environ["PET_SHUTDOWN_TIMEOUT"] = "5"  # seconds: what is left waits for a rank that is gone
    logging.disable(logging.ERROR)  # the supervisor says it in one line
    try:
        runpy.run_module("accelerate.commands.launch", run_name="__main__")
    except ValueError as error:  # of a config, before anything is started
        refuse(
            Path(os.environ[FOLDER]),
            HarnessError(f"Accelerate: {error}", "`harness list files` names configs that work"),
        )
        sys.exit(1)
    except Exception as error:
        failures = getattr(error, "failures", {})  # of torch's ChildFailedError
        exits = {str(rank): failure.exitcode for rank, failure in failures.items()}
        if isinstance(error, subprocess.CalledProcessError):  # one process, which Accelerate starts itself
            exits = {"0": error.returncode}
        if not exits:
            raise
        with contextlib.suppress(OSError):  # a full disk: the supervisor knows less of the end, and no more is lost
            write_json(Path(os.environ[FOLDER]) / f"exits-{socket.gethostname()}-{os.getpid()}.json", exits)
        sys.exit(1)


if __name__ == "__main__":
    main()
