"""Runs that a test can hold at a moment of its choice, interrupt, and compare with one that nobody interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from tests.house import ROOT, House
from tests.processes import processes_in, wait_for

PLUGIN = '''
"""A small cnn3 with dropout, which lingers where the test says so, by a file in the working folder."""

import os, time
from pathlib import Path
from torch import nn
from harness.models.cnn3 import cnn3
from harness.registry import architecture


@architecture("paced")
def paced(image, num_classes):
    """A cnn3 with dropout."""
    return Paced(cnn3(image, num_classes, **SMALL))


SMALL = {"filters": (4, 8, 8), "kernel_sizes": (3, 3, 3), "padding": "same", "hidden_size": 16, "dropout": 0.3}


class Paced(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        linger("step" if self.training else "evaluation")
        return self.network(x)


def linger(where):
    if Path(f"hold-{where}").exists():
        Path(f"in-{where}-{os.environ.get('RANK', '0')}").touch()
        time.sleep(0.25)
'''
SLOW_SAVE = """

_sync_folder = sync_folder


def sync_folder(folder: Path) -> None:
    if Path("hold-save").exists() and folder.name == "checkpoint":
        Path("in-save").touch()
        import time

        time.sleep(3)
    _sync_folder(folder)
"""
SUITE = """\
name: paced
base:
  model: paced
  data: {name: digits, train_samples: 256, augment: {flip: true}}
  optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
  train: {epochs: 2, global_batch_size: 32, deterministic: true, num_processes: %d}
"""
LAUNCHERS = {
    "supervised": [sys.executable, "-m", "harness", "run"],
    "accelerate": [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/cpu.yaml")),
        *("--num_processes", "{}", "harness/run.py"),
    ],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node={}", "harness/run.py"],
}


@dataclass
class Paced:
    """A house with the architecture `paced`, and one run of it.

    Attributes:
        launcher: `supervised`, `accelerate` or `torchrun`.
    """

    house: House
    num_processes: int
    launcher: str = "supervised"

    def __post_init__(self) -> None:
        package = self.house.path / "harness"
        (package / "models/paced.py").write_text(PLUGIN)
        with (package / "records/files.py").open("a") as file:
            file.write(SLOW_SAVE)
        (self.house.path / "suite.yaml").write_text(SUITE % self.num_processes)

    def start(self, *more: str, output: str = "results", stderr: int | None = subprocess.PIPE) -> subprocess.Popen:
        """Starts the run, or goes on with it."""
        for earlier in self.house.path.glob("in-*"):
            earlier.unlink()
        start = [part.format(self.num_processes) for part in LAUNCHERS[self.launcher]]
        return subprocess.Popen(
            [*start, "suite.yaml", "--output", output, *more],
            cwd=self.house.path,
            env=self.house.environment(ACCELERATE_USE_CPU="true"),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )

    def finish(self, *more: str, output: str = "results") -> dict[str, object]:
        """Goes on with the run to its end, and returns its bits."""
        child = self.start(*more, output=output)
        _, words = child.communicate(timeout=250)
        assert child.returncode == 0, words
        return self.bits(output)

    def bits(self, output: str = "results") -> dict[str, object]:
        """Returns all weights, and the loss of each step."""
        [folder] = [path.parent for path in (self.house.path / output).glob("paced/*/*/losses.npz")]
        with np.load(folder / "losses.npz") as arrays:
            losses = arrays["loss"].tobytes()
        return {"weights": (folder / "checkpoints/final.safetensors").read_bytes(), "losses": losses}

    def result(self) -> dict[str, Any]:
        """Returns the record of the run."""
        [result] = self.house.results("paced").values()
        return result

    def hold(self, where: str) -> None:
        """Lets it linger in each `step`, each `evaluation` or each `save`."""
        (self.house.path / f"hold-{where}").touch()

    def reached(self, where: str, seconds: float = 120) -> None:
        """Waits until all ranks are there, then lets them linger no more."""
        names = ["in-save"] if where == "save" else [f"in-{where}-{rank}" for rank in range(self.num_processes)]
        assert wait_for(lambda: all((self.house.path / name).exists() for name in names), seconds), where
        for name in names:
            (self.house.path / name).unlink()

    def let_go(self) -> None:
        """Ends all lingering."""
        for path in self.house.path.glob("hold-*"):
            path.unlink()

    def left(self) -> list[psutil.Process]:
        """Returns the processes that are left a few seconds later."""
        wait_for(lambda: not processes_in(self.house.path), 30)
        return processes_in(self.house.path)


def stop(child: subprocess.Popen, number: signal.Signals, timeout: float = 200) -> str:
    """Sends a signal and returns what was printed until the end."""
    child.send_signal(number)
    _, words = child.communicate(timeout=timeout)
    return words
