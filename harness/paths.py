"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError


def user_path(text: str | Path) -> Path:
    """Returns the path that a person wrote: `~` and `~USER` stand for homes.

    Raises:
        HarnessError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise HarnessError(f"{text}: there is no user of that name", "write the path in full") from None
