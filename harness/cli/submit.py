"""`harness submit`."""

from __future__ import annotations

import dataclasses
import shlex
import sys

from harness.cli.app import RESULTS, app, plan_of, print_text
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
) -> None:
    """Submit the open runs of a suite to a SLURM cluster, as job arrays over a frozen manifest."""
    from harness.forecast.time_limit import FROM_FORECAST, time_limit
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
    arguments = {"suite": str(suite), "set": set_ or [], "only": only or [], "smoke": smoke}
    arguments["plugin"] = [str(one) for one in plugin or []]
    planned = plan_of(suite, set_, only, smoke, None, plugins=plugin)
    draft = Draft.of(planned, output, resources, arguments)
    if time == FROM_FORECAST and draft.manifest.runs:
        limit, told = time_limit(output / planned.suite.name, draft.manifest.runs, runs_per_task, stop_early)
        sys.stderr.write(f"{told}\n")
        draft = Draft.of(planned, output, dataclasses.replace(resources, time=limit), arguments)
    sys.stderr.write(draft.summary + "\n")
    if dry_run:
        print_text("\n".join(draft.scripts()))
    elif draft.manifest.runs:
        print_text(draft.submit().text())
        keep_question(planned, output)
        same = "".join(f" --set {shlex.quote(one)}" for one in set_ or [])
        same += "".join(f" --only {shlex.quote(one)}" for one in only or []) + " --smoke" * smoke
        same += "".join(f" --plugin {shlex.quote(str(one))}" for one in plugin or [])
        same += f" --output {shlex.quote(str(output))}" * (output != RESULTS)
        sys.stderr.write(
            f"watch it: harness status {shlex.quote(str(suite))}{same} --watch\n"
            "repeat the same `harness submit` for what is still open\n"
        )
