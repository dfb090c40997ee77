"""The page as a file."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.records.files import recording, require_writable, write_atomically
from harness.report.page.gallery import MOST_BYTES
from harness.report.page.render import render, vega_bundle
from harness.report.page.screen import on_screen
from harness.report.page.sections import suite_page
from harness.report.page.source import Source

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
    suites = [suite_page(source, key, folder, share) for source, key in zip(sources, keys, strict=True)]
    specs = {
        f"{key}/{name}": spec for source, key in zip(sources, keys, strict=True) for name, spec in source.specs.items()
    }
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    shown = {name: on_screen(spec) for name, spec in specs.items() if name in _views(suites)}
    page = render(suites, shown, vega_bundle(_version(specs)) if shown else "", made)
    require_writable(folder)
    with recording(folder):
        write_atomically(folder / NAME, lambda file: file.write(page.encode()))
    return folder / NAME


def _views(suites: Sequence[Any]) -> set[str]:
    figures = (
        part for suite in suites for section in suite.sections for part in section.parts if part.kind == "figure"
    )
    return {key for figure in figures for view in figure.views for key in (view.wide, view.narrow)}


def _version(specs: Mapping[str, dict[str, Any]]) -> str:
    """Returns the version of Vega-Lite that the charts were declared for, e.g. `6.1`."""
    found = re.search(r"/v(\d+\.\d+)", next(iter(specs.values()))["$schema"])
    assert found
    return found[1]
