"""How long `harness status` takes on a suite of 10,000 runs with as many results, a tenth of them unfinished.

    python benchmarks/performance/status.py [--json] [--repeats 5] [--runs 10000]

Whole processes, wall clock, medians; the records are made up for speed alone and thrown away. `plan` is the same suite
without a record read, and `start` a process that imports what both need.
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

from harness.data.prepare import fingerprint
from harness.measure.system import describe_system
from harness.records.result import Cause, Clock, DataFacts, Memory, Metrics, ModelFacts, Resolved, RunResult, Throughput
from harness.records.store import run_folder
from harness.suite import load_suite

START = "import typer, yaml; from pydantic import BaseModel, Field, ValidationError, create_model"
LIMITS = {"status": 2.0}
SEEDS, CLASSES = 10, 100


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), arguments.repeats, arguments.runs)
    result = {"system": describe_system()["name"], "runs": arguments.runs, **found, "limits": LIMITS}
    if arguments.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return
    sys.stdout.write(f"{result['system']}\n{arguments.runs} runs, {found['bytes_per_result']} bytes a result\n")
    for command, seconds in found["seconds"].items():
        limit = f" (limit {LIMITS[command]} s)" if command in LIMITS else ""
        sys.stdout.write(f"{command}: {seconds:.2f} s{limit}\n")


def measure(folder: Path, repeats: int, runs: int) -> dict:
    """Returns the median seconds of each command, and the size of a result."""
    suite, output = folder / "suite.yaml", folder / "results"
    rates = [round(0.0001 * (index + 1), 4) for index in range(runs // SEEDS)]
    base = "base: {model: mlp, data: synthetic, optimizer: {name: sgd, lr: 0.1}}\n"
    suite.write_text(f"name: status\n{base}matrix: {{optimizer.lr: {rates}}}\nseeds: {SEEDS}\n")
    size = store_results(suite, output)
    verb = ["-m", "harness"]
    commands = {
        "start": ["-c", START],
        "plan": [*verb, "plan", str(suite)],
        "status": [*verb, "status", str(suite), "--output", str(output)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, arguments in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    return {"seconds": {name: statistics.median(values) for name, values in seconds.items()}, "bytes_per_result": size}


def store_results(suite: Path, output: Path) -> int:
    """Writes the records of each run of a suite, with numbers made up, and returns the size of a result in bytes."""
    plan = load_suite(suite).plan(fingerprint)
    system = describe_system(use_cpu=True)
    size = 0
    for index, run in enumerate(plan.runs):
        status = "preempted" if index % 10 == 0 else "ok"
        recall: list[float | None] = [(index * 7919 + label * 104729) % 9973 / 9973 for label in range(CLASSES)]
        metrics = Metrics(accuracy=0.8, top5_accuracy=0.99, loss=0.5, macro_recall=0.9, recall_by_class=recall)
        result = RunResult(
            suite=plan.suite.name,
            label=run.spec.label,
            run_id=run.run_id,
            config_id=run.config_id,
            system_id=system["system_id"],
            seed=run.spec.seed,
            status=status,
            cause=None if status == "ok" else Cause(kind="SIGTERM", message="stopped after 7 steps", step=7),
            started_at="2026-01-01T00:00:00+00:00",
            ended_at="2026-01-01T00:00:01+00:00",
            num_processes=1,
            epochs=run.spec.train.epochs,
            spec=run.spec.model_dump(mode="json"),
            resolved=Resolved(device="cpu", mixed_precision="no", loader="resident", micro_batch_size=128),
            data=DataFacts(
                fingerprint=run.fingerprint,
                train_samples=50000,
                validation_samples=0,
                test_samples=10000,
                num_classes=CLASSES,
            ),
            model=ModelFacts(parameters=1000, multiply_accumulates=1000),
            clock=Clock(train_seconds=1 + index % 97, eval_seconds=0.1),
            throughput=Throughput(samples_per_second=1000.0, data_wait_share=0.1),
            memory=Memory(host_rss_bytes=10**9),
            metrics={"train": metrics, "test": metrics},
        )
        folder = run_folder(output, plan.suite.name, run.run_id, system["system_id"]).path
        (folder / "checkpoints").mkdir(parents=True)
        if status != "ok":
            (folder / "checkpoints" / "step-0000000007").mkdir()
        text = json.dumps(result.model_dump(mode="json"), indent=1)
        (folder / "result.json").write_text(text)  # not through to the disk: this is not what is measured
        (folder / "system.json").write_text(json.dumps(system))
        size = len(text)
    return size


if __name__ == "__main__":
    main()
