"""Where a suite is shown while it runs: on a terminal as a block that is drawn anew, elsewhere as plain lines."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console, ConsoleDimensions, ConsoleRenderable, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from harness.errors import HarnessError
from harness.live.current_run import CurrentRun
from harness.live.draw import UNKNOWN, about, cells, draw
from harness.live.follow import LiveRun, Watched
from harness.live.state import RunEnded, SuiteState
from harness.records.follow import OpenedRun
from harness.records.result import RunResult
from harness.suite.plan import Plan

REFRESH_SECONDS = 2.0
BESIDE_TRAINING_SECONDS = 4.0  # in a process that trains, where there is no supervisor it
LINE_EVERY_SECONDS = 180.0
KEPT_LINES = 200
WATCH_SECONDS = 5.0  # from one look at other processes' runs to the next


class Notes:
    """Prints the sentences that a rank has for a person, and shows nothing else: where a supervisor shows the rest.

    Args:
        console: on stderr; None prints nothing, as on every rank but the first.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Prints a sentence."""
        if self._console:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is held."""


class View(Notes):
    """`Notes` of a rank, and a supervisor's `Display`.

    On a terminal whose cursor can be moved, it shows a block with the suite, its current runs and the front so far,
    under a line for each run that has ended. Elsewhere it prints those lines, and one every few minutes.

    Args:
        console: on stderr, which may go away: see `harness.streams.guard_streams`.
        every_seconds: how often it looks for news.

    Attributes:
        holds_terminal: whether it draws a block.
    """

    def __init__(self, console: Console, state: SuiteState, every_seconds: float = REFRESH_SECONDS) -> None:
        super().__init__(console)
        self.state = state
        self.holds_terminal = can_draw(console)
        self._screen = Screen(console, lambda width, height: draw([state], width, height))
        self._runs: dict[str, LiveRun] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._last_line = time.monotonic()
        self._thread = threading.Thread(target=self._go_on, args=(every_seconds,), daemon=True, name="live view")

    def start(self) -> None:
        """Draws the block for the first time, and begins to look for news, in a thread."""
        if self.holds_terminal:
            self._screen.start(refresh=True)
        self._thread.start()

    def tell(self, ended: RunEnded) -> None:
        """Takes the end of a run, and prints what stays of it."""
        with self._lock:
            self.state.end(ended)
            sentence = ended.sentence(self.state.planned[ended.run_id].name)
            self.note(f"{len(self.state.ended)}/{len(self.state.planned)}  {sentence}")

    def note(self, text: str) -> None:
        """Prints a sentence."""
        with self._lock:
            self._last_line = time.monotonic()
            super().note(text)

    def take_run(self, run: OpenedRun, launch: Path | None = None) -> None:
        """Takes how far a launch is with a run, or this process, where there is none; shows it until it has ended."""
        with self._lock:
            if run.stage != "ended":
                self._runs.setdefault(run.run_id, LiveRun(run, self.state, launch))
            elif run.run_id in self._runs:
                self._look()
                self._forget(run.run_id)

    def leave(self, launch: Path) -> None:
        """Takes what is left to tell of a launch that has ended, and forgets its runs that have not."""
        with self._lock:
            self._look()
            for run_id in [run_id for run_id, run in self._runs.items() if run.launch == launch]:
                self._forget(run_id)

    def count(self, result: RunResult) -> None:
        """Takes a result without an error message."""
        with self._lock:
            self.state.end(RunEnded.of(result))

    def reopen(self, run_ids: Iterable[str]) -> None:
        """Counts runs as open."""
        with self._lock:
            for run_id in run_ids:
                self.state.ended.pop(run_id, None)

    def close(self) -> None:
        """Ends the thread, leaves the block as it stands, and gives the terminal back."""
        self._closed.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)
        if self.holds_terminal:
            self._screen.stop()

    def _go_on(self, every_seconds: float) -> None:
        while not self._closed.wait(every_seconds):
            with self._lock:
                if not self._closed.is_set():
                    self._look()
                    self._refresh()

    def _look(self) -> None:
        for run in self._runs.values():
            for ended in run.look():
                self.tell(ended)

    def _forget(self, run_id: str) -> None:
        self._runs.pop(run_id)
        self.state.current.pop(run_id, None)

    def _refresh(self) -> None:
        if self.holds_terminal:
            self._screen.refresh()
        elif time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            for run_id, run in self.state.current.items():
                self.note(_line(self.state, run_id, run))


class Screen(Live):
    """The block while it is there; what the console prints meanwhile stands above it.

    A terminal whose size has changed has wrapped the lines anew, each in its own way. So it is cleared then, and what
    stood there last is printed again.

    Args:
        lines: returns the block's for a width and a height.
    """

    def __init__(self, console: Console, lines: Callable[[int, int], list[Text]], *, transient: bool = False) -> None:
        self._lines = lines
        self._printed: deque[ConsoleRenderable] = deque(maxlen=KEPT_LINES)
        super().__init__(
            console=console, auto_refresh=False, transient=transient, redirect_stdout=False, redirect_stderr=False
        )
        self._ask_terminal()
        self._size = console.size

    def get_renderable(self) -> Group:
        """Returns the block, one column and one line short of the terminal, which might wrap or scroll else."""
        width, height = self.console.size
        return Group(*self._lines(max(1, width - 1), max(1, height - 1)))

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Puts what is printed above the block; rich calls it for each print."""
        self._ask_terminal()
        earlier = list(self._printed)[-self.console.height :]
        self._printed.extend(each for each in renderables if not isinstance(each, Control))
        clear: list[ConsoleRenderable] = []
        if self.console.size != self._size:
            self._size = self.console.size
            self._live_render._shape = None  # what was drawn is there no more
            self._live_render.set_renderable(self.get_renderable())
            clear = [Control(ControlType.HOME, ControlType.CLEAR), *earlier]
        return [*clear, *super().process_renderables(renderables)]

    def _ask_terminal(self) -> None:
        # Rich believes COLUMNS and LINES first, which a shell or readline may have set before the window changed.
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self.console.file.fileno())
            if size.columns and size.lines:
                self.console.size = ConsoleDimensions(size.columns, size.lines)


def watch(plan: Plan, output: Path, console: Console) -> None:
    """Shows a suite until nothing of it is queued or runs; where there is no terminal, once, as text.

    Raises:
        HarnessError: the queue cannot be asked.
    """
    # What follows is no concern of ranks, which import this.
    from harness.launching.slurm.submission import read_queue
    from harness.launching.status import suite_status
    from harness.results.race import RaceState, without_needless_runs
    from harness.results.race_text import race_lines

    queue = read_queue(output, plan.suite.name)  # before the records: what ends in between is seen as done
    if can_draw(console):
        watched = Watched(plan, output)
        states, note = watched.look(), queue.text()
        with (
            Screen(console, lambda width, height: draw(states, width, height, note), transient=True) as screen,
            contextlib.suppress(KeyboardInterrupt),
        ):
            while queue.tasks or watched.goes_on():
                screen.refresh()
                time.sleep(WATCH_SECONDS)
                try:
                    queue = read_queue(output, plan.suite.name)
                    note = queue.text()
                except HarnessError as error:  # a busy controller: it answers again
                    note = f"the queue as it was before: {error.message}"
                states = watched.look()
        queue = read_queue(output, plan.suite.name)
    race = race_lines(RaceState.begin(plan, output, write=False), plan.runs) if plan.race else []
    text = "\n  ".join([suite_status(without_needless_runs(plan, output), output).text(), queue.text(), *race])
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def can_draw(console: Console) -> bool:
    """Tells whether a console is a terminal whose cursor can be moved.

    The file is asked, not the console: FORCE_COLOR makes rich take a log for a terminal.
    """
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


def _line(state: SuiteState, run_id: str, run: CurrentRun) -> str:
    """Returns one line on a run that goes on."""
    name, epoch, loss, test, rate, _, left, _ = cells(state, run_id, run)
    epoch = f"epoch {epoch}" if run.current_epoch else epoch
    told = [(epoch, epoch), (f"loss {loss}", loss), (f"test {test}", test), (f"{rate} samples/s", rate)]
    suite = about(state.seconds_left()) or UNKNOWN
    told += [(f"{left} left", left), (f"suite {suite}", suite)]
    return f"… {' · '.join([name, *(words for words, value in told if value != UNKNOWN)])}"
