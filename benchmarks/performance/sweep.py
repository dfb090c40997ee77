"""What a sweep of 24 short configs takes by `harness run`, beside a fresh process for each, one after the other.

    python benchmarks/performance/sweep.py [--json] [--rounds 3] [--epochs 8]

The fresh process is the leanest one there is: it imports torch, reads the data, trains and evaluates as a run does, and
ends; no launcher, no records, no table. `harness run` does all of that besides, in one process that it keeps. In turn
one or the other comes first. The train times that both measure are compared run by run: `train_seconds` is the median
of their ratios kept / fresh with its bounds (95 %, order statistics); a sweep must not buy its time with theirs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ratios import median_of

ROOT = Path(__file__).parents[2]
SUITE = """\
name: sweep
base:
  data: digits
  schedule: one_cycle
  train: {{epochs: {epochs}, global_batch_size: 128, keep_weights: false}}
matrix:
  model: [mlp, {{name: cnn3, padding: same, hidden_size: 128}}, {{name: resnet18, width: 8}}, {{name: vgg11, width: 8}}]
  optimizer: [{{name: sgd, momentum: 0.9, lr: 0.01}}, adam]
  optimizer.lr: [0.001, 0.005, 0.02]
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", action="append", default=[], metavar="PATH=VALUE", help="of the configs")
    parser.add_argument("--run", metavar="SPEC", help=argparse.SUPPRESS)  # a fresh process: its run, as JSON
    arguments = parser.parse_args()
    if arguments.run:
        sys.stdout.write(f"{train(json.loads(arguments.run))}\n")
        return
    with tempfile.TemporaryDirectory(prefix="sweep-") as name:
        found = measure(Path(name), arguments.rounds, arguments.epochs, arguments.only)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    ratio, times = found["fresh/kept"], found["train_seconds"]
    sys.stdout.write(
        f"{found['system']}: {found['configs']} configs in {found['kept_seconds']:.1f} s by harness run, in "
        f"{found['fresh_seconds']:.1f} s by fresh processes: {ratio['median']:.2f} times as fast "
        f"({ratio['low']:.2f} to {ratio['high']:.2f}, {ratio['pairs']} rounds)\n"
        f"train time of a run, kept / fresh: {times['median']:.4f} ({times['low']:.4f} to {times['high']:.4f}, "
        f"{times['pairs']} runs)\n"
    )


def measure(folder: Path, rounds: int, epochs: int, only: list[str]) -> dict[str, Any]:
    """Returns the seconds of sweeps, and the ratios of their runs' train times."""
    from harness.data.prepare import fingerprint
    from harness.measure.system import describe_system
    from harness.suite import load_suite

    suite = folder / "sweep.yaml"
    suite.write_text(SUITE.format(epochs=epochs))
    specs = {
        run.run_id: run.spec.model_dump(mode="json") for run in load_suite(suite).plan(fingerprint, only=only).runs
    }
    seconds: dict[str, list[float]] = {"kept": [], "fresh": []}
    ratios: list[float] = []
    for number in range(rounds):
        times: dict[str, dict[str, float]] = {}
        for kind in ("kept", "fresh") if number % 2 else ("fresh", "kept"):
            began = time.perf_counter()
            times[kind] = kept(suite, folder / f"results{number}", only) if kind == "kept" else fresh(specs)
            seconds[kind].append(time.perf_counter() - began)
        ratios += [times["kept"][run_id] / times["fresh"][run_id] for run_id in specs]
    return {
        "system": describe_system()["name"],
        "configs": len(specs),
        "kept_seconds": statistics.median(seconds["kept"]),
        "fresh_seconds": statistics.median(seconds["fresh"]),
        "fresh/kept": median_of([a / b for a, b in zip(seconds["fresh"], seconds["kept"], strict=True)]),
        "train_seconds": median_of(ratios),
    }


def kept(suite: Path, output: Path, only: list[str]) -> dict[str, float]:
    """Runs a sweep by `harness run`, and returns the train seconds of each run."""
    chosen = [word for condition in only for word in ("--only", condition)]
    command = [sys.executable, "-m", "harness", "run", str(suite), "--output", str(output), *chosen]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    results = (json.loads(path.read_text()) for path in output.glob("sweep/*/*/result.json"))
    return {result["run_id"]: result["clock"]["train_seconds"] for result in results}


def fresh(specs: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Runs each spec in a process of its own, and returns their train seconds."""
    times = {}
    for run_id, spec in specs.items():
        command = [sys.executable, __file__, "--run", json.dumps(spec)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        times[run_id] = float(done.stdout)
    return times


def train(values: dict[str, Any]) -> float:
    """Does a run in this process and returns its train seconds."""
    import torch
    from accelerate import Accelerator

    from harness.data.prepare import prepare
    from harness.execute import Observer, execute
    from harness.measure.memory import keep_freed_memory
    from harness.spec import parse_run_spec

    keep_freed_memory()
    spec = parse_run_spec(values)
    observer = Observer(lambda _: None, lambda _: None)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    return execute(spec, prepare(spec.data), accelerator, observer, fingerprint="none").fields["clock"].train_seconds


if __name__ == "__main__":
    main()
