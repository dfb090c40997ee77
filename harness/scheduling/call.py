"""A call of `harness run`: what is open is done, by one launch after the other or by several at a time."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from rich.console import Console

from harness.measure.surroundings import Surroundings
from harness.records.claims import owner
from harness.records.result import FINAL
from harness.scheduling.again import Rule, asked, never, retake_rule
from harness.scheduling.commands import Launcher
from harness.scheduling.display import Display
from harness.scheduling.launch import STOPPED
from harness.scheduling.manifest import Manifest
from harness.scheduling.pack import do_packed
from harness.scheduling.stop_signals import StopSignals
from harness.scheduling.supervisor import Supervisor
from harness.suite.plan import PlannedRun


def do_open_runs(
    manifest: Manifest,
    launcher: Launcher,
    system: dict[str, Any],
    arguments: list[str],
    console: Console,
    display: Display,
    *,
    isolate: bool = False,
    again: Rule = never,
    retake: int = 0,
) -> int:
    """Does what is open of a manifest.

    Args:
        manifest: the runs.
        launcher: starts processes, so many at a time as it says.
        system: that they will run on.
        arguments: of the script, to be seen in a list of processes; the runs come from the manifest.
        console: for what a person reads, on stderr.
        display: shows the runs meanwhile, on the same console.
        isolate: a fresh process for each run.
        again: says which runs that are done are trained again, together with those that are open.
        retake: how often a run that was disturbed is trained again, after all others.

    Returns:
        0 all well, 1 some runs failed, 2 bad input, 75 stopped.

    Raises:
        HarnessError: no run can start; a rank says why.
    """
    folders = {run.run_id: manifest.folder(run, system["system_id"]) for run in manifest.runs}
    manifest = dataclasses.replace(manifest, again=asked(again, folders))
    open_runs: list[PlannedRun] = []
    for run in manifest.runs:
        result = folders[run.run_id].result()
        if result is None or result.status not in FINAL or run.run_id in manifest.again:
            open_runs.append(run)
        else:
            display.count(result, run.name)
    total, done = len(manifest.runs), len(manifest.runs) - len(open_runs)
    skipped = f"; {done} are done on this system: skipped" if done else ""
    packed = f", {launcher.packed} at a time: their times will not count" if launcher.packed > 1 else ""
    console.print(f"{manifest.suite}: {total} runs{skipped}{packed}")
    surroundings = Surroundings({os.getpid()})
    with StopSignals(console) as stop:

        def do(manifest: Manifest, runs: list[PlannedRun]) -> int:
            def supervised(manifest: Manifest) -> int:
                supervisor = Supervisor(manifest, launcher, system, arguments, console, display, stop, surroundings)
                return supervisor.do(runs, isolate=isolate)

            if launcher.packed > 1:
                return do_packed(manifest, launcher.packed, len(runs), supervised, stop)
            return supervised(manifest)

        code = do(manifest, open_runs)
        for number in range(1, retake + 1):
            disturbed = asked(retake_rule(retake), folders)
            if code or not disturbed:
                break
            runs = [run for run in manifest.runs if run.run_id in disturbed]
            several = f"{len(runs)} runs were" if len(runs) > 1 else "1 run was"
            console.print(f"{several} disturbed: trained again, in pass {number} of at most {retake}")
            code = do(dataclasses.replace(manifest, again=disturbed), runs)
    if code == STOPPED:
        console.print("stopped: what was done is kept, the same command goes on from here")
    if code:
        return code
    elsewhere = [who for folder in folders.values() if not folder.is_done() and (who := owner(folder.path))]
    if elsewhere:
        console.print(f"{len(elsewhere)} runs are being done elsewhere: {elsewhere[0]}", markup=False)
        return STOPPED
    results = [result for folder in folders.values() if (result := folder.result())]
    if retake and (left := sum(bool(result.disturbed) for result in results)):
        console.print(f"still disturbed: {left} of {len(results)} runs; each was trained again up to {retake} times")
    return 0 if len(results) == len(folders) and all(result.status == "ok" for result in results) else 1
