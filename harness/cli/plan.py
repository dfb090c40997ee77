"""`harness plan`."""

from __future__ import annotations

import sys

from harness.cli.app import app, plan_of, print_json, print_text
from harness.cli.options import AsJson, ConfigFile, Overrides, Selections, Small, SuitePath


@app.command()
def plan(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the runs of a suite in their order, without running them."""
    planned = plan_of(suite, set_, only, smoke, config_file, read_data=False)
    rows = [
        {"run_id": run.run_id, "config_id": run.config_id, "seed": run.spec.seed, "label": run.spec.label}
        for run in planned.runs
    ]
    if as_json:
        specs = (run.spec.model_dump(mode="json") for run in planned.runs)
        print_json([{**row, "spec": spec} for row, spec in zip(rows, specs, strict=True)])
        return
    configs, seeds = len({row["config_id"] for row in rows}), len({row["seed"] for row in rows})
    counts = ((len(rows), "run"), (configs, "config"), (seeds, "seed"))
    runs, *of = (f"{count} {name}{'s' * (count != 1)}" for count, name in counts)
    sys.stderr.write(f"{runs}: {', '.join(of)}\n")
    if any(not run.run_id for run in planned.runs):
        sys.stderr.write("run ids that are empty follow from large data files that `harness run` has yet to read\n")
    for note in planned.suite.variations.notes():
        sys.stderr.write(f"{note}\n")
    print_text(
        "\n".join(["run_id        seed  label", *(f"{r['run_id']:<12}  {r['seed']:<4}  {r['label']}" for r in rows)])
    )
