"""The container that this process runs in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path


def container(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> dict[str, str | None] | None:
    """Returns the kind of container and the name of its image, without the path that leads there; None outside one."""
    for kind in ("apptainer", "singularity"):
        if f"{kind.upper()}_CONTAINER" in environment:
            name = environment.get(f"{kind.upper()}_NAME") or environment[f"{kind.upper()}_CONTAINER"]
            return {"kind": kind, "image": Path(name).name or None}
    if "KUBERNETES_SERVICE_HOST" in environment:
        return {"kind": "kubernetes", "image": None}
    if (root / "run" / ".containerenv").exists():
        return {"kind": "podman", "image": _podman_image(root / "run" / ".containerenv")}
    if (root / ".dockerenv").exists():
        return {"kind": "docker", "image": None}
    return None


def _podman_image(path: Path) -> str | None:
    try:
        found = re.search(r'^image="(?:.*/)?([^"/]+)"$', path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None
