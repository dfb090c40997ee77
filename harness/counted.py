"""Numbers of things, in words."""

from __future__ import annotations


def counted(number: int, noun: str, several: str = "") -> str:
    """Returns e.g. `1 run`, `1,200 runs`.

    Args:
        number: how many there are.
        noun: one of them.
        several: more of them, where that is not the noun and an s.
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def is_are(number: int) -> str:
    """Returns `is` for one, `are` for several."""
    return "is" if number == 1 else "are"


def was_were(number: int) -> str:
    """Returns `was` for one, `were` for several."""
    return "was" if number == 1 else "were"
