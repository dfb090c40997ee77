"""How long the commands take that a person waits for: `--help`, `plan`, `report`, `compare`, `status`.

    python benchmarks/performance/commands.py [--json] [--repeats 5]

Whole processes, wall clock, medians, and the most memory that one of them took; the stored runs are made up for speed
alone and thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
from harness.suite.plan import load_suite

LIBRARIES = "import typer, yaml; from pydantic import BaseModel, Field, ValidationError, create_model"
LIMITS = {
    "help": 0.4,
    "plan": 0.4,
    "help_with_plugins": 0.4,
    "plan_with_plugins": 0.4,
    "plan_10000_runs": 2.0,
    "report_2000_runs": 2.0,
    "report_10000_runs": 6.0,
    "page_10000_runs": 8.0,
    "compare_2500_configs": 5.0,
    "status_10000_runs": 2.0,
}
MOST_BYTES = 1e9
EPOCHS = 20
FILES, PACKAGES = 10, 5  # of plug-ins
BASE = "base: {model: mlp, data: synthetic, optimizer: {name: sgd, lr: 0.1}}\n"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--configs", type=int, default=1000, help="less than 1000 to try the script")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), arguments.repeats, arguments.configs)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    result = {"system": describe_system()["name"], "seconds": found, "limits": LIMITS, "peak_bytes": most}
    if arguments.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return
    sys.stdout.write(f"{result['system']}\n")
    for command, seconds in found.items():
        limit = f" (limit {LIMITS[command]} s)" if command in LIMITS else ""
        sys.stdout.write(f"{command}: {seconds:.2f} s{limit}\n")
    sys.stdout.write(f"the largest took {most / 1e6:,.0f} MB (limit {MOST_BYTES / 1e6:,.0f} MB)\n")


def measure(folder: Path, repeats: int, configs: int = 1000) -> dict[str, float]:
    """Returns the median seconds of each command."""
    small, large, stored, many, wide = (
        folder / f"{name}.yaml" for name in ("small", "large", "stored", "many", "wide")
    )
    small.write_text(f"name: small\n{BASE}matrix: {{train.epochs: [1, 2]}}\nseeds: 3\n")
    extended, site = write_plugins(folder)
    rates = [round(0.0001 * (i + 1), 4) for i in range(configs)]
    large.write_text(f"name: large\n{BASE}matrix: {{optimizer.lr: {rates}, train.epochs: {list(range(1, 11))}}}\n")
    stored.write_text(
        f"name: stored\n{BASE}matrix: {{optimizer.lr: {rates[:100]}, train.epochs: [1, 2, 3, 4, 5]}}\nseeds: 4\n"
    )
    store_results(stored, folder / "results")
    many.write_text(f"name: many\n{BASE}matrix: {{optimizer.lr: {rates}}}\nseeds: 10\n")
    store_results(many, folder / "results", classes=100, preempted_every=10)
    epochs = [1, 2, 3, 4, 5]
    wide.write_text(f"name: wide\n{BASE}matrix: {{optimizer.lr: {rates[:500]}, train.epochs: {epochs}}}\nseeds: 3\n")
    store_results(wide, folder / "results")
    at = ["--output", str(folder / "results")]
    commands = {
        "libraries": ["-c", LIBRARIES],  # what `plan` cannot do without: the floor
        "help": ["-m", "harness", "--help"],
        "plan": ["-m", "harness", "plan", str(small)],
        "help_with_plugins": ["-m", "harness", "--help"],
        "plan_with_plugins": ["-m", "harness", "plan", str(extended)],
        "plan_10000_runs": ["-m", "harness", "plan", str(large)],
        "report_2000_runs": ["-m", "harness", "report", str(stored), *at],
        "report_10000_runs": ["-m", "harness", "report", str(many), *at],
        "page_10000_runs": ["-m", "harness", "report", str(many), *at, "--html"],
        "compare_2500_configs": ["-m", "harness", "compare", str(wide), *at],
        "status_10000_runs": ["-m", "harness", "status", str(many), *at],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, arguments in commands.items():
            paths = [*([str(site)] if name.endswith("_with_plugins") else []), os.environ.get("PYTHONPATH", "")]
            variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=variables)
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def write_plugins(folder: Path) -> tuple[Path, Path]:
    """Returns a suite with files of plug-ins, and a folder where as many packages as `PACKAGES` are installed."""
    source = 'from harness.registry import schedule\n\n\n@schedule("{0}")\ndef {0}(epochs):\n    """Own."""\n'
    for number in range(FILES):
        (folder / f"own_{number}.py").write_text(source.format(f"own_{number}"))
    suite, names = folder / "extended.yaml", [f"own_{number}.py" for number in range(FILES)]
    suite.write_text(f"name: extended\nplugins: {names}\n{BASE}matrix: {{schedule: [own_0, installed_0]}}\nseeds: 3\n")
    site = folder / "site"
    for number in range(PACKAGES):
        about = site / f"installed_{number}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: installed_{number}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[harness.plugins]\nown = installed_{number}\n")
        (site / f"installed_{number}.py").write_text(source.format(f"installed_{number}"))
    return suite, site


def store_results(suite: Path, output: Path, classes: int = 10, preempted_every: int | None = None) -> None:
    """Writes a result for each run of a suite, with numbers made up; each so manyth was preempted."""
    plan = load_suite(suite).plan(fingerprint)
    system = describe_system(use_cpu=True)
    for index, run in enumerate(plan.runs):
        recall: list[float | None] = [(index * 7919 + label * 104729) % 9973 / 9973 for label in range(classes)]
        accuracy = 0.8 + (index * 7919 % 1000) / 10000
        metrics = Metrics(accuracy=accuracy, top5_accuracy=0.99, loss=0.5, macro_recall=0.9, recall_by_class=recall)
        stopped = preempted_every is not None and index % preempted_every == 0
        result = RunResult(
            suite=plan.suite.name,
            label=run.spec.label,
            run_id=run.run_id,
            config_id=run.config_id,
            system_id=system["system_id"],
            seed=run.spec.seed,
            status="preempted" if stopped else "ok",
            cause=Cause(kind="SIGTERM", message="stopped after 7 steps", step=7) if stopped else None,
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
                num_classes=classes,
            ),
            model=ModelFacts(parameters=1000, multiply_accumulates=1000),
            clock=Clock(train_seconds=1 + index % 97, eval_seconds=0.1),
            throughput=Throughput(samples_per_second=1000.0, data_wait_share=0.1),
            memory=Memory(host_rss_bytes=10**9),
            metrics={"train": metrics, "test": metrics},
        )
        folder = run_folder(output, plan.suite.name, run.run_id, system["system_id"])
        folder.checkpoints.path.mkdir(parents=True)
        if stopped:
            (folder.checkpoints.path / "step-0000000007").mkdir()
        # Not through to the disk: that is not what is measured.
        (folder.path / "result.json").write_text(json.dumps(result.model_dump(mode="json"), indent=1))
        (folder.path / "system.json").write_text(json.dumps(system))
        (folder.path / "events.jsonl").write_text(_events(1 + index % 97, accuracy))


def _events(train_seconds: float, accuracy: float) -> str:
    """Returns what a run of many epochs notes down: its accuracy rises to the last."""
    numbers = {"top5_accuracy": 0.99, "loss": 0.5123456789, "macro_recall": 0.9123456789}
    events: list[dict[str, object]] = [{"event": "run_started", "at": "2026-01-01T00:00:00.000+00:00", "attempt": 1}]
    for epoch in range(EPOCHS):
        split = {"accuracy": accuracy * (1 - 0.5 ** (epoch + 1)), **numbers}
        seconds = {"train_seconds": train_seconds / EPOCHS, "wait_seconds": 0.0123456789, "eval_seconds": 0.123456789}
        metrics = {"metrics": {"train": split, "test": split}}
        events.append({"event": "epoch", "at": "2026-01-01T00:00:01.000+00:00", "epoch": epoch, **seconds, **metrics})
    return "".join(json.dumps(event) + "\n" for event in events)


if __name__ == "__main__":
    main()
