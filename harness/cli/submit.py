"""`harness submit`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import RESULTS, app, plan_of, print_text, require_all_of_race
from harness.cli.options import (
    Account,
    Constraint,
    CpusPerTask,
    DryRun,
    GpusPerNode,
    MaxRestarts,
    MaxTasks,
    Memory,
    Output,
    Overrides,
    Partition,
    Plugins,
    ProcessesPerNode,
    RunsPerTask,
    Sbatch,
    Selections,
    Setup,
    Small,
    StopEarly,
    SuitePath,
    Time,
)
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.suite.plan import Plan


@app.command()
def submit(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    output: Output = RESULTS,
    runs_per_task: RunsPerTask = 1,
    max_tasks: MaxTasks = None,
    partition: Partition = "",
    account: Account = "",
    time: Time = "",
    gpus_per_node: GpusPerNode = "",
    processes_per_node: ProcessesPerNode = None,
    constraint: Constraint = "",
    memory: Memory = "",
    cpus_per_task: CpusPerTask = None,
    stop_early: StopEarly = 300,
    max_restarts: MaxRestarts = 50,
    sbatch: Sbatch = None,
    setup: Setup = None,
    dry_run: DryRun = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay, and submit each round of a race when the one before has ended.")
    ] = False,
) -> None:
    """Submit the open runs of a suite to a SLURM cluster, as job arrays over a frozen manifest."""
    from harness.forecast.time_limit import FROM_FORECAST, time_limit
    from harness.launching.race import submit_rounds
    from harness.launching.slurm.batch import Resources
    from harness.launching.slurm.submission import Draft
    from harness.results.question import keep_question

    resources = Resources(
        partition=partition,
        account=account,
        time="" if time == FROM_FORECAST else time,
        constraint=constraint,
        memory=memory,
        gpus_per_node=gpus_per_node,
        processes_per_node=processes_per_node,
        cpus_per_task=cpus_per_task,
        max_tasks=max_tasks,
        runs_per_task=runs_per_task,
        stop_early_seconds=stop_early,
        max_restarts=max_restarts,
        sbatch=tuple(sbatch or ()),
        setup=tuple(setup or ()),
    )
    planned = plan_of(suite, set_, only, smoke, None, plugins=plugin)
    require_all_of_race(planned, suite, only, "submit")
    if follow and (not planned.race or dry_run):
        message = "--dry-run submits nothing" if planned.race else f"{planned.suite.name} is no race"
        raise HarnessError(f"--follow submits the rounds of a race, and {message}", "leave --follow out")

    def send(part: Plan) -> Draft:
        draft = Draft.of(part, output, resources)
        if time == FROM_FORECAST and draft.manifest.runs:
            limit, told = time_limit(output / planned.suite.name, draft.manifest.runs, runs_per_task, stop_early)
            _say(told)
            draft = Draft.of(part, output, dataclasses.replace(resources, time=limit))
        _say(draft.summary)
        if dry_run:
            print_text("\n".join(draft.scripts()))
        elif draft.manifest.runs:
            print_text(draft.submit().text())
            keep_question(planned, output)
        return draft

    if planned.race:
        draft = submit_rounds(planned, output, send, _say, begin=not dry_run, follow=follow)
    else:
        draft = send(planned)
    if draft and draft.manifest.runs and not (dry_run or follow):
        same = "".join(f" --set {shlex.quote(one)}" for one in set_ or [])
        same += "".join(f" --only {shlex.quote(one)}" for one in only or []) + " --smoke" * smoke
        same += "".join(f" --plugin {shlex.quote(str(one))}" for one in plugin or [])
        same += f" --output {shlex.quote(str(output))}" * (output != RESULTS)
        _say(f"watch it: harness status {shlex.quote(str(suite))}{same} --watch")
        _say("repeat the same `harness submit` for what is still open")


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
