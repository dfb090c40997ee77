"""A home for processes that have none, as in a container that runs under a bare user id."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from harness.errors import HarnessError


def require_home() -> None:
    """Sets HOME to a private folder for temporary files where neither it nor a passwd entry names one, and says so.

    Libraries keep settings and caches there and fail without one; processes that this one starts inherit it.

    Raises:
        HarnessError: that folder cannot be made, or is another user's.
    """
    if os.environ.get("HOME"):
        return
    os.environ.pop("HOME", None)  # an empty one hides the passwd entry
    if os.path.expanduser("~") != "~":  # noqa: PTH111 - pathlib raises where there is none
        return
    why = f"HOME is not set and user {os.getuid()} has no passwd entry"
    try:
        folder = Path(tempfile.gettempdir()) / f"harness-home-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise HarnessError(f"{why}, and no folder can be created: {error}", "set HOME to a folder") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise HarnessError(f"{why}, and {folder} is not private to this user", "set HOME to a folder")
    os.environ["HOME"] = str(folder)
    if "_HARNESS_COMPLETE" not in os.environ:
        sys.stderr.write(f"{why}: its files go to {folder}\n")
