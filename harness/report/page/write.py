"""The page as a file."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.records.files import recording, require_writable, write_atomically
from harness.report.charts.theme import on_page
from harness.report.page.gallery import MOST_BYTES
from harness.report.page.parts import Figure, Source, SuitePage
from harness.report.page.render import render, vega_bundle
from harness.report.page.sections import suite_page
from harness.suite.plan import Suite

NAME = "report.html"


def write_page(folder: Path, sources: Sequence[Source]) -> Path:
    """Writes the page of one suite or several, and returns its path.

    Args:
        folder: that the suites' results lie in, or below.

    Raises:
        HarnessError: the folder cannot be written.
    """
    keys = [f"suite-{index}" for index in range(len(sources))] if len(sources) > 1 else ["suite"]
    share = MOST_BYTES // len(sources)
    with ThreadPoolExecutor(1) as aside:  # Vega takes seconds of another core
        vega = aside.submit(vega_bundle) if any(source.specs for source in sources) else None
        suites = [suite_page(source, key, folder, share) for source, key in zip(sources, keys, strict=True)]
    wanted = _drawn(suites)
    specs = {
        f"{key}/{name}": on_page(spec)
        for source, key in zip(sources, keys, strict=True)
        for name, spec in source.specs.items()
        if f"{key}/{name}" in wanted
    }
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = render(suites, specs, vega.result() if vega and specs else "", made)
    require_writable(folder)
    with recording(folder):
        write_atomically(folder / NAME, lambda file: file.write(page.encode()))
    return folder / NAME


def commands_for(suite: Suite, output: Path) -> tuple[str, ...]:
    """Returns the commands that run the suite and make this page of it, with the overrides that it was given."""
    path = shlex.quote(str(suite.source.path))
    changed = "".join(f" --set {shlex.quote(f'{name}={json.dumps(to)}')}" for name, to in suite.overrides.items())
    where = "" if output == Path("results") else f" --output {shlex.quote(str(output))}"
    return (
        f"harness plan {path}{changed}    # what it would run",
        f"harness run {path}{changed}{where}",
        f"harness report {path}{changed}{where} --html",
    )


def _drawn(suites: Sequence[SuitePage]) -> set[str]:
    parts = [part for suite in suites for section in suite.sections for part in section.parts]
    return {key for part in parts if isinstance(part, Figure) for key in (part.wide, part.narrow)}
