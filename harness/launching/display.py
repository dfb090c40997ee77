"""What a supervisor tells whoever shows a suite to a person; `harness.live` does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from harness.records.result import RunResult


class Display(Protocol):
    """Shows the runs of a suite while they go on.

    Attributes:
        holds_terminal: whether words that others write to the terminal would stand in its way: it must print them.
    """

    holds_terminal: bool

    def follow(self, launch: Path) -> None:
        """Shows what the ranks of this launch tell in its folder; several may be followed at a time."""
        ...

    def leave(self, launch: Path) -> None:
        """Shows what is left to tell of a launch that has ended; its folder is about to go."""
        ...

    def count(self, result: RunResult) -> None:
        """Takes a result of which the person was told already."""
        ...

    def reopen(self, run_ids: Iterable[str]) -> None:
        """Counts runs that are done as open: they are about to be trained again."""
        ...
