"""How to run a suite again."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.suite.plan import Suite


def commands_for(suite: Suite, output: Path) -> tuple[str, ...]:
    """Returns the commands that run the suite and make this page of it, with the overrides that it was given."""
    path = shlex.quote(str(suite.source.path))
    changed = "".join(f" --set {shlex.quote(f'{name}={_text(value)}')}" for name, value in suite.overrides.items())
    where = "" if output == Path("results") else f" --output {shlex.quote(str(output))}"
    return (
        f"harness plan {path}{changed}    # what it would run",
        f"harness run {path}{changed}{where}",
        f"harness report {path}{changed}{where} --html",
    )


def _text(value: object) -> str:
    import json

    return json.dumps(value)
