"""How to run a suite again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from harness.results.study import Study


def commands_for(study: Study) -> tuple[str, ...]:
    """Returns the commands that run the suite and make this page of it, with the overrides that it was given."""
    path = shlex.quote(str(study.source))
    if study.source.is_dir():
        return (f"harness report {path} --html",)
    changed = "".join(f" --set {shlex.quote(f'{name}={json.dumps(v)}')}" for name, v in study.overrides.items())
    where = "" if study.root == Path("results") else f" --output {shlex.quote(str(study.root))}"
    return (
        f"harness plan {path}{changed}    # what it would run",
        f"harness run {path}{changed}{where}",
        f"harness report {path}{changed}{where} --html",
    )
