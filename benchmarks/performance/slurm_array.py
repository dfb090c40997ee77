"""What the harness costs for each run of a SLURM array, beyond training: a thousand runs of a second in two slots.

    python benchmarks/performance/slurm_array.py [--json] [--runs 1000] [--epochs 55]

A private cluster (Debian's slurm-wlm and munge, see tests/slurm) runs the array, two tasks at a time. The cost of a run
is what the slots were busy for, less the train time in the records, divided by the runs: start of the tasks, data,
building, evaluation, records. Beside it stands what a fresh Python process for each run would pay at least: one run by
`harness run`, from start to end, less its train time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.processes import wait_for  # noqa: E402
from tests.slurm.cluster import Cluster, missing_programs  # noqa: E402

SLOTS = 2
SUITE = """\
name: thousand
base:
  model: {{name: mlp, hidden_sizes: [128]}}
  data: digits
  optimizer: {{name: sgd, lr: 0.05}}
  train: {{epochs: {epochs}, evaluate_every_epochs: {epochs}, keep_weights: false}}
seeds: {runs}
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=55, help="of a run; as many as take a second here")
    arguments = parser.parse_args()
    if missing := missing_programs():
        parser.error(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="array-") as name:
        found = measure(Path(name), arguments.runs, arguments.epochs)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    width = max(map(len, found))
    sys.stdout.writelines(f"{key:<{width}}  {value}\n" for key, value in found.items())


def measure(folder: Path, runs: int, epochs: int) -> dict[str, Any]:
    """Returns the seconds of an array and of its runs.

    Args:
        folder: empty; for the cluster and the results.
        runs: of the suite.
        epochs: of a run.
    """
    from harness.measure.system import describe_system

    suite = folder / "thousand.yaml"
    suite.write_text(SUITE.format(epochs=epochs, runs=runs))
    (folder / "cluster").mkdir()
    with Cluster(folder / "cluster") as cluster:
        environment = {**os.environ, **cluster.environment(), "OMP_NUM_THREADS": "1"}

        def harness(*words: str) -> str:
            command = [sys.executable, "-m", "harness", *words]
            environment["PYTHONPATH"] = str(ROOT)
            return subprocess.run(
                command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
            ).stdout.decode()

        fresh = []
        for seed in range(3):
            began = time.monotonic()
            harness("run", str(suite), "--only", f"seed={seed}", "--output", str(folder / "fresh"))
            fresh.append(time.monotonic() - began)
        began = time.monotonic()
        said = harness("submit", str(suite), "--runs-per-task", str(-(-runs // SLOTS)), "--cpus-per-task", "1")
        submitted = time.monotonic() - began
        jobs = re.findall(r"^job (\d+):", said, re.MULTILINE)
        assert wait_for(lambda: not cluster.queue(), 3600), "the array never ended"
        wall = time.monotonic() - began - submitted
    train = {where: train_seconds(folder / where / "thousand") for where in ("results", "fresh")}
    assert len(train["results"]) == runs, f"{len(train['results'])} of {runs} runs ended ok"
    return {
        "system": describe_system()["name"],
        "runs": runs,
        "jobs": len(jobs),
        "slots": SLOTS,
        "submit_seconds": round(submitted, 3),
        "wall_seconds": round(wall, 1),
        "train_seconds_a_run": round(statistics.median(train["results"]), 3),
        "harness_seconds_a_run": round((wall * SLOTS - sum(train["results"])) / runs, 3),
        "fresh_process_seconds_a_run": round(statistics.median(fresh) - statistics.median(train["fresh"]), 2),
    }


def train_seconds(folder: Path) -> list[float]:
    """Returns the train time of each run that ended ok."""
    results = [json.loads(path.read_bytes()) for path in folder.glob("*/*/result.json")]
    return [result["clock"]["train_seconds"] for result in results if result["status"] == "ok"]


if __name__ == "__main__":
    main()
