"""A call of `harness run`: data are fetched, and what is open is done, by launches in turn or several at a time."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.counted import counted, is_are, was_were
from harness.data.download import Archive
from harness.data.prepare import absent, read_by
from harness.launching.launch_command import Launcher
from harness.launching.launch_folder import STOPPED
from harness.launching.manifest import Manifest, Retrain
from harness.launching.stop_signals import StopSignals
from harness.launching.supervisor import Display, Supervisor
from harness.measure.environment import timing_variables
from harness.measure.surroundings import Surroundings
from harness.measure.usable_gpus import before_training
from harness.records.claims import owner
from harness.records.comparable import marks, told_apart
from harness.records.planned import done_elsewhere
from harness.records.result import FINAL, RunResult
from harness.records.store import RunFolder
from harness.spec.code import own_code
from harness.suite.plan import PlannedRun
from harness.weights_files import Weights

DISTURBED = "disturbed"
OTHER_CODE = "other code"


def with_downloads(manifest: Manifest) -> Manifest:
    """Returns a manifest whose runs fetch their data, as `data.download: true` would; it is no part of an identity."""
    runs = []
    for run in manifest.runs:
        if "download" in type(run.spec.data).model_fields:
            data = run.spec.data.model_copy(update={"download": True})
            run = run.model_copy(update={"spec": run.spec.model_copy(update={"data": data})})
        runs.append(run)
    return manifest.model_copy(update={"runs": tuple(runs)})


def missing_archives(manifest: Manifest, system_id: str) -> list[tuple[Archive, bool]]:
    """Returns files that open runs need and that are not here, each once, and whether a run is told to fetch it."""
    missing = absent(run.spec.data for run in manifest.runs)
    found: dict[Path, tuple[Archive, bool]] = {}
    for run in open_runs(manifest, system_id) if missing else ():
        source = missing.get(read_by(run.spec.data))
        if source and source.archive:
            archive = source.archive
            found[archive.path] = archive, bool(source.download) or found.get(archive.path, (archive, False))[1]
    return list(found.values())


def open_runs(manifest: Manifest, system_id: str) -> list[PlannedRun]:
    """Returns the runs that are not done on a system, under this suite or another one; without an id all are open."""
    named = manifest.model_copy(update={"runs": tuple(run for run in manifest.runs if run.run_id)})
    done = KnownRuns.of(named, system_id).done
    return [run for run in manifest.runs if run.run_id not in done]


def missing_weights(manifest: Manifest, system_id: str) -> list[Weights]:
    """Returns pretrained weights that open runs need and that are not here, each once."""
    wanted = {run.run_id: weights for run in manifest.runs if (weights := run.spec.pretrained_weights())}
    if all(weights.is_here() for weights in wanted.values()):
        return []
    needed = [wanted[run.run_id] for run in open_runs(manifest, system_id) if run.run_id in wanted]
    return list({weights.path: weights for weights in needed if not weights.is_here()}.values())


def run_suite(
    manifest: Manifest,
    launcher: Launcher,
    system: dict[str, Any],
    display: Display,
    *,
    retake: int = 0,
    renew: bool = False,
) -> int:
    """Does what is open of a manifest.

    Args:
        retake: how often a run that was disturbed is trained again, after all others.
        renew: train again, together with the open runs, those that other code of the harness has trained.

    Returns:
        0 all well, 1 some runs failed, 2 bad input, 75 stopped.

    Raises:
        HarnessError: no run can start; a rank says why.
    """
    found = KnownRuns.of(manifest, system["system_id"])
    manifest = manifest.model_copy(update={"again": found.by_other_code if renew else {}})
    undone = []
    for run in manifest.runs:
        if run.run_id in manifest.again or (result := found.done.get(run.run_id)) is None:
            undone.append(run)
        else:
            display.count(result)
    packed = f", {launcher.packed} at a time: their times will not count" if launcher.packed > 1 else ""
    skipped = len(manifest.runs) - len(undone)
    told = f"; {skipped} {is_are(skipped)} done on this system: skipped" if skipped else ""
    display.note(f"{manifest.suite}: {counted(len(manifest.runs), 'run')}{told}{packed}")
    of_gpus = before_training() if undone and not launcher.is_told_to_use_cpu() else ()
    here = environments(launcher, system, undone if launcher.packed == 1 else ())
    for sentence in (*found.sentences(here, renew=renew), *of_gpus):
        display.note(sentence)
    with StopSignals(display.note) as stop:
        surroundings = Surroundings({os.getpid()})
        supervisor = Supervisor(manifest, launcher, system, display, stop, surroundings)
        code = supervisor.do(undone)
        for number in range(1, retake + 1):
            disturbed = found.disturbed(retake)
            if code or not disturbed:
                break
            runs = [run for run in manifest.runs if run.run_id in disturbed]
            several = counted(len(runs), "run")
            display.note(
                f"{several} {was_were(len(runs))} disturbed: trained again, in pass {number} of at most {retake}"
            )
            display.reopen(disturbed)
            again = manifest.model_copy(update={"again": disturbed})
            code = dataclasses.replace(supervisor, manifest=again).do(runs)
    if code == STOPPED:
        display.note("stopped: what was done is kept, the same command goes on from here")
    if code:
        return code
    borrowed = found.borrowed()
    elsewhere = {result.run_id for result in borrowed}
    kept = [folder for run_id, folder in found.folders.items() if run_id not in elsewhere]
    others = [who for folder in kept if not folder.is_done() and (who := owner(folder.path))]
    if others:
        several = counted(len(others), "run")
        display.note(f"{several} {is_are(len(others))} being done elsewhere: {others[0]}")
        return STOPPED
    results = [*borrowed, *(result for folder in kept if (result := folder.result()))]
    if retake and (left := sum(bool(result.disturbed) for result in results)):
        of, times = counted(len(results), "run"), counted(retake, "time")
        display.note(f"still disturbed: {left} of {of}; each was trained again up to {times}")
    return 0 if len(results) == len(found.folders) and all(result.status == "ok" for result in results) else 1


def is_to_retake(result: RunResult, folder: RunFolder, most: int) -> bool:
    """Tells whether `--retake` trains a run again: it was disturbed, and was not trained again for that `most` times.

    It never looks at a time or an accuracy: a rule that did would choose among them.
    """
    return result.status == "ok" and bool(result.disturbed) and folder.times_set_aside(DISTURBED) < most


@dataclass(frozen=True)
class KnownRuns:
    """What there is of a manifest's runs.

    Attributes:
        folders: of all of them, by run_id.
        done: the results of those that are done, by run_id, under this suite or another one.
        by_other_code: those of them that would be trained again by `--renew`.
    """

    folders: dict[str, RunFolder]
    done: dict[str, RunResult]
    by_other_code: dict[str, Retrain]

    @staticmethod
    def of(manifest: Manifest, system_id: str) -> KnownRuns:
        """Reads the records on a system."""
        folders = {run.run_id: manifest.folder(run, system_id) for run in manifest.runs}
        own = ((run_id, folder.result()) for run_id, folder in folders.items())
        done = {run_id: result for run_id, result in own if result and result.status in FINAL}
        left = [run_id for run_id in folders if run_id not in done]
        elsewhere = done_elsewhere(manifest.output, manifest.suite, left, system_id)
        done |= {result.run_id: result for result in elsewhere}
        code = {run.run_id: own_code(run.spec.plugins()) for run in manifest.runs if run.run_id in done}
        other = {i: Retrain.of(result, OTHER_CODE) for i, result in done.items() if result.code != code[i]}
        return KnownRuns(folders, done, other)

    def borrowed(self) -> list[RunResult]:
        """Returns the results under other suites, of runs that are not done under this one by now."""
        return [one for run_id, one in self.done.items() if one.kept_under and not self.folders[run_id].is_done()]

    def disturbed(self, most: int) -> dict[str, Retrain]:
        """Returns the runs that `--retake` trains again by now, by run_id, those under other suites at the end."""
        results = [result for folder in self.folders.values() if (result := folder.result())] + self.borrowed()
        again = [result for result in results if is_to_retake(result, self.folders[result.run_id], most)]
        return {result.run_id: Retrain.of(result, DISTURBED) for result in again}

    def of_another_environment(self, here: Mapping[int, dict[str, str]]) -> dict[str, RunResult]:
        """Returns the results, by run_id, whose times count and are of another environment than a launch's here.

        Args:
            here: by how many processes a launch has.
        """
        timed = {run_id: one for run_id, one in self.done.items() if one.status == "ok" and not marks(one)}
        return {
            run_id: one
            for run_id, one in timed.items()
            if one.num_processes in here and one.environment not in (None, here[one.num_processes])
        }

    def sentences(self, here: Mapping[int, dict[str, str]], *, renew: bool) -> Iterator[str]:
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
        if other := list(self.of_another_environment(here).values()):
            apart = told_apart(other[0].environment or {}, here[other[0].num_processes])
            yield f"{len(other)} of them ran in another environment ({apart}): times count only in that of most runs"


def environments(
    launcher: Launcher, system: Mapping[str, Any], runs: Iterable[PlannedRun]
) -> dict[int, dict[str, str]]:
    """Returns what changes run time in the environment of a launch, by how many processes runs have."""
    device = "cpu" if system.get("gpu") is None else "cuda"
    sizes = {run.spec.train.world_size for run in runs}
    return {size: timing_variables(device, launcher.environment(size)) for size in sizes}
