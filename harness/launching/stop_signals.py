"""Who runs a suite asks for it to be stopped: by a signal to the process that supervises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def stop_signals() -> tuple[signal.Signals, ...]:
    """Returns the signals that ask this process to save and stop.

    SIGHUP, which a terminal sends when it is closed, is left alone where `nohup` had it ignored.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in STOP_SIGNALS if number != signal.SIGHUP or not ignored)


class StopSignals:
    """Whether the runs shall be saved and stopped; a SIGINT after that stops them at once.

    Signals are listened to while it is entered, in the main thread; supervisors ask it, in any.

    Attributes:
        reason: e.g. `SIGTERM`; empty until then.
        at_once: whether nothing shall be saved any more.
    """

    def __init__(self, note: Callable[[str], object]) -> None:
        self.reason = ""
        self.at_once = False
        self._note = note
        self._telling = threading.Lock()

    def ask(self, reason: str) -> None:
        """Asks for a stop; the first reason stays."""
        self.reason = self.reason or reason

    def tell(self) -> None:
        """Says to the person that the runs are saved, once for all who save."""
        if self._telling.acquire(blocking=False):  # for good
            self._note(f"{self.reason}: saving; Ctrl-C stops at once")

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._on_signal) for number in stop_signals()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.at_once = self.at_once or (bool(self.reason) and number == signal.SIGINT)
        self.ask(signal.Signals(number).name)
