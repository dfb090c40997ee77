"""Runs that go on now, as their folders tell: who does each, how far it is, and when it last gave a sign of life."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records.claims import STALE_SECONDS, owning_claim
from harness.records.events import EVENTS, STARTS, read_events
from harness.records.files import read_object
from harness.records.read import SPEC


@dataclass(frozen=True)
class OngoingRun:
    """A run that a process does.

    Attributes:
        label, seed: of the run; empty and None where the process has not written them yet.
        repeat: of an anchor, which repetition it is; else 0.
        epoch: the one that it is in, counted from 1; None until its folder is open.
        epochs: that it has.
        heartbeat_seconds: since its process last gave a sign of life, by the clocks of two machines.
        host, pid, slurm_job, since: of the process; None where its claim does not say.
    """

    run_id: str
    label: str
    seed: int | None
    repeat: int
    epoch: int | None
    epochs: int | None
    heartbeat_seconds: float
    host: str | None
    pid: int | None
    slurm_job: str | None
    since: str | None

    def text(self) -> str:
        """Returns one line for a person."""
        anchor = f" · anchor {self.repeat}" if self.repeat else ""
        name = f"{self.label} · seed {self.seed}{anchor}" if self.label else self.run_id
        at = f"epoch {self.epoch} of {self.epochs}" if self.epoch else "starting"
        seconds = f"{self.heartbeat_seconds:,.0f} s"
        beat = f"heartbeat {seconds} ago" if self.heartbeat_seconds <= STALE_SECONDS else f"no heartbeat for {seconds}"
        job = f", SLURM job {self.slurm_job}" if self.slurm_job else ""
        words = f"{self.host}, pid {self.pid}{job}" if self.host else "by a process that its claim does not name"
        return f"{name} · {at} · {beat} · {words if words.isprintable() else ascii(words)}"


def ongoing_run(folder: str, run_id: str, now: float) -> OngoingRun | None:
    """Returns how far a run is that a process does; None where none does.

    Args:
        folder: of the run on a system.
        run_id: of the run.
        now: time of day, in seconds.
    """
    claim = owning_claim(Path(folder))
    if claim is None:
        return None
    spec: dict[str, Any] = {}
    epoch = epochs = None
    with contextlib.suppress(OSError, ValueError, KeyError):
        spec = read_object(f"{folder}/{SPEC}")["spec"]
        epoch, epochs = _epoch(read_events(f"{folder}/{EVENTS}")[0], claim.generation)
    words = ("host", "slurm_job", "claimed_at")
    told = {name: str(claim.record[name])[:64] for name in words if claim.record.get(name)}
    pid = claim.record.get("pid")
    return OngoingRun(
        run_id,
        label=str(spec.get("label") or ""),
        seed=spec.get("seed"),
        repeat=spec.get("repeat") or 0,
        epoch=epoch,
        epochs=epochs,
        heartbeat_seconds=round(max(0.0, now - claim.heartbeat), 1),
        host=told.get("host"),
        pid=pid if isinstance(pid, int) else None,
        slurm_job=told.get("slurm_job"),
        since=told.get("claimed_at"),
    )


def _epoch(events: list[dict[str, Any]], generation: int) -> tuple[int | None, int | None]:
    """Returns the epoch that a run is in, counted from 1, and how many it has; None before its owner opens it."""
    starts = [at for at, event in enumerate(events) if event["event"] in STARTS]
    start = events[starts[-1]] if starts else {}
    if not start.get("epochs") or start.get("generation", 0) != generation:
        return None, None
    epochs = int(start["epochs"])
    # One that went on from a checkpoint does some epochs again, whose events are there already.
    through = start.get("step", 0) * epochs // max(1, start.get("steps", 0))
    since = [event["epoch"] + 1 for event in events[starts[-1] :] if event["event"] == "epoch"]
    return min(max([through, *since]) + 1, epochs), epochs
