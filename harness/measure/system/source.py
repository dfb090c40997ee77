"""Which code made a result: the commit of the harness, and a hash of the files that matter."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]
GIT_SECONDS = 10.0
# What decides the numbers of a run; the rest starts runs, or shows what they came to.
_TOUCHES_RESULTS = (
    "compiled.py",
    "data",
    "measure",
    "models",
    "running/build.py",
    "running/execute.py",
    "running/fitting.py",
    "running/rehearsal.py",
    "training",
)


def describe_source(package: Path = PACKAGE) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns `git_commit`, `git_clean` and `code_hash`, and the reasons for what is None. One call of git."""
    commit, clean, reason = _git(package)
    facts = {"git_commit": commit, "git_clean": clean, "code_hash": code_hash(package)}
    return facts, dict.fromkeys(("git_commit", "git_clean"), reason) if reason else {}


def code_that_touches_results(package: Path = PACKAGE) -> list[Path]:
    """Returns the modules that decide the numbers of a run, sorted."""
    named = [package / name for name in _TOUCHES_RESULTS]
    return sorted(file for path in named for file in ([path] if path.is_file() else path.rglob("*.py")))


def code_hash(package: Path = PACKAGE) -> str:
    """Returns a hash of names and contents of these modules."""
    digest = hashlib.sha256()
    for file in code_that_touches_results(package):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


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
