"""A promise of a plug-in, and that it is not kept."""

from __future__ import annotations

from collections.abc import Callable

Promise = tuple[str, Callable[[], object]]
"""What is promised, in a few words, and what tries it: it raises where it does not hold."""


class Broken(Exception):
    """A plug-in does not do what its kind promises; the text is a sentence on what it does instead."""


def require(holds: object, instead: str) -> None:
    """Raises `Broken` with what is the case instead, unless a promise holds."""
    if not holds:
        raise Broken(instead)
