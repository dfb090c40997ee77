"""What the harness costs beside a bare PyTorch loop: the same model, batches and optimizer, in interleaved pairs.

    python benchmarks/performance/overhead.py [--json] [--pairs 15] [--steps 60]

Each pair runs the harness's epoch and a hand-written one, in turn first; the ratio is taken pair by pair, so that a
machine's drift falls on both. `low` and `high` bound the median (95 %, order statistics of the pairs).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from ratios import median_of

from harness import registry
from harness.measure.clock import TrainClock
from harness.measure.system import describe_system
from harness.spec import ImageShape, parse_run_spec
from harness.training.loop import Trainee, begin_epoch, train_epoch
from harness.training.pauses import Pauses
from harness.training.precision import apply_switches
from harness.training.setup import build_learning_rate, build_optimizer

IMAGE = ImageShape(3, 32, 32)
CASES = {"cnn3": 64, "resnet18": 32}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", choices=CASES, action="append")
    arguments = parser.parse_args()
    cases = {name: CASES[name] for name in arguments.only or CASES}
    ratios = {f"{name}/bare": measure(name, size, arguments.pairs, arguments.steps) for name, size in cases.items()}
    found = {"system": describe_system()["name"], "threads": torch.get_num_threads(), "ratios": ratios}
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}, {found['threads']} threads\n")
    for name, r in ratios.items():
        sys.stdout.write(
            f"{name}: {r['median']:.4f} ({r['low']:.4f} to {r['high']:.4f}, {r['pairs']} pairs), "
            f"{r['bare_step_seconds'] * 1e3:.2f} ms a bare step\n"
        )


def measure(name: str, batch_size: int, pairs: int, steps: int) -> dict[str, Any]:
    """Returns the ratio of the harness's step to a bare one for one architecture."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device = accelerator.device
    steps = steps if name == "cnn3" else max(steps // 10, 5)
    batches = [
        (torch.randn(batch_size, *IMAGE, device=device), torch.randint(10, (batch_size,), device=device))
        for _ in range(steps)
    ]
    loops = [harness_loop(name, batch_size, accelerator, batches), bare_loop(name, device, batches)]
    for loop in loops:
        loop()
    seconds: list[tuple[float, float]] = []
    for pair in range(pairs):
        took = [0.0, 0.0]
        for index in (0, 1) if pair % 2 else (1, 0):
            took[index] = timed(loops[index], device)
        seconds.append((took[0], took[1]))
    return {
        **median_of([ours / bare for ours, bare in seconds]),
        "steps": steps,
        "bare_step_seconds": statistics.median(bare for _, bare in seconds) / steps,
    }


def harness_loop(
    name: str,
    batch_size: int,
    accelerator: Accelerator,
    batches: list,
    on_step: Callable[[int], None] = lambda step: None,
) -> Callable[[], None]:
    """Returns one epoch of the harness's own loop."""
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
    train = {"global_batch_size": batch_size, "num_processes": 1, "epochs": 1000}
    spec = parse_run_spec({"model": name, "data": "synthetic", "optimizer": optimizer, "train": train})
    apply_switches(spec.train)
    torch.manual_seed(0)
    network = registry.build("architecture", name, IMAGE, 10).to(accelerator.device)
    built = build_optimizer(spec.optimizer, network)
    trainee = Trainee(
        accelerator=accelerator,
        train=spec.train,
        mixed_precision="no",
        network=network,
        model=accelerator.prepare_model(network),
        optimizer=built,
        learning_rate=build_learning_rate(spec.schedule, built, 1000, len(batches)),
        ema=None,
        scaler=torch.amp.GradScaler("cuda", enabled=False),
        num_classes=10,
        on_step=on_step,
    )
    clock = TrainClock(accelerator.device, 0)
    sizes = [batch_size] * len(batches)
    pauses = Pauses(1, lambda: False, every_seconds=300.0, every_steps=None)  # as in a run

    def epoch() -> None:
        so_far = begin_epoch(trainee, 0)
        train_epoch(trainee, iter(batches), sizes, so_far, clock, pauses)
        so_far.tally.count()

    return epoch


def bare_loop(name: str, device: torch.device, batches: list) -> Callable[[], None]:
    """Returns one epoch as people write it by hand."""
    torch.manual_seed(0)
    model = registry.build("architecture", name, IMAGE, 10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def epoch() -> None:
        model.train()
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def timed(loop: Callable[[], None], device: torch.device) -> float:
    """Returns the seconds of one call, its work on the device included."""
    began = time.perf_counter()
    loop()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
