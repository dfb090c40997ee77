"""`harness infer`."""

from __future__ import annotations

import typer

from harness.cli.app import app, print_text, stderr
from harness.cli.options import Overrides, Plugins, Roots, Selections, Small, StudyPaths
from harness.cli.studies import studies_of


@app.command()
def infer(
    suites: StudyPaths = None,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    output: Roots = None,
) -> None:
    """Time trained networks in use, latency and throughput, and add that to the records of their runs."""
    studies = studies_of(suites or [], set_, only, smoke, None, output or [], plugin)
    from harness.infer import infer as infer_study  # imports torch
    from harness.spec import is_identity
    from harness.suite.file import parse_overrides

    # Of what --set changes, the plan has taken the rest: where the data lie is no part of it.
    settings = {path: value for path, value in parse_overrides(set_ or []).items() if not is_identity(path)}
    failed = False
    for study in studies:
        for run, inference, problem in infer_study(study, settings):
            if inference is None:
                failed = True
                stderr().print(f"{run}: not timed: {problem}", markup=False, soft_wrap=True)
            else:
                print_text(f"{run}: {inference.sentence}")
    raise typer.Exit(int(failed))
