"""Runs that are to be done, resolved: the suite file is not read again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.launching.packing import Slot
from harness.launching.retrain import Retrain
from harness.records.files import write_json
from harness.records.replaced import times_replaced
from harness.records.result import FINAL, Cause, Measurements, RunResult, Status
from harness.records.store import Attempt, RunFolder, now, run_folder
from harness.spec import RunSpec
from harness.suite.file import Target
from harness.suite.mirroring import Mirroring
from harness.suite.plan import Plan, PlannedRun

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a launch, or a whole call, is to do.

    Attributes:
        suite: its name.
        output: the results root.
        target: of the suite, if it has one.
        runs: in the order of the plan.
        done, total: of all that was asked for, for the progress bar.
        warm_up_seconds: of the run that is thrown away before the first one; None for the device's default.
        accumulation: gradient accumulation steps, by run_id, of runs that are tried again with smaller micro-batches.
        again: runs that are trained again although they are done, by run_id.
        mirroring: what the suite asks of trackers; no launch is told, they stand beside it.
        slot: which of several launches at a time does those of the runs that it takes; None where one does them all.
    """

    suite: str
    output: Path
    target: Target | None
    runs: tuple[PlannedRun, ...]
    done: int
    total: int
    warm_up_seconds: float | None = None
    accumulation: dict[str, int] = dataclasses.field(default_factory=dict)
    again: dict[str, Retrain] = dataclasses.field(default_factory=dict)
    slot: Slot | None = None
    mirroring: Mirroring = dataclasses.field(default_factory=Mirroring)

    @staticmethod
    def of(plan: Plan, output: Path) -> Manifest:
        """Returns the manifest of a whole plan."""
        file = plan.suite.file
        counts = 0, len(plan.runs), file.warm_up_seconds
        return Manifest(file.name, output, file.target, plan.runs, *counts, mirroring=file.mirroring)

    @property
    def packed(self) -> int:
        """How many runs share the device."""
        return self.slot.of if self.slot else 1

    def takes(self, run: PlannedRun) -> bool:
        """Tells whether the launch of this manifest does a run; of several launches at a time, the first that asks."""
        return self.slot is None or self.slot.takes(run.run_id)

    def has_left(self, run: PlannedRun) -> bool:
        """Tells whether no other launch has taken a run; it may be this one's since earlier."""
        return self.slot is None or self.slot.is_left(run.run_id)

    def folder(self, run: PlannedRun, system_id: str) -> RunFolder:
        """Returns where a run is recorded."""
        return run_folder(self.output, self.suite, run.run_id, system_id)

    def to_replace(self, run: PlannedRun, folder: RunFolder) -> RunResult | None:
        """Returns the record that is to be set aside before a run is trained again; None where there is none now."""
        again, result = self.again.get(run.run_id), folder.result()
        return result if again and result and result.status in FINAL and again.is_of(result) else None

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
            replaced=times_replaced(self.folder(run, system_id).path),
            num_processes=run.spec.train.num_processes or 1,
            **dict(measured),
        )

    def write(self, folder: Path) -> None:
        """Writes the manifest into a launch folder."""
        value = {
            "suite": self.suite,
            "output": str(self.output),
            "target": self.target.model_dump() if self.target else None,
            "done": self.done,
            "total": self.total,
            "warm_up_seconds": self.warm_up_seconds,
            "accumulation": self.accumulation,
            "again": {run_id: dataclasses.asdict(again) for run_id, again in self.again.items()},
            "slot": self.slot.as_json() if self.slot else None,
            "runs": [run.model_dump(mode="json") for run in self.runs],
        }
        write_json(folder / NAME, value)

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Reads the manifest of a launch folder."""
        value = json.loads((folder / NAME).read_bytes())
        runs = tuple(map(PlannedRun.model_validate, value["runs"]))
        target = Target.model_validate(value["target"]) if value["target"] else None
        counts = value["done"], value["total"], value["warm_up_seconds"], value["accumulation"]
        again = {run_id: Retrain(**one) for run_id, one in value["again"].items()}
        slot = Slot.from_json(value["slot"]) if value["slot"] else None
        return Manifest(value["suite"], Path(value["output"]), target, runs, *counts, again, slot)
