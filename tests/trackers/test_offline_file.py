"""What W&B's own client writes to this disk is what our records say, number by number, and nothing else."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.records.store import RunFolder
from harness.trackers.entries import read_entries
from harness.trackers.mirror import RunMirror
from harness.trackers.options import Tracking
from harness.trackers.weights_and_biases import WandbRun, end_client
from tests.trackers import records, wandb_file

CANARIES = ("canary-argv", "canary-host", "canary-slurm", "canary-remote", "canary-user", "canary@mail.example")


def write(folder: RunFolder) -> list[Any]:
    """Writes a run offline, and returns the records of its one file."""
    tracking = Tracking(("wandb",), offline=True, patience_seconds=60)
    RunMirror(folder, lambda entries, run: WandbRun(entries, run, tracking)).advance(to_the_end=True)
    end_client()  # it writes the last of the file
    [path] = folder.path.glob("wandb/offline-run-*/*.wandb")
    return wandb_file.read_records(path)


@pytest.mark.usefixtures("offline")
def test_numbers_are_those_of_the_records(tmp_path: Path) -> None:
    folder = records.whole(tmp_path / "results")
    found = write(folder)

    epochs, rows = folder.epochs(), wandb_file.history(found)
    assert [row["_step"] for row in rows] == [1, 2, 3]
    total = 0.0
    for epoch, row in enumerate(rows):
        event = epochs[epoch]
        total += event["train_seconds"]
        assert (row["epoch"], row["train_seconds"], row["learning_rate"]) == (epoch + 1, total, event["learning_rate"])
        assert row["epoch/train_seconds"] == event["train_seconds"]
        for split, values in event["metrics"].items():
            for name, value in values.items():
                assert row.get(f"{split}/{name}") == row.get(f"by_train_seconds/{split}/{name}") == value
        assert "epoch/train_joules" not in row, "what was not measured is left out, not 0"

    result, summary = folder.result(), wandb_file.summary(found)
    assert result
    assert summary["clock/train_seconds"] == result.clock.train_seconds == total
    assert summary["test/accuracy"] == result.metrics["test"].accuracy
    assert summary["status"] == "ok" and wandb_file.only(found, "exit").exit_code == 0
    config, run = wandb_file.config(found), wandb_file.only(found, "run")
    assert config["model"]["name"] == "mlp" and config["optimizer"]["lr"] == 0.1
    assert config["train"]["epochs"] == 3 and config["system"]["cpu"] == "AMD EPYC"
    entries = read_entries(folder)
    assert entries and (run.run_id, run.run_group, run.display_name) == (
        entries.id,
        entries.group,
        "mlp, sgd (seed 0)",
    )


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a remote and a committer, and an environment of a job, that must not be told."""
    place = tmp_path / "repository"
    place.mkdir()
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://git.example/canary-remote.git"],
        ["config", "user.email", "canary@mail.example"],
        ["-c", "user.name=canary-user", "commit", "--quiet", "--allow-empty", "--message", "x"],
    ):
        subprocess.run(["git", *command], cwd=place, check=True)
    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.argv", ["canary-argv", "--password=canary-argv"])
    monkeypatch.setattr(socket, "gethostname", lambda: "canary-host")
    monkeypatch.setenv("SLURM_JOB_ACCOUNT", "canary-slurm")
    monkeypatch.setenv("WANDB_USERNAME", "canary-user")
    return place


@pytest.mark.usefixtures("offline", "watched")
def test_nothing_that_names_a_person_or_a_machine(tmp_path: Path) -> None:
    folder = records.whole(tmp_path / "results")
    found = write(folder)
    assert not [record for record in found if record.WhichOneof("record_type") in ("environment", "output_raw")]
    assert not wandb_file.only(found, "run").host
    [written] = folder.path.glob("wandb/offline-run-*/*.wandb")
    uploaded = [written, *(path for path in written.parent.glob("files/**/*") if path.is_file())]
    for canary in CANARIES:
        assert not [path.name for path in uploaded if canary.encode() in path.read_bytes()], canary
    assert not list(written.parent.glob("files/code*")) and not list(written.parent.glob("files/*.patch"))


@pytest.mark.usefixtures("offline")
def test_one_offline_folder_holds_all_of_a_run_that_went_on(tmp_path: Path) -> None:
    root = tmp_path / "results"
    folder = records.begin(root)
    records.epoch_event(folder, 0)
    assert [row["_step"] for row in wandb_file.history(write(folder))] == [1]
    records.begin(root, resumed_at_step=12)
    records.epoch_event(folder, 1)
    records.end(root)
    assert [row["_step"] for row in wandb_file.history(write(folder))] == [1, 2]


@pytest.mark.parametrize("header", [b":W&C\xe1\xbe\x00", b":W&B\xe1\xbe\x01", b":W&B\xe0\xbe\x00"])
def test_another_format_is_noticed(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "run.wandb").write_bytes(header + bytes(100))
    with pytest.raises(wandb_file.FormatChanged, match="format has changed"):
        wandb_file.read_records(tmp_path / "run.wandb")
