"""`harness plan`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.app import app, plan_of, print_json, print_text
from harness.cli.options import AsJson, ConfigFile, Overrides, Plugins, Selections, Small, SuitePath
from harness.counted import counted

if TYPE_CHECKING:
    from harness.data.source import DataSource
    from harness.suite.plan import PlannedRun


@app.command()
def plan(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the runs of a suite in their order, without running them."""
    from harness.data.prepare import absent, known_fingerprint, read_by

    planned = plan_of(suite, set_, only, smoke, config_file, plugins=plugin, fingerprint=known_fingerprint)
    runs = planned.runs
    lacking = {key: _lacking(source, suite) for key, source in absent(run.spec.data for run in runs).items()}
    if as_json:
        print_json([_row(run) | {"missing_data": lacking.get(read_by(run.spec.data))} for run in runs])
        return
    of = [
        counted(len({run.config_id for run in runs}), "config"),
        counted(len({run.spec.seed for run in runs}), "seed"),
    ]
    if anchors := sum(run.spec.repeat > 0 for run in runs):
        of.append(counted(anchors, "anchor"))
    sys.stderr.write(f"{counted(len(runs), 'run')}: {', '.join(of)}\n")
    if any(not run.run_id for run in runs):
        sys.stderr.write("empty run ids depend on large data files that only `harness run` reads\n")
    for note in (*dict.fromkeys(lacking.values()), *planned.suite.variations.notes()):
        sys.stderr.write(f"{note}\n")
    rows = (f"{run.run_id:<12}  {run.spec.seed:<4}  {run.spec.label}{run.which_anchor}" for run in runs)
    print_text("\n".join(["run_id        seed  label", *rows]))


def _lacking(source: DataSource, suite: Path) -> str:
    assert source.archive
    return source.archive.lacking(f"harness run {shlex.quote(str(suite))}{'' if source.download else ' --download'}")


def _row(run: PlannedRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "config_id": run.config_id,
        "seed": run.spec.seed,
        "label": run.spec.label,
        "anchor": bool(run.spec.repeat),
        "spec": run.spec.model_dump(mode="json"),
    }
