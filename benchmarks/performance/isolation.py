"""Whether a process that is kept for all runs changes a run's train time: kept beside a fresh process for each run.

    python benchmarks/performance/isolation.py [--json] [--rounds 3]

Each round runs one suite both ways, in turn first. The ratio kept / isolated is taken run by run; the median over all
runs and rounds decides which of the two `harness run` does by default.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.measure.system import describe_system
from harness.records.store import read_suite

SUITE = """\
name: isolation
base:
  data: {name: synthetic, train: 6400, test: 512}
  optimizer: {name: sgd, lr: 0.01}
  train: {epochs: 3, global_batch_size: 64}
matrix: {model: [cnn3, {name: resnet18, width: 4}]}
seeds: 4
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), arguments.rounds)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    ratio = found["kept/isolated"]
    sys.stdout.write(f"{found['system']}\n")
    sys.stdout.write(
        f"train time kept / isolated: {ratio['median']:.4f} ({ratio['low']:.4f} to {ratio['high']:.4f}, "
        f"{ratio['pairs']} pairs)\nwall clock of the suite: kept {found['wall_seconds']['kept']:.1f} s, "
        f"isolated {found['wall_seconds']['isolated']:.1f} s\n"
    )


def measure(folder: Path, rounds: int) -> dict:
    """Returns the ratio of train times run by run, and the suites' wall clock."""
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    ratios: list[float] = []
    wall: dict[str, list[float]] = {"kept": [], "isolated": []}
    for number in range(rounds):
        seconds: dict[str, dict[str, float]] = {}
        for way in ("kept", "isolated") if number % 2 else ("isolated", "kept"):
            output = folder / f"{way}-{number}"
            command = [sys.executable, "-m", "harness", "run", str(suite), "--output", str(output)]
            began = time.perf_counter()
            subprocess.run([*command, *(["--isolate"] if way == "isolated" else [])], check=True, capture_output=True)
            wall[way].append(time.perf_counter() - began)
            results = read_suite(output, "isolation").results
            seconds[way] = {result.run_id: result.clock.train_seconds or math.nan for result in results}
        ratios += [seconds["kept"][run] / seconds["isolated"][run] for run in seconds["kept"]]
    ratios.sort()
    margin, middle = math.ceil(0.98 * math.sqrt(len(ratios))), len(ratios) // 2
    return {
        "system": describe_system()["name"],
        "kept/isolated": {
            "median": statistics.median(ratios),
            "low": ratios[max(middle - margin, 0)],
            "high": ratios[min(middle + margin, len(ratios) - 1)],
            "pairs": len(ratios),
        },
        "wall_seconds": {way: statistics.median(values) for way, values in wall.items()},
    }


if __name__ == "__main__":
    main()
