"""A copy of the package with one more architecture, whose networks fail on purpose, and ways to run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

FAULTY = '''
"""A network that fails on one rank, at one of its training steps."""

import ctypes, os, signal, time
import torch
from torch import nn
from harness.parameters import Literal, NonNegativeInt
from harness.registry import architecture


@architecture("faulty")
def faulty(
    image,
    num_classes,
    *,
    fault: Literal["none", "raise", "oom", "segfault", "kill", "sleep"] = "none",
    rank: NonNegativeInt = 0,
    step: NonNegativeInt = 3,
    slow: float = 0.0,
):
    """A linear network."""
    return Faulty(image, num_classes, fault, rank, step, slow)


class Faulty(nn.Module):
    def __init__(self, image, num_classes, fault, rank, step, slow):
        super().__init__()
        self.linear = nn.Linear(image.channels * image.height * image.width, num_classes)
        self.fault, self.rank, self.step, self.slow = fault, rank, step, slow
        self.steps = 0

    def forward(self, x):
        if self.training:
            time.sleep(self.slow)
            if self.steps == self.step and int(os.environ.get("RANK", 0)) == self.rank:
                fail(self.fault)
            self.steps += 1
        return self.linear(x.flatten(1))


def fail(fault):
    if fault == "raise":
        raise ValueError("planted")
    if fault == "oom":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "sleep":
        time.sleep(600)
'''

# Charts take three seconds of each `harness run`; they are tested elsewhere.
NO_CHARTS = "import sys\n\nsys.modules['vl_convert'] = None\n"
# A busy machine would mark its runs, and say so; tests that look at times and words would see that it is busy.
CALM = {
    "harness/measure/disturbance.py": "\n\ndef _of_machine(*_, **__):\n    return iter(())\n",
    "harness/measure/surroundings.py": "\n\nBUSY_SHARE = 2.0\n",
}


@dataclass(frozen=True)
class House:
    """A folder with a copy of the package, where suites are run as users run them."""

    path: Path

    def suite(self, text: str, name: str = "suite.yaml") -> Path:
        """Writes a suite on the digits."""
        head = "base: {model: faulty, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}\n"
        path = self.path / name
        path.write_text(f"name: faults\n{head}{text}")
        return path

    def command(self, *arguments: str, launcher: list[str] | None = None) -> list[str]:
        """Returns `python harness/run.py ...`, or the same under a launcher."""
        start = launcher or [sys.executable]
        return [*start, "harness/run.py", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """Returns this process's environment, in which only the copy of the package is found."""
        # A file that a test writes twice in a second, in the same length, would have its old bytecode.
        own = {"PYTHONPATH": str(self.path), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
        return {**os.environ, **own, **more}

    def run(
        self, *arguments: str, launcher: list[str] | None = None, timeout: float = 280
    ) -> subprocess.CompletedProcess:
        """Runs a suite to its end."""
        return subprocess.run(
            self.command(*arguments, launcher=launcher),
            cwd=self.path,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def results(self, suite: str = "faults") -> dict[str, dict[str, Any]]:
        """Returns the stored results by label and seed."""
        found = {}
        for path in (self.path / "results" / suite).glob("*/*/result.json"):
            result = json.loads(path.read_text())
            found[f"{result['label']} {result['seed']}"] = result
        return found


def build_house(path: Path, *, calm: bool = True) -> House:
    """Copies the package into a folder and adds the architecture `faulty`.

    Args:
        path: of the folder.
        calm: whether what others do on this machine marks no run.
    """
    shutil.copytree(ROOT / "harness", path / "harness")  # with its bytecode, which each process would compile anew
    # What numba compiles is kept where all copies find it.
    compiled, own = ROOT / "harness/data/augment/__pycache__", path / "harness/data/augment/__pycache__"
    compiled.mkdir(exist_ok=True)
    shutil.rmtree(own, ignore_errors=True)
    own.symlink_to(compiled)
    (path / "sitecustomize.py").write_text(NO_CHARTS)
    (path / "harness/models/faulty.py").write_text(FAULTY)
    for name, text in CALM.items() if calm else ():
        with (path / name).open("a") as file:
            file.write(text)
    return House(path)
