"""What a tracker beside a run costs it: the train time of runs with a mirror beside those without, interleaved.

    python benchmarks/performance/tracking.py [--json] [--rounds 10] [--epochs 20] [--server answers stalls refuses]

The server is a program of this machine that speaks W&B's protocol, and that answers, holds every answer back, or
refuses each with an error; W&B's own client talks to it. A round is one run of each kind in an order that turns, all in
one process that stays; a ratio is that of a run to the run without a tracker in its round. `low` and `high` bound the
median (95 %, order statistics of the rounds). A machine's noise is larger than what is looked for, so
the processor time of all processes that mirror is measured by itself, too, beside a run that trains nothing: to start
them, to open a run at the server, and, with an epoch every second, as a share of one core, which is the most that they
can take from a run that needs its cores whole.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from overhead import CASES, IMAGE, harness_loop, timed
from ratios import median_of

from harness.launching.launch_folder import Heartbeat
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.records.store import RunFolder
from harness.trackers.options import Tracking
from harness.trackers.tracker_process import tracked

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.trackers import records
from tests.trackers.server import ENTITY, KEY, Server, serving

ARCHITECTURE = "cnn3"
FAULTS = {"answers": "", "stalls": "stall", "refuses": "500"}
PATIENCE_SECONDS = 5.0
SETTLE_SECONDS = 8.0  # imports and the client's own process, which a real run's imports and data hide


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100, help="of an epoch")
    parser.add_argument("--settle", type=float, default=SETTLE_SECONDS, help="seconds until a run with a mirror begins")
    parser.add_argument("--seconds", type=int, default=20, help="for which a mirror is measured by itself")
    parser.add_argument("--server", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    found = measure(
        arguments.server, arguments.rounds, arguments.epochs, arguments.steps, arguments.settle, arguments.seconds
    )
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(
        f"{found['system']}, {found['threads']} threads; {ARCHITECTURE}, {arguments.epochs} epochs of "
        f"{found['epoch_seconds']:.3f} s, {arguments.rounds} rounds\n"
    )
    for name, kind in found["servers"].items():
        sys.stdout.write(
            f"{name}: train time x {kind['median']:.4f} ({kind['low']:.4f} to {kind['high']:.4f}); by itself "
            f"{kind['share_of_a_core']:.3%} of a core, {kind['opening_cpu_seconds']:.2f} s of processor time to open a "
            f"run and {kind['start_cpu_seconds']:.2f} s before\n"
        )


def measure(servers: list[str], rounds: int, epochs: int, steps: int, settle: float, by_itself: int) -> dict[str, Any]:
    """Returns the ratios of train times, and the processor time that mirrors take."""
    keep_freed_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device, size = accelerator.device, CASES[ARCHITECTURE]
    batch = (torch.randn(size, *IMAGE, device=device), torch.randint(10, (size,), device=device))

    def run(root: Path, number: int) -> float:
        """Trains and records as a run does; returns the train time."""
        epoch = harness_loop(ARCHITECTURE, size, accelerator, [batch] * steps)  # anew: it pauses after five minutes
        epoch()
        planned = records.planned(seed=number)
        folder = records.begin(root, planned)
        open_run(folder)
        seconds = 0.0
        for index in range(epochs):
            seconds += (took := timed(epoch, device))
            records.epoch_event(folder, index, took)
        records.end(root, planned)
        return seconds

    alone: list[float] = []
    kinds: dict[str, list[float]] = {name: [] for name in servers}
    with tempfile.TemporaryDirectory() as name, _quiet():
        for number in range(rounds):
            order = ["", *servers]
            for kind in order[number % len(order) :] + order[: number % len(order)]:
                root = Path(name) / f"{number}-{kind}"
                if not kind:
                    time.sleep(settle)  # a rest of the same length: a processor's clock depends on its warmth
                    alone.append(run(root, number))
                    continue
                with _serving(FAULTS[kind]), _mirrored():
                    time.sleep(settle)
                    kinds[kind].append(run(root, number))
        own = {kind: _by_itself(FAULTS[kind], Path(name) / f"quiet-{kind}", settle, by_itself) for kind in servers}
    return {
        "system": describe_system(use_cpu=device.type == "cpu")["name"],
        "threads": torch.get_num_threads(),
        "epoch_seconds": statistics.median(alone) / epochs,
        "servers": {
            kind: {**median_of([with_it / other for with_it, other in zip(each, alone, strict=True)]), **own[kind]}
            for kind, each in kinds.items()
        },
    }


def open_run(folder: RunFolder) -> None:
    """Tells the mirrors of a run, as the process that trains does."""
    heartbeat = Heartbeat(None, 0)
    heartbeat.run_begins("made", folder)
    heartbeat.run_opened()


def _by_itself(fault: str, root: Path, settle: float, seconds: int) -> dict[str, float]:
    """Returns the processor time of a mirror: to start, to open a run, and from then on with an epoch each second."""
    with _serving(fault), _mirrored() as pids:
        time.sleep(settle)
        started = _cpu_seconds(pids)
        folder = records.begin(root)
        records.epoch_event(folder, 0)
        open_run(folder)
        time.sleep(2 * settle)
        opened, began = _cpu_seconds(pids), time.perf_counter()
        for epoch in range(1, seconds + 1):
            time.sleep(1.0)
            records.epoch_event(folder, epoch)
        share = (_cpu_seconds(pids) - opened) / (time.perf_counter() - began)
        records.end(root)
    return {"start_cpu_seconds": started, "opening_cpu_seconds": opened - started, "share_of_a_core": share}


def _mirrored() -> contextlib.AbstractContextManager[list[int]]:
    tracking = Tracking(("wandb",), entity=ENTITY, project="p", patience_seconds=PATIENCE_SECONDS)
    return tracked(tracking, None, lambda sentence: None)


def _cpu_seconds(pids: list[int]) -> float:
    """Returns the processor time of these processes and all that they started."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for each in (process, *process.children(recursive=True)):
                times = each.cpu_times()
                total += times.user + times.system
    return total


@contextlib.contextmanager
def _serving(fault: str) -> Iterator[Server]:
    with serving() as server:
        os.environ |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}
        server.fail(fault, after=2 if fault == "stall" else 0)  # it stalls in the middle of a run
        yield server


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Sends what mirrors say of the server's failures nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


if __name__ == "__main__":
    main()
