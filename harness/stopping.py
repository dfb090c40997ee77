"""A process is asked to stop: by a signal, or by its supervisor. What it does then is for the training loop to say."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import psutil

from harness.scheduling.launch import stop_ordered

LOOK_EVERY_SECONDS = 0.5
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Says whether this process shall save and stop; a second SIGINT ends it at once.

    Attributes:
        reason: e.g. `SIGTERM`; empty until then.
    """

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self) -> bool:
        """Tells whether to stop."""
        return bool(self.reason)

    def listen(self, launch: Path | None, supervisor: int | None) -> None:
        """Listens to signals and, in a supervised launch, to the supervisor, without whom this process ends.

        Args:
            launch: its folder.
            supervisor: its process id, where it runs on this machine: a launcher in between would let a rank live on.
        """
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        if launch:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it too, and decides
            threading.Thread(target=self._watch, args=(launch, supervisor), daemon=True, name="orders").start()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.reason == "SIGINT" and number == signal.SIGINT:
            os._exit(75)
        self.reason = self.reason or signal.Signals(number).name

    def _watch(self, launch: Path, supervisor: int | None) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while supervisor is None or psutil.Process(supervisor).status() != psutil.STATUS_ZOMBIE:
                self.reason = self.reason or stop_ordered(launch)
                time.sleep(LOOK_EVERY_SECONDS)
        os._exit(75)
