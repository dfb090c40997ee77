"""What is kept on disk to be quick the next time. All of it may be deleted at any time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_root() -> Path:
    """Returns the folder of the cache: the environment's HARNESS_CACHE, else ~/.cache/harness."""
    return Path(os.environ.get("HARNESS_CACHE") or "~/.cache/harness").expanduser()


def remembered(kind: str, key: str) -> str | None:
    """Returns the text that was kept under a key, or None.

    Args:
        kind: a folder of the cache.
        key: a hash of all that the text follows from.
    """
    try:
        return (cache_root() / kind / key).read_text(encoding="utf-8") or None
    except (OSError, ValueError):
        return None


def remember(kind: str, key: str, make: Callable[[], str]) -> str:
    """Returns the text of a key, made now where it was not kept.

    A cache that cannot be written costs time, and nothing else.
    """
    if (found := remembered(kind, key)) is not None:
        return found
    text = make()
    folder = cache_root() / kind
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(folder / key)
    return text
