"""Whether a process that is kept for all runs changes a run's train time: kept beside a fresh process for each run.

    python benchmarks/performance/isolation.py [--json] [--rounds 4] [--epochs 60]

In each round a process that has done six other runs and one that has just started train the same run in lockstep: one
waits while the other does an epoch, in turn first, so that a machine's drift falls on both. The ratio kept / fresh is
taken epoch by epoch; `low` and `high` bound its median (95 %, order statistics). A process's luck with its memory lasts
for its life, so each round's own median is given too.
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
    "data": {"name": "synthetic", "train": 2048, "test": 128},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "train": {"global_batch_size": 64, "evaluate_every_epochs": 1000},
}
MODELS: list[dict[str, Any]] = [{"name": "cnn3"}, {"name": "resnet18", "width": 4}]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
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
    sys.stdout.write(f"{found['system']}: train time of an epoch, kept / fresh process\n")
    for name, r in ratios.items():
        rounds = ", ".join(f"{value:.3f}" for value in r["rounds"])
        sys.stdout.write(
            f"{name}: {r['median']:.4f} ({r['low']:.4f} to {r['high']:.4f}, {r['pairs']} epochs; by round {rounds})\n"
        )


def compare(model: dict[str, Any], rounds: int, epochs: int) -> dict[str, Any]:
    """Returns the ratios kept / fresh of a model's epochs."""
    others = [run(other, seed, 3) for seed in (1, 2, 3) for other in MODELS]
    by_round = []
    for _ in range(rounds):
        measured = run(model, 0, epochs + 1)
        trainers = []
        for runs in ([*others, measured], [measured]):
            trainers.append(start(runs))
            read_seconds(trainers[-1])  # the first epoch is not compared
        ratios = []
        for number in range(epochs):
            seconds = [0.0, 0.0]
            for which in (0, 1) if number % 2 else (1, 0):
                seconds[which] = next_epoch(trainers[which])
            ratios.append(seconds[0] / seconds[1])
        for trainer in trainers:
            trainer.communicate("\n")
        by_round.append(ratios)
    return {
        **median_of([ratio for ratios in by_round for ratio in ratios]),
        "rounds": [statistics.median(ratios) for ratios in by_round],
    }


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
    from harness.execute import Observer, execute
    from harness.measure.memory import keep_freed_memory
    from harness.spec import parse_run_spec
    from harness.training.history import Epoch

    gc.freeze()  # as `harness.worker` does: a collection would walk through all that was imported
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
