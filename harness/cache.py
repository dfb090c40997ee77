"""What is kept on disk to be quick the next time. All of it may be deleted at any time."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from harness.paths import user_path


def cache_root() -> Path:
    """Returns the folder of the cache: the environment's HARNESS_CACHE, else ~/.cache/harness."""
    return user_path(os.environ.get("HARNESS_CACHE") or "~/.cache/harness")


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
        temporary = folder / f".{uuid.uuid4().hex}"  # not by `tempfile`, whose mode is 0600: others may share the cache
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / key)
    return text
