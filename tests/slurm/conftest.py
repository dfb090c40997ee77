"""One private cluster for all tests, and a folder in which suites are submitted to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.house import ROOT, House, build_house
from tests.processes import wait_for
from tests.slurm.cluster import NODES, Cluster, missing_programs

# 23 steps of an epoch; `slow` is what each of them takes, in seconds.
BASE = """\
base:
  model: faulty
  data: digits
  optimizer: {name: sgd, lr: 0.1}
  train: {epochs: 1, global_batch_size: 64, checkpoint_every_steps: 2}
"""


@dataclass(frozen=True)
class Lab:
    """A cluster, and a copy of the package whose suites run on it."""

    cluster: Cluster
    house: House

    def suite(self, name: str, text: str) -> Path:
        """Writes a suite on the digits."""
        path = self.house.path / f"{name}.yaml"
        path.write_text(f"name: {name}\n{BASE}{text}")
        return path

    def harness(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a verb to its end."""
        return subprocess.run(
            [*self.cluster.enter(), sys.executable, "-m", "harness", *arguments],
            cwd=self.house.path,
            env=self.house.environment(**self.cluster.environment()),
            capture_output=True,
            text=True,
            timeout=200,
        )

    def submit(self, suite: Path, *arguments: str) -> list[int]:
        """Submits a suite and returns the job ids."""
        done = self.harness("submit", str(suite), *arguments)
        assert done.returncode == 0, done.stderr
        return [int(job) for job in re.findall(r"^job (\d+):", done.stdout, re.MULTILINE)]

    def sbatch(self, *arguments: str) -> int:
        """Submits a script of `slurm/` by hand, from the folder of the package, and returns the job id."""
        done = subprocess.run(
            ["sbatch", "--parsable", *arguments],
            cwd=self.house.path,
            env=self.house.environment(**self.cluster.environment()),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def out(self, job: int) -> dict[str, str]:
        """Returns what the tasks of a job that was submitted by hand printed, by the names of their logs."""
        return {path.name: path.read_text() for path in sorted(self.house.path.glob(f"harness-{job}*.out"))}

    def wait_for_end(self, job: int, seconds: float = 240) -> None:
        """Waits until no task of a job is in the queue."""
        ended = wait_for(lambda: not any(task.partition("_")[0] == str(job) for task in self.cluster.queue()), seconds)
        assert ended, f"job {job} never ended"

    def wait_for_checkpoint(self, suite: Path) -> None:
        """Waits until a run of a suite trains and has its first checkpoint."""
        folder = self.house.path / "results" / suite.stem
        events = "*/*/events.jsonl"
        written = wait_for(lambda: any('"checkpoint"' in path.read_text() for path in folder.glob(events)), 240)
        assert written, "no checkpoint was written"

    def result(self, suite: Path) -> dict[str, Any]:
        """Returns the only result of a suite."""
        [result] = self.house.results(suite.stem).values()
        return result

    def log(self, suite: Path) -> str:
        """Returns what the tasks of a suite printed."""
        logs = (self.house.path / "results" / suite.stem).glob("submissions/*/logs/*")
        return "\n".join(path.read_text() for path in sorted(logs))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster; without its programs the tests are skipped, or fail where CI asks for them."""
    if missing := missing_programs():
        message = f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
        if os.environ.get("CI_REQUIRE_SLURM") == "1":
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("slurm")
    with Cluster(folder) as running:
        yield running
    left = [p.cmdline() for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]
    assert not left


@pytest.fixture(scope="session")
def shared_lab(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The folder of all tests; each has a suite of its own."""
    house = build_house(tmp_path_factory.mktemp("lab with a space"))
    shutil.copytree(ROOT / "slurm", house.path / "slurm")
    entrance = house.path / ".venv/bin/harness"
    entrance.parent.mkdir(parents=True)
    entrance.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness "$@"\n')
    entrance.chmod(0o755)
    return Lab(cluster, house)


@pytest.fixture(scope="session")
def limited(shared_lab: Lab) -> tuple[Path, int]:
    """A suite, and its job that meets its time limit: it takes long, and sleeps while the other tests run."""
    suite = shared_lab.suite("limited", "matrix: {model.slow: [2.0]}\n")
    # `high`, so that it is not preempted, and on the node that does not crash.
    asked = ["--partition", "high", "--time", "1", "--stop-early", "10", "--sbatch", "--nodelist=n1"]
    [job] = shared_lab.submit(suite, *asked)
    return suite, job


@pytest.fixture
def lab(shared_lab: Lab, limited: tuple[Path, int]) -> Iterator[Lab]:
    """The lab; after each test nothing is queued and no process is left, but for the job of `limited`."""
    yield shared_lab
    assert not [task for task in shared_lab.cluster.queue() if task.partition("_")[0] != str(limited[1])]
    running = str(limited[1])

    def left() -> list[psutil.Process]:
        return [process for node in NODES for process in shared_lab.cluster.processes(node, but=running)]

    assert wait_for(lambda: not left(), 30), "processes are left behind"
