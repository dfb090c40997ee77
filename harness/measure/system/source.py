"""Which commit of the harness is here. What trained a run is told by its record, see `harness.spec.code`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]
GIT_SECONDS = 10.0


def describe_source(package: Path = PACKAGE) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns `git_commit` and `git_clean`, and the reasons for what is None. One call of git."""
    commit, clean, reason = _git(package)
    facts = {"git_commit": commit, "git_clean": clean}
    return facts, dict.fromkeys(("git_commit", "git_clean"), reason) if reason else {}


def _git(package: Path) -> tuple[str | None, bool | None, str]:
    """Returns the commit, whether the package is as committed, and why they are None.

    A file of a plug-in that was not added is a change too. What lies in the tree beside the package is not asked for.
    """
    if not (package.parent / ".git").exists():  # in another's repository, its commit would tell nothing
        return None, None, "the harness is not in a git checkout of its own"
    command = ["git", "-C", str(package.parent), "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        ran = subprocess.run(
            [*command, "--untracked-files=all", "--", package.name],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return None, None, "git is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, None, f"git did not answer: {type(error).__name__}"
    found = re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", ran.stdout, re.MULTILINE)
    if ran.returncode or not found:
        return None, None, "git does not read this checkout" if ran.returncode else "no commit yet"
    return found[1], all(line.startswith("#") for line in ran.stdout.splitlines()), ""
