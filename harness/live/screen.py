"""A block of lines at the bottom of a terminal, under the lines that stay, whatever becomes of the window's size."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable

from rich.console import Console, ConsoleDimensions, ConsoleRenderable, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

KEPT_LINES = 200


class Screen(Live):
    """The block while it is there; what the console prints meanwhile stands above it.

    A terminal whose size has changed has wrapped the lines anew, each in its own way. So it is cleared then, and what
    stood there last is printed again.

    Args:
        console: of a terminal.
        lines: returns the block's for a width and a height.
        transient: whether the block goes at the end.
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
