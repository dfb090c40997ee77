"""Paths as people write them, and the files that ship: suites, launch configs and SLURM scripts."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.errors import HarnessError, nearest

PACKAGE = Path(__file__).resolve().parent
SUITES, LAUNCH_CONFIGS, SLURM_SCRIPTS = "benchmarks", "launch", "slurm"
REPORTS = f"{SUITES}/reports"  # what `harness reproduce` does


def user_path(text: str | Path) -> Path:
    """Returns the path that a person wrote: `~` and `~USER` stand for homes.

    Raises:
        HarnessError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise HarnessError(f"{text}: there is no user of that name", "write the path in full") from None


def shipped(folder: str) -> Path:
    """Returns a folder of files that ship: in a wheel it lies inside the package, in a clone beside it."""
    inside = PACKAGE / "shipped"  # asked first: beside an installed package a folder of that name is another's
    return (inside if inside.is_dir() else PACKAGE.parent) / folder


def shipped_names(folder: str) -> list[str]:
    """Returns the names of the YAML files that ship in a folder."""
    return sorted(path.stem for path in shipped(folder).glob("*.yaml"))


def named_file(given: Path, folder: str) -> Path:
    """Returns the YAML file that a path or a name stands for: what is here, else what ships under that name.

    Args:
        given: a path; or a name, which stands for `NAME.yaml`.
        folder: `SUITES` or `LAUNCH_CONFIGS`.

    Returns:
        `given` itself where there is no such file.
    """
    if _is_name(given):
        name = f"{given}.yaml"
        with contextlib.suppress(OSError):  # a name that is too long
            return next((path for path in (given, Path(name), shipped(folder) / name) if path.exists()), given)
    return given


def hides_shipped(given: Path, folder: str) -> str:
    """Returns a sentence where a name stands for what is here, and a file that ships has it too; else nothing."""
    found = named_file(given, folder)
    if str(given) not in shipped_names(folder) or found.resolve().parent == shipped(folder):
        return ""
    return f"'{given}' is {found} of this folder, not the one of that name that ships with the harness"


def nearest_file(path: Path, folder: str) -> str:
    """Returns a hint for a path that cannot be read: the nearest YAML file beside it, or what ships."""
    others, names = [str(other) for other in path.parent.glob("*.yaml")], shipped_names(folder)
    return nearest(str(path), [*others, *names]) if others else nearest(path.stem, names)


def _is_name(path: Path) -> bool:
    return path.name == str(path) and not path.suffix
