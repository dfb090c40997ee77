"""What the measures of a disturbance come to on a quiet machine and beside busy loops, with each loader.

    python benchmarks/method/disturbance.py [--loops 0 1 2 3] [--seeds 5] [--output results/method/disturbance.json]

Each number of loops is a suite of its own, run by `harness run`: networks whose training takes hundredths of a second
and seconds, fed by each loader. A loop is a process that only counts. 0 loops need a machine that does nothing else:
what is marked there is marked wrongly. What is in the output already stays there, so that it can be
waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.measure import disturbance as rules
from harness.measure.system import describe_system

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ("resident", "pinned", "dali")
SUITE = """
name: disturbance
base: {{optimizer: {{name: sgd, lr: 0.05}}, train: {{global_batch_size: 128}}}}
zip:
  - label: [mlp, cnn3, resnet18]
    model: [mlp, {{name: cnn3, padding: same, hidden_size: 128}}, {{name: resnet18, width: 8}}]
    train.epochs: [8, 8, 1]
    data: [digits, digits, {{name: synthetic, train: 1500, test: 100}}]
matrix: {{loader: [{loaders}]}}
seeds: {seeds}
"""


def main() -> None:
    """Measures, prints and stores."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600.0, help="after that a suite is stopped")
    parser.add_argument("--condition", default="nothing else runs", help="what else the machine does, for the output")
    parser.add_argument("--loaders", nargs="+", default=list(LOADERS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    earlier = {}
    if arguments.output and arguments.output.exists():
        earlier = json.loads(arguments.output.read_text())["loops"]
    measured = {
        str(loops): measure(loops, arguments.loaders, arguments.seeds, arguments.seconds) for loops in arguments.loops
    }
    found = {
        "system": describe_system(use_cpu=True)["name"],
        "condition": arguments.condition,
        "limits": {name: getattr(rules, name) for name in ("SHARE_OF_CORES", "WAIT_SHARE", "STEAL_SHARE")},
        "loops": {loops: earlier.get(loops, {}) | measured.get(loops, {}) for loops in sorted({*earlier, *measured})},
    }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def measure(loops: int, loaders: list[str], seeds: int, seconds: float) -> dict[str, Any]:
    """Runs the suite beside some busy loops and returns what its runs recorded, by network and loader."""
    with tempfile.TemporaryDirectory() as name, busy(loops):
        folder = Path(name)
        (folder / "suite.yaml").write_text(SUITE.format(loaders=", ".join(loaders), seeds=seeds))
        command = [sys.executable, "-m", "harness", "run", "suite.yaml", "--output", "out"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        with (folder / "words").open("w") as words:
            run = subprocess.Popen(command, cwd=folder, env=environment, stdout=words, stderr=words)
            try:
                run.wait(seconds)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGTERM)  # it saves and stops
                run.wait()
        if run.returncode not in (0, 75):
            raise SystemExit((folder / "words").read_text())
        results = [json.loads(path.read_text()) for path in folder.glob("out/*/*/*/result.json")]
        results = [result for result in results if result["status"] == "ok"]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result["seed"]):
        groups[result["label"]].append(result)
    return {label: summary(of_label) for label, of_label in sorted(groups.items())}


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keeps some cores busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns how many runs were marked, and the shares that the rules look at, in the order of the seeds."""

    def shares(part: str, whole: str) -> list[float | None]:
        rows = [result["disturbance"] for result in results]
        return [None if None in (row[part], row[whole]) else round(row[part] / row[whole], 4) for row in rows]

    seconds = [result["clock"]["train_seconds"] for result in results]
    waits = [
        round((result["disturbance"]["wait_for_others_seconds"] or 0.0) / taken, 4)
        for result, taken in zip(results, seconds, strict=True)
    ]
    queued = [
        round((result["disturbance"]["run_queue_wait_seconds"] or 0.0) / taken, 4)
        for result, taken in zip(results, seconds, strict=True)
    ]
    return {
        "runs": len(results),
        "marked": sum(bool(result["disturbed"]) for result in results),
        "train_seconds": [round(each, 4) for each in seconds],
        "other_cpu_share": shares("other_cpu_seconds", "core_seconds"),
        "steal_share": shares("steal_seconds", "core_seconds"),
        "run_queue_wait_share": queued,
        "wait_for_others_share": waits,
        "suspended_seconds": [round(result["disturbance"]["suspended_seconds"], 3) for result in results],
    }


def show(found: dict[str, Any]) -> None:
    """Prints a table."""
    sys.stdout.write(f"{found['system']}: {found['condition']}\n")
    head = ("marked", "seconds", "others", "most", "wait", "for others", "most", "steal, most")
    sys.stdout.write(f"{'loops':5} {'run':24}" + "".join(f"{title:>12}" for title in head) + "\n")
    for loops, labels in found["loops"].items():
        for label, row in labels.items():
            others, steal = ([each or 0.0 for each in row[name]] for name in ("other_cpu_share", "steal_share"))
            waits, queued = row["wait_for_others_share"], row["run_queue_wait_share"]
            cells = (
                f"{row['marked']}/{row['runs']}",
                f"{statistics.median(row['train_seconds']):.3g}",
                f"{statistics.median(others):.1%}",
                f"{max(others):.1%}",
                f"{statistics.median(queued):.1%}",
                f"{statistics.median(waits):.1%}",
                f"{max(waits):.1%}",
                f"{max(steal):.1%}",
            )
            sys.stdout.write(f"{loops:5} {label:24}" + "".join(f"{cell:>12}" for cell in cells) + "\n")


if __name__ == "__main__":
    main()
