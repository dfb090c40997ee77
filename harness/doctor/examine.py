"""Looks at this machine: asks once, then judges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cache import cache_root
from harness.doctor.host import check_folder, check_processors, check_shared_memory, load_average
from harness.doctor.of_suite import SuiteExamination
from harness.doctor.software import check_dali, check_source, check_torch, check_wandb
from harness.errors import HarnessError
from harness.measure.finding import Finding
from harness.measure.system import describe_system
from harness.measure.system.software import dali, package_version
from harness.measure.usable_gpus import ask_nvml, check_gpus, check_use
from harness.records.calibration import calibration_path, read_calibration

TORCH_SECONDS = 120.0


@dataclass(frozen=True)
class Examination:
    """What this machine is, and what is wrong with it.

    Attributes:
        system: as `describe_system` gives it.
        findings: in the order in which they are shown.
        suite: what the runs of a suite would meet here; None where none was asked for.
    """

    system: dict[str, Any]
    findings: tuple[Finding, ...]
    suite: SuiteExamination | None = None

    @property
    def every(self) -> tuple[Finding, ...]:
        """The findings on the machine and on the suite."""
        return (*self.findings, *(self.suite.findings if self.suite else ()))

    @property
    def can_run(self) -> bool:
        """Whether nothing here would stop a run."""
        return all(finding.verdict != "stop" for finding in self.every)


def examine(output: Path, probe: Callable[[], dict[str, Any]] | None = None) -> Examination:
    """Returns what this machine is and a verdict on each of its parts.

    Args:
        output: the results root; it is made where it is not there.
        probe: what torch says; None to ask it in a process of its own.
    """
    gpus, no_nvml = ask_nvml()
    try:
        system = describe_system(use_cpu=not gpus, with_source=True)
    except HarnessError:  # several models, of which a verdict tells
        system = describe_system(use_cpu=True, with_source=True)
    torch = (probe or ask_torch)()
    findings = [
        check_torch(torch),
        *check_gpus(gpus, no_nvml, torch, system["cuda"]),
        *check_use(gpus),
        *check_processors(system, os.environ, load_average()),
        check_shared_memory(),
        check_folder("results", output, "--output DIR"),
        check_folder("cache", cache_root(), "HARNESS_CACHE"),
        check_dali(*dali(), system["cuda"], has_gpu=bool(gpus)),
        check_wandb(os.environ, Path.home(), package_version("wandb")),
        check_source(system),
        _calibration(output, system["system_id"]),
    ]
    return Examination(system, tuple(findings))


def ask_torch() -> dict[str, Any]:
    """Returns what `harness.measure.torch_probe` says, or why it says nothing under `problem`."""
    command = [sys.executable, "-m", "harness.measure.torch_probe"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_SECONDS)
    except subprocess.TimeoutExpired:
        return {"problem": f"torch did not start within {TORCH_SECONDS:g} s"}
    try:
        return json.loads(ran.stdout)
    except ValueError:
        last = (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1]
        return {"problem": f"torch cannot be imported: {last}"}


def _calibration(output: Path, system_id: str) -> Finding:
    try:
        found = read_calibration(calibration_path(output, system_id))
    except (OSError, ValueError) as error:
        return Finding("calibration", "warning", f"cannot be read: {error}", "harness calibrate")
    if found is None:
        return Finding("calibration", "ok", "none yet: no fraction of peak", "harness calibrate")
    return Finding("calibration", "ok", f"of {found.measured_at[:10]}")
