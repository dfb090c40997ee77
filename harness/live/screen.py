"""A block of lines at the bottom of a terminal, under the lines that stay, whatever becomes of the window's size."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator

from rich.console import Console, ConsoleDimensions, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import ControlType, Segment
from rich.text import Text

KEPT_LINES = 200
Lines = Callable[[int, int], list[Text]]


class Block(LiveRender):
    """Lines that are drawn over those drawn before.

    Args:
        lines: returns them for a width and a height.
    """

    def __init__(self, lines: Lines) -> None:
        super().__init__("")
        self._lines = lines

    def forget(self) -> None:
        """Says that what was drawn is there no more."""
        self._shape = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the lines, one column and one line short of the terminal, which might wrap or scroll else."""
        lines = self._lines(max(1, options.size.width - 1), max(1, options.size.height - 1))
        self._shape = (max((line.cell_len for line in lines), default=0), len(lines))
        yield from _segments(lines, console)


class Screen(Live):
    """The block while it is there; what the console prints meanwhile stands above it.

    A terminal whose size has changed has wrapped the lines anew, each in its own way. So it is cleared then, and what
    stood there last is printed again.

    Args:
        console: of a terminal.
        lines: returns the block's for a width and a height.
    """

    def __init__(self, console: Console, lines: Lines) -> None:
        super().__init__(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live_render = self._block = Block(lines)
        self._printed: deque[ConsoleRenderable] = deque(maxlen=KEPT_LINES)
        self._ask_terminal()
        self._size = console.size

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Puts what is printed above the block; rich calls it for each print."""
        self._ask_terminal()
        earlier = list(self._printed)[-self.console.height :]
        self._printed.extend(each for each in renderables if not isinstance(each, Control))
        if self.console.size == self._size:
            return super().process_renderables(renderables)
        self._size = self.console.size
        self._block.forget()
        clear = Control(ControlType.HOME, ControlType.CLEAR)
        return [clear, *earlier, *super().process_renderables(renderables)]

    def _ask_terminal(self) -> None:
        # Rich believes COLUMNS and LINES first, which a shell or readline may have set before the window changed.
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self.console.file.fileno())
            if size.columns and size.lines:
                self.console.size = ConsoleDimensions(size.columns, size.lines)


def _segments(lines: list[Text], console: Console) -> Iterator[Segment]:
    for number, line in enumerate(lines):
        if number:
            yield Segment.line()
        yield from line.render(console)
