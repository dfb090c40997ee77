"""Checkpoints of runs that a suite no longer has."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.prepare import fingerprint
from harness.records.store import run_folder
from harness.running.all_runs import unused_checkpoints
from harness.suite.plan import PlannedRun, load_suite

SUITE = """
name: edited
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: EPOCHS}}
matrix: {model.dropout: [0.1, 0.2]}
"""


def planned(folder: Path, epochs: int) -> tuple[PlannedRun, ...]:
    """Returns the two runs of a suite that may have been edited."""
    path = folder / "edited.yaml"
    path.write_text(SUITE.replace("EPOCHS", str(epochs)))
    return load_suite(path).plan(fingerprint).runs


def save_checkpoint(root: Path, run: PlannedRun, step: int, system_id: str = "here") -> Path:
    """Commits a checkpoint of a run and returns its folder."""
    identity = {
        "run_id": run.run_id,
        "num_processes": 1,
        "fingerprint": run.fingerprint,
        "spec": run.spec.model_dump(mode="json"),
    }
    return run_folder(root, "edited", run.run_id, system_id).checkpoints.commit(step, {"a": b"a"}, identity)


def test_the_checkpoint_of_an_edited_run_is_named_with_the_difference(tmp_path: Path) -> None:
    old, new = planned(tmp_path, 6), planned(tmp_path, 5)
    save_checkpoint(tmp_path, old[0], 20)
    path = save_checkpoint(tmp_path, old[0], 30)
    (sentence,) = unused_checkpoints(tmp_path / "edited", "here", new)
    assert sentence.startswith(f"{new[0].spec.label} · seed {new[0].spec.seed} begins anew: the checkpoint of step 30")
    assert str(path.parent) in sentence and "(spec.train.epochs was 6, is 5)" in sentence


@pytest.mark.parametrize("case", ["its own", "another system", "damaged", "not to be done", "none"])
def test_nothing_is_said_of_other_checkpoints(case: str, tmp_path: Path) -> None:
    old, new = planned(tmp_path, 6), planned(tmp_path, 5)
    if case != "none":
        run = new[0] if case == "its own" else old[0]
        path = save_checkpoint(tmp_path, run, 30, "elsewhere" if case == "another system" else "here")
        if case == "damaged":
            (path / "a").write_bytes(b"b")
    wanted = new[1:] if case == "not to be done" else new
    assert list(unused_checkpoints(tmp_path / "edited", "here", wanted)) == []
