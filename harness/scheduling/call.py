"""A call of `harness run`: what is open is done, by one launch after the other or by several at a time."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from rich.console import Console

from harness.measure.surroundings import Surroundings
from harness.records.claims import owner
from harness.records.planned import done_elsewhere
from harness.records.result import FINAL
from harness.scheduling.again import asked, renew_rule, retake_rule
from harness.scheduling.commands import Launcher
from harness.scheduling.display import Display
from harness.scheduling.launch import STOPPED
from harness.scheduling.manifest import Manifest
from harness.scheduling.pack import do_packed
from harness.scheduling.stop_signals import StopSignals
from harness.scheduling.supervisor import Supervisor
from harness.spec.code import own_code
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
    retake: int = 0,
    renew: bool = False,
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
        retake: how often a run that was disturbed is trained again, after all others.
        renew: train again, together with the open runs, those that other code of the harness has trained.

    Returns:
        0 all well, 1 some runs failed, 2 bad input, 75 stopped.

    Raises:
        HarnessError: no run can start; a rank says why.
    """
    folders = {run.run_id: manifest.folder(run, system["system_id"]) for run in manifest.runs}
    other_code = asked(renew_rule({run.run_id: own_code(run.spec.plugins()) for run in manifest.runs}), folders)
    manifest = dataclasses.replace(manifest, again=other_code if renew else {})
    own = {run_id: result for run_id, folder in folders.items() if (result := folder.result())}
    left = [run_id for run_id in folders if run_id not in own or own[run_id].status not in FINAL]
    elsewhere = done_elsewhere(manifest.output, manifest.suite, left, system["system_id"])
    borrowed = {result.run_id: result for result in elsewhere}
    done = {i: result for i, result in (own | borrowed).items() if result.status in FINAL and i not in manifest.again}
    for run in manifest.runs:
        if run.run_id in done:
            display.count(done[run.run_id], run.name)
    open_runs = [run for run in manifest.runs if run.run_id not in done]
    total = len(manifest.runs)
    skipped = f"; {len(done)} are done on this system: skipped" if done else ""
    packed = f", {launcher.packed} at a time: their times will not count" if launcher.packed > 1 else ""
    console.print(f"{manifest.suite}: {total} runs{skipped}{packed}")
    if borrowed:
        suites = ", ".join(sorted({str(result.elsewhere) for result in borrowed.values()}))
        console.print(
            f"{len(borrowed)} of them under other suites ({suites}): their accuracy counts here, their times do not",
            markup=False,
        )
    if other_code and not renew:
        unknown = sum(own[run_id].code is None for run_id in other_code)
        told = f" ({unknown} by code that their records do not name)" if unknown else ""
        console.print(
            f"{len(other_code)} of them were trained by other code of the harness{told}: --renew trains them again"
        )
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
    kept = [folder for run_id, folder in folders.items() if run_id not in borrowed]
    others = [who for folder in kept if not folder.is_done() and (who := owner(folder.path))]
    if others:
        console.print(f"{len(others)} runs are being done elsewhere: {others[0]}", markup=False)
        return STOPPED
    results = [*borrowed.values(), *(result for folder in kept if (result := folder.result()))]
    if retake and (left := sum(bool(result.disturbed) for result in results)):
        console.print(f"still disturbed: {left} of {len(results)} runs; each was trained again up to {retake} times")
    return 0 if len(results) == len(folders) and all(result.status == "ok" for result in results) else 1
