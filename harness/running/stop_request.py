"""A process is asked to stop: by a signal, or by its supervisor. What it does then is for the training loop to say."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import psutil

from harness.launching.launch_folder import STOPPED, Heartbeat, launching_process, read_orders
from harness.launching.stop_signals import stop_signals

LOOK_EVERY_SECONDS = 0.5


class StopRequest:
    """Says whether this process shall save and stop; a SIGINT after that ends it at once.

    Attributes:
        reason: e.g. `SIGTERM`; empty until then.
    """

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self) -> bool:
        """Tells whether to stop."""
        return bool(self.reason)

    def listen(self, heartbeat: Heartbeat) -> None:
        """Listens to signals and, in a supervised launch, to the supervisor, who hears the heartbeat, and without whom
        this process ends.

        One without a supervisor saves and stops when its launcher is gone: some signals end a launcher alone.
        """
        for number in stop_signals():
            signal.signal(number, self._on_signal)
        if heartbeat.folder:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and decides
        watch = self._watch_orders if heartbeat.folder else self._watch_launcher
        threading.Thread(target=watch, args=(heartbeat,), daemon=True, name="orders").start()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT:
            os._exit(STOPPED)
        self.reason = self.reason or signal.Signals(number).name

    def _watch_orders(self, heartbeat: Heartbeat) -> None:
        assert heartbeat.folder
        folder = heartbeat.folder
        is_there = _supervisor_is_there()
        while is_there():
            stop, end = read_orders(folder)
            if end:
                break
            self.reason = self.reason or stop
            heartbeat.write()
            time.sleep(LOOK_EVERY_SECONDS)
        os._exit(STOPPED)

    def _watch_launcher(self, _pulse: Heartbeat) -> None:
        launcher = os.getppid()
        while os.getppid() == launcher:
            time.sleep(LOOK_EVERY_SECONDS)
        self.reason = self.reason or "the launcher ended"


def _supervisor_is_there() -> Callable[[], bool]:
    """Returns what tells whether the supervisor lives; of one on another machine nothing is known here."""
    number = launching_process()
    if number is None:
        return lambda: True
    try:
        supervisor = psutil.Process(number)
    except psutil.NoSuchProcess:
        return lambda: False

    def is_there() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return supervisor.is_running() and supervisor.status() != psutil.STATUS_ZOMBIE
        return False

    return is_there
