"""What a supervisor and the processes it launched tell each other, through a folder.

The supervisor writes `manifest.json`, the runs, and `orders.json`, which asks the ranks to stop. Rank 0 writes
`open.json`, the run that is open, and, where the launch ends early, `refused.json` or `stopped.json`. Rank K writes
`rank-K.json`, the last step that it took, about once a second.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import write_json
from harness.records.store import RunFolder, run_folder
from harness.spec import parse_run_spec
from harness.suite import Plan, PlannedRun
from harness.suite_file import Target

FOLDER = "HARNESS_LAUNCH"
SUPERVISOR = "HARNESS_SUPERVISOR"
BEAT_SECONDS = 1.0


@dataclass(frozen=True)
class Manifest:
    """Runs that are to be done, resolved: the suite file is not read again.

    Attributes:
        suite: its name.
        output: the results root.
        target: of the suite, if it has one.
        runs: in the order of the plan.
        done, total: of all that was asked for, for the progress bar.
    """

    suite: str
    output: Path
    target: Target | None
    runs: tuple[PlannedRun, ...]
    done: int
    total: int

    @staticmethod
    def of(plan: Plan, output: Path) -> Manifest:
        """Returns the manifest of a whole plan."""
        return Manifest(plan.suite.name, output, plan.suite.file.target, plan.runs, 0, len(plan.runs))

    def folder(self, run: PlannedRun, system_id: str) -> RunFolder:
        """Returns where a run is recorded."""
        return run_folder(self.output, self.suite, run.run_id, system_id)

    def write(self, folder: Path) -> None:
        """Writes the manifest into a launch folder."""
        value = {
            "suite": self.suite,
            "output": str(self.output),
            "target": self.target.model_dump() if self.target else None,
            "done": self.done,
            "total": self.total,
            "runs": [
                {
                    "spec": run.spec.model_dump(mode="json"),
                    "config_id": run.config_id,
                    "run_id": run.run_id,
                    "fingerprint": run.fingerprint,
                }
                for run in self.runs
            ],
        }
        write_json(folder / "manifest.json", value)

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Reads the manifest of a launch folder."""
        value = json.loads((folder / "manifest.json").read_bytes())
        runs = tuple(PlannedRun(**{**run, "spec": parse_run_spec(run["spec"])}) for run in value["runs"])
        target = Target.model_validate(value["target"]) if value["target"] else None
        return Manifest(value["suite"], Path(value["output"]), target, runs, value["done"], value["total"])


class Pulse:
    """A rank's side: tells the supervisor, at most once a second, how far it is.

    Args:
        folder: of the launch; None where nobody supervises.
        rank: of this process.
    """

    def __init__(self, folder: Path | None, rank: int) -> None:
        self._path = folder / f"rank-{rank}.json" if folder else None
        self._folder = folder
        self._run_id = ""
        self._next = 0.0

    def run_opened(self, run: PlannedRun, run_folder: Path) -> None:
        """Names the run that is open from now on."""
        self._run_id = run.run_id
        if self._folder and self._path and self._path.name == "rank-0.json":
            write_json(self._folder / "open.json", {"run_id": run.run_id, "folder": str(run_folder)})
        self.beat("start", force=True)

    def beat(self, at: object, *, force: bool = False) -> None:
        """Says that this rank is alive; `at` is a step or a phase."""
        now = time.monotonic()
        if self._path and (force or now >= self._next):
            self._next = now + BEAT_SECONDS
            self._path.write_text(json.dumps({"run_id": self._run_id, "at": at}))


def launch_folder() -> Path | None:
    """Returns the folder of the launch that this process belongs to, or None where nobody supervises."""
    return Path(os.environ[FOLDER]) if FOLDER in os.environ else None


def read_open_run(folder: Path) -> dict[str, Any] | None:
    """Returns `run_id` and `folder` of the run that was opened last."""
    path = folder / "open.json"
    return json.loads(path.read_bytes()) if path.exists() else None


def refuse(folder: Path, error: HarnessError) -> None:
    """Tells the supervisor that the input is bad: a launcher in between does not hand on a rank's exit code."""
    write_json(folder / "refused.json", {"message": error.message, "hint": error.hint})


def refusal(folder: Path) -> HarnessError | None:
    """Returns why a rank found the input bad, or None."""
    path = folder / "refused.json"
    return HarnessError(**json.loads(path.read_bytes())) if path.exists() else None


def order_stop(folder: Path, reason: str) -> None:
    """Asks the ranks of a launch to save and stop; `reason` is e.g. `SIGTERM`, or '' at the start: do not stop."""
    write_json(folder / "orders.json", {"stop": reason})


def stop_ordered(folder: Path) -> str:
    """Returns why the supervisor asks to stop, or ''."""
    try:
        # Read, not looked for: a network file system may say for long that a new file is not there.
        return str(json.loads((folder / "orders.json").read_bytes())["stop"])
    except (OSError, ValueError, KeyError):
        return ""


def has_stopped(folder: Path, reason: str = "") -> bool:
    """Tells whether the ranks stopped as they were asked to; with a `reason`, rank 0 says so."""
    if reason:
        write_json(folder / "stopped.json", {"reason": reason})
    return (folder / "stopped.json").exists()


def read_pulses(folder: Path) -> dict[int, str]:
    """Returns the raw last word of each rank."""
    return {int(path.stem.partition("-")[2]): path.read_text() for path in folder.glob("rank-*.json")}
