"""What the live view costs: the train time of an epoch that is watched beside one that is not, in interleaved pairs.

    python benchmarks/performance/live_view.py [--json] [--pairs 30] [--steps 400] [--every 1.0]

As in `harness run`, the process that trains writes a heartbeat, and another one draws, on a terminal of its own
(a pty) that is read by nobody in particular. In the pairs' other half none is written, and the drawing process is
stopped. The ratio is taken pair by pair; `low` and `high` bound its median (95 %, order statistics of the pairs).

A machine's noise is larger than what is looked for, so the processor time of the two sides is measured by itself, too:
over the time from one heartbeat, or one drawing, to the next it is the share of one core that each takes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pty
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from overhead import CASES, IMAGE, harness_loop, timed
from ratios import median_of
from rich.console import Console

from harness.launching.launch_folder import Heartbeat
from harness.live.state import RunEnded, SuiteState
from harness.live.view import REFRESH_SECONDS, View
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.records.follow import OpenedRun
from harness.records.store import run_folder
from harness.running.stop_request import LOOK_EVERY_SECONDS
from harness.spec import parse_run_spec
from harness.suite.plan import PlannedRun

ARCHITECTURE = "cnn3"
RUNS, CONFIGS = 60, 12


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=float, default=REFRESH_SECONDS, help="seconds from one drawing to the next")
    arguments = parser.parse_args()
    found = measure(arguments.pairs, arguments.steps, arguments.every)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(
        f"{found['system']}, {found['threads']} threads; drawn every {arguments.every:g} s\n"
        f"train time watched / not watched: {found['median']:.4f} ({found['low']:.4f} to {found['high']:.4f}, "
        f"{found['pairs']} pairs of {found['epoch_seconds']:.2f} s)\n"
        f"in the process that trains: {found['step_microseconds']:.2f} us a step, "
        f"{found['heartbeat_cpu_milliseconds']:.3f} ms a heartbeat, one each {LOOK_EVERY_SECONDS:g} s: "
        f"{found['heartbeat_share']:.4%} of a core\n"
        f"in the one that draws: {found['drawing_cpu_milliseconds']:.2f} ms a drawing: "
        f"{found['drawing_share']:.3%} of a core\n"
    )


def measure(pairs: int, steps: int, every_seconds: float) -> dict[str, Any]:
    """Returns the ratio of train times, and what a heartbeat and a drawing take by themselves."""
    keep_freed_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device, size = accelerator.device, CASES[ARCHITECTURE]
    batch = (torch.randn(size, *IMAGE, device=device), torch.randint(10, (size,), device=device))
    watched = Watched()
    epoch = harness_loop(ARCHITECTURE, size, accelerator, [batch] * steps, watched.on_step)
    epoch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_run(folder, steps=steps * 1000, epochs=1000, samples_per_epoch=steps * size)
        watched.heartbeat = Heartbeat(folder, 0)
        threading.Thread(target=watched.write, daemon=True).start()
        artist = multiprocessing.get_context("spawn").Process(target=draw_on, args=(folder, every_seconds), daemon=True)
        artist.start()
        time.sleep(3.0)  # it imports
        seconds = [_pair(epoch, watched, artist.pid or 0, device, first=pair % 2) for pair in range(pairs)]
        os.kill(artist.pid or 0, signal.SIGCONT)
        artist.terminate()
        artist.join()
        step, heartbeat = cost_of_a_step(watched), cost_of_a_heartbeat(watched)
    drawing = cost_of_a_drawing()
    return {
        "system": describe_system(use_cpu=device.type == "cpu")["name"],
        "threads": torch.get_num_threads(),
        **median_of([with_view / alone for with_view, alone in seconds]),
        "epoch_seconds": statistics.median(alone for _, alone in seconds),
        "step_microseconds": step * 1e6,
        "heartbeat_cpu_milliseconds": heartbeat * 1e3,
        "heartbeat_share": heartbeat / LOOK_EVERY_SECONDS,
        "drawing_cpu_milliseconds": drawing * 1e3,
        "drawing_share": drawing / every_seconds,
    }


class Watched:
    """What a run does for those who watch: at each step, and beside it in a thread."""

    def __init__(self) -> None:
        self.heartbeat: Heartbeat | None = None
        self.on = False

    def on_step(self, step: int) -> None:
        """Says how far the run is."""
        if self.on and self.heartbeat:
            self.heartbeat.beat(step)

    def write(self) -> None:
        """Writes heartbeats, as the thread of a rank does."""
        assert self.heartbeat
        while self.heartbeat.folder and self.heartbeat.folder.is_dir():
            if self.on:
                self.heartbeat.write()
            time.sleep(LOOK_EVERY_SECONDS)


def _pair(
    epoch: Callable[[], None], watched: Watched, artist: int, device: torch.device, first: int
) -> tuple[float, float]:
    took = [0.0, 0.0]
    for alone in (first, 1 - first):
        watched.on = not alone
        os.kill(artist, signal.SIGSTOP if alone else signal.SIGCONT)
        took[alone] = timed(epoch, device)
    return took[0], took[1]


def suite() -> SuiteState:
    """Returns a suite of 60 runs, of which one goes on and the others have ended."""
    runs = []
    for index in range(RUNS):
        values = {"model": "resnet18", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}}
        spec = parse_run_spec({**values, "label": f"width={index % CONFIGS}", "seed": index // CONFIGS})
        runs.append(PlannedRun(spec=spec, config_id=f"c{index % CONFIGS}", run_id=f"r{index}", fingerprint=""))
    state = SuiteState("watched", runs)
    for index in range(RUNS - 1):
        accuracy, seconds = 0.8 + index % CONFIGS / 100, 10.0 + index % CONFIGS
        state.end(RunEnded(f"r{index}", "ok", accuracy, seconds, 2 * seconds))
    metrics = {"train": {"loss": 0.5}, "test": {"accuracy": 0.9}}
    epoch = {"event": "epoch", "epoch": 0, "metrics": metrics, "train_seconds": 4.0, "wait_seconds": 0.1}
    state.take("r59", epoch)
    return state


def open_run(launch: Path, steps: int, epochs: int, samples_per_epoch: int) -> None:
    """Opens the run that goes on, as the first rank of a launch does."""
    folder = run_folder(launch / "results", "watched", "r59", "here")
    folder.start({}, {}, steps=steps, epochs=epochs, samples_per_epoch=samples_per_epoch)


def draw_on(folder: Path, every_seconds: float) -> None:
    """Draws what a launch tells, on a terminal of its own."""
    view = View(console(), suite(), every_seconds)
    view.take_run(OpenedRun("r59", run_folder(folder / "results", "watched", "r59", "here")), folder)
    view.start()
    signal.pause()


def console() -> Console:
    """Returns one of a terminal that is read, as a terminal emulator would."""
    ours, theirs = pty.openpty()
    threading.Thread(target=_read, args=(ours,), daemon=True).start()
    return Console(file=os.fdopen(theirs, "w"), width=120, height=40, force_terminal=True)


def _read(end: int) -> None:
    while os.read(end, 65536):
        pass


def cost_of_a_step(watched: Watched, repeats: int = 100_000) -> float:
    """Returns the processor seconds of a step."""
    watched.on = True
    began = time.thread_time()
    for step in range(repeats):
        watched.on_step(step)
    return (time.thread_time() - began) / repeats


def cost_of_a_heartbeat(watched: Watched, repeats: int = 500) -> float:
    """Returns the processor seconds of a heartbeat."""
    assert watched.heartbeat
    began = time.thread_time()
    for _ in range(repeats):
        watched.heartbeat.write()
    return (time.thread_time() - began) / repeats


def cost_of_a_drawing(repeats: int = 100) -> float:
    """Returns the processor seconds of a drawing, the look at what is new included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        view = View(console(), suite())
        view.take_run(OpenedRun("r59", run_folder(folder / "results", "watched", "r59", "here")), folder)
        open_run(folder, steps=1000, epochs=10, samples_per_epoch=1000)
        view._screen.start()
        heartbeat = Heartbeat(folder, 0)
        seconds = 0.0
        for step in range(repeats):
            heartbeat.beat(step)
            heartbeat.write()
            began = time.thread_time()
            view._look()
            view._refresh()
            seconds += time.thread_time() - began
        view.close()
    return seconds / repeats


if __name__ == "__main__":
    main()
