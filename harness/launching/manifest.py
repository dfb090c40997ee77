"""The runs that a call, a launch or a task of SLURM is to do, resolved: the suite file is not read again.

`manifest.jsonl` says in its first line what the runs have in common, and then one run a line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness import registry
from harness.counted import counted
from harness.errors import HarnessError
from harness.plugin_files import changed
from harness.records.events import first_problem
from harness.records.files import open_file, write_atomically
from harness.records.planned import done_elsewhere
from harness.records.replaced import times_replaced
from harness.records.result import FINAL, Cause, Measurements, RunResult, Status
from harness.records.store import Attempt, RunFolder, now, run_folder
from harness.spec import RunSpec, SpecError
from harness.spec.code import files_from_outside
from harness.suite.file import Target
from harness.suite.mirroring import Mirroring
from harness.suite.plan import Plan, PlannedRun

MANIFEST_FILE = "manifest.jsonl"
HINT = "the same `harness submit` or `harness run` again writes another one, of this version of the harness"


@dataclass(frozen=True)
class Retrain:
    """A run that has a valid result and is to be trained again. The earlier record is set aside, not deleted.

    Attributes:
        attempt: of the record that is to be replaced, for a newer one is left alone; 0 where there is none, as the run
            is done under another suite.
        reason: one word or more, recorded in the run's events.
    """

    attempt: int
    reason: str

    @staticmethod
    def of(result: RunResult, reason: str) -> Retrain:
        """Returns what is to be done about a result that counts for a suite; see `harness.records.planned`."""
        return Retrain(0 if result.kept_under else result.attempt, reason)


class Manifest(BaseModel):
    """What is to be done.

    Attributes:
        suite: its name.
        output: the results root.
        runs: in the order of the plan; of a submission, sorted by their world size.
        plugins: the files outside the package that hold plug-ins of the runs, each with the hash of its code.
        metrics: those that hold metrics; the record of a run has the hash of their code when it ends.
        target: of the suite, if it has one.
        warm_up_seconds: of the run that is thrown away before the first one; None for the device's default.
        inference: whether trained networks are timed in use.
        mirroring: what the suite asks of trackers.
        any_system: whether a run counts as done that is done on any system, as in a submission.
        accumulation: gradient accumulation steps, by run_id, of runs that are tried again with smaller micro-batches.
        again: runs that are trained again although they are done, by run_id.
        packed: how many runs share the device.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    output: Path
    runs: tuple[PlannedRun, ...] = ()
    plugins: dict[Path, str] = {}
    metrics: tuple[Path, ...] = ()
    target: Target | None = None
    warm_up_seconds: float | None = None
    inference: bool = False
    mirroring: Mirroring = Mirroring()
    any_system: bool = False
    accumulation: dict[str, int] = {}
    again: dict[str, Retrain] = {}
    packed: int = 1

    @staticmethod
    def of(plan: Plan, output: Path) -> Manifest:
        """Returns the manifest of a whole plan."""
        file = plan.suite.file
        used = {tuple(spec.plugins().items()) for spec in plan.configs().values()}
        return Manifest(
            suite=file.name,
            output=output,
            runs=plan.runs,
            plugins={path: code for names in used for path, code in files_from_outside(dict(names)).items()},
            metrics=tuple(dict.fromkeys(one.path for one in registry.plugins("metric") if one.is_named)),
            target=file.target,
            warm_up_seconds=file.warm_up_seconds,
            inference=file.inference,
            mirroring=file.mirroring,
        )

    def files(self) -> list[Path]:
        """Returns the files of plug-ins, each once."""
        return [*self.plugins, *(path for path in self.metrics if path not in self.plugins)]

    def write(self, path: Path) -> None:
        """Writes the manifest.

        Raises:
            OSError: it cannot be written.
        """
        lines = itertools.chain([self.model_dump_json(exclude={"runs"})], (run.model_dump_json() for run in self.runs))
        write_atomically(path, lambda file: file.writelines(f"{line}\n".encode() for line in lines))

    @staticmethod
    def read(path: Path, lines: str = "") -> Manifest:
        """Reads a manifest.

        Args:
            path: its file.
            lines: which of its runs, `FIRST-LAST`, counted from 1; empty for all. The others are not looked at.

        Raises:
            HarnessError: it cannot be read, has no such runs, a file of its plug-ins has changed, or this harness
                understands it otherwise than its writer.
        """
        try:
            with open_file(path) as file:
                head, *rest = file.readlines() or [b""]
            manifest = Manifest.model_validate_json(head)
            registry.use(manifest.files())
            _require_unchanged(manifest.plugins)
            return manifest.model_copy(update={"runs": tuple(_thaw(line) for line in _chosen(rest, lines, path))})
        except ValidationError as error:
            problem = first_problem(error).removeprefix(": ")
        except OSError as error:
            problem = error.strerror or str(error)
        except (ValueError, SpecError) as error:
            problem = str(error).partition("\n")[0]
        raise HarnessError(f"cannot read {path}: {problem}", HINT)

    def without_done(self) -> Manifest:
        """Returns what is left of a submission: other tasks, or this one before it was queued again, did the rest."""
        if not self.any_system:
            return self
        # Under whichever suite, and on whichever system: a task that starts again may be on another one than before.
        done = {result.run_id for result in done_elsewhere(self.output, "", [run.run_id for run in self.runs])}
        return self.model_copy(update={"runs": tuple(run for run in self.runs if run.run_id not in done)})

    def folder(self, run: PlannedRun, system_id: str) -> RunFolder:
        """Returns where a run is recorded."""
        return run_folder(self.output, self.suite, run.run_id, system_id)

    def to_replace(self, run: PlannedRun, folder: RunFolder) -> RunResult | None:
        """Returns the record that is to be set aside before a run is trained again; None where there is none now."""
        again, result = self.again.get(run.run_id), folder.result()
        return result if again and result and result.status in FINAL and again.attempt == result.attempt else None

    def is_done(self, run: PlannedRun, folder: RunFolder) -> bool:
        """Tells whether a run need not be trained: it has a valid result, which is not to be replaced."""
        return folder.is_done() and self.to_replace(run, folder) is None

    def spec_to_train(self, run: PlannedRun) -> RunSpec:
        """Returns a run's spec, with smaller micro-batches where it is tried again so; its record keeps the suite's."""
        if run.run_id not in self.accumulation:
            return run.spec
        train = run.spec.train.model_copy(update={"gradient_accumulation_steps": self.accumulation[run.run_id]})
        return run.spec.model_copy(update={"train": train})

    def description(self, run: PlannedRun) -> dict[str, Any]:
        """Returns what a run's `spec.json` says."""
        ids = {"run_id": run.run_id, "config_id": run.config_id, "suite": self.suite}
        return {**ids, "spec": run.spec.model_dump(mode="json")}

    def result(
        self,
        run: PlannedRun,
        system_id: str,
        attempt: Attempt,
        status: Status,
        cause: Cause | None,
        measured: Measurements,
    ) -> RunResult:
        """Returns the record of a run that ends now."""
        return RunResult(
            **self.description(run),
            label=run.spec.label,
            system_id=system_id,
            seed=run.spec.seed,
            status=status,
            cause=cause,
            started_at=attempt.started_at,
            ended_at=now(),
            attempt=attempt.number,
            packed=attempt.packed,
            code=attempt.code,
            environment=attempt.environment,
            replaced=times_replaced(self.folder(run, system_id).path),
            num_processes=run.spec.train.world_size,
            **dict(measured),
        )


def _chosen(runs: Sequence[bytes], lines: str, path: Path) -> Sequence[bytes]:
    """Returns the runs that `--lines` asks for."""
    lines = lines or f"1-{len(runs)}"
    match = re.fullmatch(r"(\d+)-(\d+)", lines)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= first <= last <= len(runs):
        raise HarnessError(f"--lines {lines}: {path} has {counted(len(runs), 'run')}", "FIRST-LAST, e.g. 1-4")
    return runs[first - 1 : last]


def _require_unchanged(plugins: Mapping[Path, str]) -> None:
    for file in registry.files():
        if plugins.get(file.path, file.code) != file.code:
            raise changed(file.path)


def _thaw(line: bytes) -> PlannedRun:
    """Returns the run of a line.

    Raises:
        SpecError, ValueError: it is torn, or this harness understands it otherwise than the one that wrote it.
    """
    run = PlannedRun.model_validate_json(line)
    if run.spec.config_id() != run.config_id:
        raise ValueError(f"run {run.run_id} is another config now")
    return run
