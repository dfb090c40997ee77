"""Whether a process that is kept for all runs changes a run's train time: kept beside fresh processes for that run.

    python benchmarks/performance/isolation.py [--json] [--rounds 12] [--epochs 16] [--images 512]

In each round a process that has done six other runs and two that have just started train the same run in lockstep: two
wait while the third does an epoch, in turn first, so that a machine's drift falls on all. A process's luck with where
its memory lies lasts for its life, so a round is one observation, however many epochs it has: the median of its
epochs' ratios kept / fresh (the mean of both). `low` and `high` bound the median of the rounds (95 %, order
statistics). The two fresh ones beside each other, `fresh/fresh`, show what luck alone does.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
from typing import Any

from ratios import median_of

BASE = {
    "data": {"name": "synthetic", "train": 512, "test": 128},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "train": {"global_batch_size": 64, "evaluate_every_epochs": 1000},
}
MODELS: list[dict[str, Any]] = [{"name": "cnn3"}, {"name": "resnet18", "width": 4}]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--images", type=int, default=BASE["data"]["train"], help="of an epoch")
    parser.add_argument("--runs", help=argparse.SUPPRESS)  # a trainer: the runs of this process, as JSON
    arguments = parser.parse_args()
    if arguments.runs:
        train(json.loads(arguments.runs))
        return
    BASE["data"]["train"] = arguments.images
    ratios = {model["name"]: compare(model, arguments.rounds, arguments.epochs) for model in MODELS}
    from harness.measure.system import describe_system

    found = {"system": describe_system()["name"], "kept/fresh": ratios}
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}: train time of an epoch\n")
    for name, ratio in ratios.items():
        sys.stdout.write(f"{name}: {told(ratio)}\n")


def told(ratio: dict[str, Any]) -> str:
    """Returns what `compare` found as a line."""
    parts = []
    for name, r in (("kept / fresh", ratio), ("fresh / fresh", ratio["fresh/fresh"])):
        rounds = f"{min(r['rounds']):.3f} to {max(r['rounds']):.3f}"
        parts.append(f"{name} {r['median']:.4f} ({r['low']:.4f} to {r['high']:.4f}, {r['pairs']} rounds from {rounds})")
    return "; ".join(parts)


def compare(model: dict[str, Any], rounds: int, epochs: int) -> dict[str, Any]:
    """Returns the ratios kept / fresh and fresh / fresh of a model's epochs, a round of three processes each."""
    others = [run(other, seed, 3) for seed in (1, 2, 3) for other in MODELS]
    measured = run(model, 0, epochs + 1)
    kept, luck = [], []
    for _ in range(rounds):
        trainers = [start(runs) for runs in ([*others, measured], [measured], [measured])]
        for trainer in trainers:
            read_seconds(trainer)  # the first epoch is not compared
        seconds = [in_turn(trainers, number) for number in range(epochs)]
        for trainer in trainers:
            trainer.communicate("\n")
        kept.append(statistics.median(2 * a / (b + c) for a, b, c in seconds))
        luck.append(statistics.median(b / c for _, b, c in seconds))
    return {
        **median_of(kept),
        "rounds": kept,
        "epochs": epochs,
        "fresh/fresh": {**median_of(luck), "rounds": luck},
    }


def in_turn(trainers: list[subprocess.Popen[str]], number: int) -> list[float]:
    """Lets each trainer do an epoch, another one first each time, and returns their seconds."""
    first = number % len(trainers)
    order = [*range(first, len(trainers)), *range(first)]
    seconds = {which: next_epoch(trainers[which]) for which in (order[::-1] if number % 2 else order)}
    return [seconds[which] for which in range(len(trainers))]


def run(model: dict[str, Any], seed: int, epochs: int) -> dict[str, Any]:
    """Returns a run's spec as JSON has it."""
    return {**BASE, "model": model, "seed": seed, "train": {**BASE["train"], "epochs": epochs}}


def start(runs: list[dict[str, Any]]) -> subprocess.Popen[str]:
    """Starts a process that does runs, and the last of them an epoch at a time."""
    command = [sys.executable, __file__, "--runs", json.dumps(runs)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def next_epoch(trainer: subprocess.Popen[str]) -> float:
    """Lets a trainer do an epoch and returns its seconds."""
    assert trainer.stdin
    trainer.stdin.write("\n")
    trainer.stdin.flush()
    return read_seconds(trainer)


def read_seconds(trainer: subprocess.Popen[str]) -> float:
    """Waits until a trainer has done an epoch and returns what its train clock took."""
    assert trainer.stdout
    if not (line := trainer.stdout.readline()):
        raise SystemExit(f"error: a trainer ended with exit code {trainer.wait()}")
    return float(line)


def train(runs: list[dict[str, Any]]) -> None:
    """Does runs as a worker does; in the last one, tells the seconds of each epoch and waits for a line on stdin."""
    gc.disable()
    import torch
    from accelerate import Accelerator

    from harness.data.prepare import prepare
    from harness.measure.memory import keep_freed_memory
    from harness.running.execute import Observer, execute
    from harness.spec import parse_run_spec
    from harness.training.history import Epoch

    gc.freeze()  # as `harness.running.worker` does: a collection would walk through all that was imported
    gc.enable()

    def take_turns(epoch: Epoch) -> None:
        sys.stdout.write(f"{epoch.time.train_seconds}\n")
        sys.stdout.flush()
        sys.stdin.readline()

    keep_freed_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    for number, values in enumerate(runs):
        spec = parse_run_spec(values)
        observer = Observer(lambda _: None, take_turns if number == len(runs) - 1 else lambda _: None)
        execute(spec, prepare(spec.data), accelerator, observer, fingerprint="none")


if __name__ == "__main__":
    main()
