"""A call of `harness run`: what is open is done, by one launch after the other or by several at a time."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from harness.counted import counted, is_are, was_were
from harness.launching.display import Display
from harness.launching.launch_command import Launcher
from harness.launching.launch_folder import STOPPED
from harness.launching.manifest import Manifest
from harness.launching.packing import do_packed
from harness.launching.retrain import Retrain, Rule, asked, renew_rule, retake_rule
from harness.launching.stop_signals import StopSignals
from harness.launching.supervisor import Supervisor
from harness.measure.surroundings import Surroundings
from harness.records.claims import owner
from harness.records.planned import done_elsewhere
from harness.records.result import FINAL, RunResult
from harness.records.store import RunFolder
from harness.spec.code import own_code
from harness.suite.plan import PlannedRun


def run_suite(
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
    found = _look(manifest, folders, system["system_id"])
    manifest = dataclasses.replace(manifest, again=found.by_other_code if renew else {})
    open_runs = []
    for run in manifest.runs:
        if run.run_id in manifest.again or (result := found.done.get(run.run_id)) is None:
            open_runs.append(run)
        else:
            display.count(result)
    packed = f", {launcher.packed} at a time: their times will not count" if launcher.packed > 1 else ""
    skipped = len(manifest.runs) - len(open_runs)
    told = f"; {skipped} {is_are(skipped)} done on this system: skipped" if skipped else ""
    console.print(f"{manifest.suite}: {counted(len(manifest.runs), 'run')}{told}{packed}")
    rule = retake_rule(retake)
    split = found.split_by(found.asked(rule, folders)) if retake and not renew else ()
    for sentence in (*found.sentences(renew=renew), *split):
        console.print(sentence, markup=False, soft_wrap=True)
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
            disturbed = found.asked(rule, folders)
            if code or not disturbed:
                break
            runs = [run for run in manifest.runs if run.run_id in disturbed]
            several = counted(len(runs), "run")
            console.print(
                f"{several} {was_were(len(runs))} disturbed: trained again, in pass {number} of at most {retake}"
            )
            display.reopen(disturbed)
            code = do(dataclasses.replace(manifest, again=disturbed), runs)
    if code == STOPPED:
        console.print("stopped: what was done is kept, the same command goes on from here")
    if code:
        return code
    borrowed = found.borrowed(folders)
    elsewhere = {result.run_id for result in borrowed}
    kept = [folder for run_id, folder in folders.items() if run_id not in elsewhere]
    others = [who for folder in kept if not folder.is_done() and (who := owner(folder.path))]
    if others:
        several = counted(len(others), "run")
        console.print(
            f"{several} {is_are(len(others))} being done elsewhere: {others[0]}", markup=False, soft_wrap=True
        )
        return STOPPED
    results = [*borrowed, *(result for folder in kept if (result := folder.result()))]
    if retake and (left := sum(bool(result.disturbed) for result in results)):
        of, times = counted(len(results), "run"), counted(retake, "time")
        console.print(f"still disturbed: {left} of {of}; each was trained again up to {times}")
    return 0 if len(results) == len(folders) and all(result.status == "ok" for result in results) else 1


@dataclass(frozen=True)
class _KnownRuns:
    """What there is of a manifest's runs.

    Attributes:
        done: the results of those that are done, by run_id, under this suite or another one.
        by_other_code: those of them that would be trained again by `--renew`.
    """

    done: dict[str, RunResult]
    by_other_code: dict[str, Retrain]

    def borrowed(self, folders: dict[str, RunFolder]) -> list[RunResult]:
        """Returns the results under other suites, of runs that are not done under this one by now."""
        return [result for run_id, result in self.done.items() if result.kept_under and not folders[run_id].is_done()]

    def asked(self, rule: Rule, folders: dict[str, RunFolder]) -> dict[str, Retrain]:
        """Returns the runs of which a rule says by now that they are to be trained again, by run_id."""
        again = asked(rule, folders)
        for result in self.borrowed(folders):
            if reason := rule(result, folders[result.run_id]):
                again[result.run_id] = Retrain.of(result, reason)
        return again

    def split_by(self, again: Collection[str]) -> Iterator[str]:
        """Yields what a person should know where only some runs of a config by other code are trained again."""
        by_other_code = [run_id for run_id in self.by_other_code if run_id in again]
        configs = {self.done[run_id].config_id for run_id in by_other_code}
        others = [self.done[run_id] for run_id in self.by_other_code if run_id not in again]
        rest = sum(bool(one.code) and one.config_id in configs for one in others)  # unknown code counts beside any
        if rest:
            several = "s" if len(by_other_code) > 1 else ""
            whose = "these configs" if len(configs) > 1 else "the same config"
            what = f"{rest} other runs of {whose} are" if rest > 1 else f"1 other run of {whose} is"
            yield (
                f"--retake trains {len(by_other_code)} run{several} again that other code of the harness trained: "
                f"{what} then left out of the tables, until --renew trains what is left"
            )

    def sentences(self, *, renew: bool) -> Iterator[str]:
        """Yields what a person should know of them."""
        borrowed = [str(result.elsewhere) for result in self.done.values() if result.elsewhere]
        if borrowed:
            suites = f"other suites ({', '.join(sorted(set(borrowed)))})"
            yield f"{len(borrowed)} of them under {suites}: the accuracy counts here, times do not"
        if self.by_other_code and not renew:
            unknown = sum(self.done[run_id].code is None for run_id in self.by_other_code)
            told = f" ({unknown} by code that their records do not name)" if unknown else ""
            count = len(self.by_other_code)
            trained = f"{was_were(count)} trained by other code of the harness"
            yield f"{count} of them {trained}{told}: --renew trains them again"


def _look(manifest: Manifest, folders: dict[str, RunFolder], system_id: str) -> _KnownRuns:
    results = {run_id: result for run_id, folder in folders.items() if (result := folder.result())}
    done = {run_id: result for run_id, result in results.items() if result.status in FINAL}
    left = [run_id for run_id in folders if run_id not in done]
    elsewhere = done_elsewhere(manifest.output, manifest.suite, left, system_id)
    done |= {result.run_id: result for result in elsewhere}
    plugins = {run.run_id: run.spec.plugins() for run in manifest.runs}
    rule = renew_rule(lambda run_id: own_code(plugins[run_id]))
    found = {run_id: rule(result, folders[run_id]) for run_id, result in done.items()}
    return _KnownRuns(done, {run_id: Retrain.of(done[run_id], reason) for run_id, reason in found.items() if reason})
