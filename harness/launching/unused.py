"""Checkpoints of runs that a suite no longer has, because it was edited: who waits for a run to go on should know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.records.checkpoints import CheckpointFolder, run_differences
from harness.suite.plan import PlannedRun


def unused_checkpoints(suite_folder: Path, system_id: str, runs: Iterable[PlannedRun]) -> Iterator[str]:
    """Yields a sentence for each newest checkpoint that has the label and seed of a run, but is of another run.

    Args:
        suite_folder: of the suite's records.
        system_id: whose records.
        runs: that are to be done.
    """
    by_name: dict[tuple[Any, Any], PlannedRun] = {(run.spec.label, run.spec.seed): run for run in runs}
    names = {run.run_id for run in by_name.values()}
    for folder in sorted({path.parent for path in suite_folder.glob(f"*/{system_id}/checkpoints/step-*")}):
        if folder.parents[1].name in names:
            continue
        checkpoint, _ = CheckpointFolder(folder).newest()
        spec = checkpoint.run.get("spec", {}) if checkpoint else {}
        run = by_name.get((spec.get("label"), spec.get("seed")))
        if checkpoint and run:
            wanted = {"fingerprint": run.fingerprint, "spec": run.spec.model_dump(mode="json")}
            found = {key: checkpoint.run.get(key) for key in wanted}
            changes = "; ".join(run_differences(found, wanted))
            yield (
                f"{run.name} begins anew: the checkpoint of step {checkpoint.step} in "
                f"{folder} is of another run ({changes})"
            )
