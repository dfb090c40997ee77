"""What the harness costs beside a bare PyTorch loop and a stock Accelerate one: the same work, in interleaved rounds.

    python benchmarks/performance/overhead.py [--json] [--pairs 40] [--steps 20] [--only cnn3] [--processor-time]

Each round runs an epoch of each loop over the same batches, in an order that turns; ratios to the bare loop are taken
round by round, so that a machine's drift falls on all, and many short rounds bound it better than a few long ones.
The bare loop and the harness's step the same network, and after some rounds all start anew: where weights come to lie
in memory makes one of two equal loops up to 3 % faster. As in a run, glibc keeps freed memory, for all loops: without,
it pages large tensors in anew at each step of some loops and not of others. `low` and `high` bound the median (95 %,
order statistics).
`--processor-time` counts seconds of the processor instead, which other work on the machine disturbs less; a GPU's are
not in them.
The host's own work is what a step of a network of one small layer takes more than the bare loop's does.
On a GPU the cases are batches of 512 in bf16, and `cnn3` in CUDA graphs, too, beside the bare eager loop.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from ratios import median_of
from torch import nn

from harness import registry
from harness.measure.clock import TrainClock
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.running.build import prepare_network
from harness.spec import ImageShape, parse_run_spec
from harness.training.loop import TrainState, begin_epoch, train_epoch
from harness.training.precision import apply_switches
from harness.training.setup import build_learning_rate, build_optimizer
from harness.training.step_control import StepControl

IMAGE = ImageShape(3, 32, 32)
CASES = {"cnn3": 64, "resnet18": 32}
Compiled = Literal["reduce-overhead"] | bool
Clock = Callable[[], float]
BLOCK = 6  # rounds of the same networks, in each order of the loops as often
HOST = "host"  # the case whose network does next to nothing


class Epoch(Protocol):
    """Batches that can be gone through again and again."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]: ...


@dataclass(frozen=True)
class Case:
    """What the loops do.

    Attributes:
        graphs: the harness compiles, with CUDA graphs.
    """

    architecture: str
    batch_size: int
    mixed_precision: str = "no"
    graphs: bool = False


def cases(*, cuda: bool) -> dict[str, Case]:
    """Returns the cases of a kind of machine by their names."""
    if not cuda:
        return {name: Case(name, size) for name, size in CASES.items()}
    found = {name: Case(name, 512, "bf16") for name in CASES}
    return found | {"cnn3 in graphs": Case("cnn3", 512, "bf16", graphs=True)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=[*cases(cuda=torch.cuda.is_available()), HOST], action="append")
    parser.add_argument("--processor-time", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    chosen = cases(cuda=torch.cuda.is_available())
    ratios: dict[str, Any] = {}
    for name, case in chosen.items():
        if not arguments.only or name in arguments.only:
            ratios |= measure(name, case, arguments.pairs, arguments.steps, clock)
    found = {"system": describe_system()["name"], "threads": torch.get_num_threads(), "ratios": ratios}
    found["seconds"] = "processor" if arguments.processor_time else "wall"
    if not arguments.only or HOST in arguments.only:
        found["host"] = host_work(arguments.pairs, clock)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}, {found['threads']} threads\n")
    for name, r in ratios.items():
        sys.stdout.write(
            f"{name}: {r['median']:.4f} ({r['low']:.4f} to {r['high']:.4f}, {r['pairs']} rounds), "
            f"{r['bare_step_seconds'] * 1e3:.2f} ms a bare step\n"
        )
    if "host" in found:
        host = found["host"]
        sys.stdout.write(
            f"host's own work: {host['median']:.1f} us a step ({host['low']:.1f} to {host['high']:.1f}); "
            f"stock Accelerate's: {host['accelerate']:.1f} us\n"
        )


def measure(name: str, case: Case, rounds: int, steps: int, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Returns the ratios of the harness's step, and of Accelerate's, to a bare one."""
    cpu = not torch.cuda.is_available()
    device = torch.device("cpu" if cpu else "cuda")
    steps = steps if case.architecture == "cnn3" else max(steps // 10, 2)
    shape = (case.batch_size, *IMAGE)
    batches = [(torch.randn(shape, device=device), torch.randint(10, shape[:1], device=device)) for _ in range(steps)]

    def network() -> nn.Module:
        torch.manual_seed(0)
        return registry.build("architecture", case.architecture, IMAGE, 10).to(device)

    def harness(trained: nn.Module) -> Callable[[], None]:
        return harness_loop(
            trained,
            case.batch_size,
            accelerator,
            batches,
            mixed_precision=case.mixed_precision,
            compiled="reduce-overhead" if case.graphs else False,
        )

    seconds: dict[str, list[float]] = {"bare": [], "harness": [], "accelerate": []}
    for block, done in enumerate(range(0, rounds, BLOCK)):
        accelerator = Accelerator(cpu=cpu)
        trained = network()
        make = {
            "bare": functools.partial(bare_loop, trained, batches, case.mixed_precision),
            "harness": functools.partial(harness, network() if case.graphs else trained),
        }
        loops = {loop: make[loop]() for loop in sorted(make, reverse=bool(block % 2))}
        AcceleratorState._reset_state()  # an Accelerator's precision is that of all, and ours prepares models without
        loops["accelerate"] = accelerate_loop(
            network(), Accelerator(cpu=cpu, mixed_precision=case.mixed_precision), batches
        )
        for loop, taken in rounds_of(loops, device, min(BLOCK, rounds - done), clock).items():
            seconds[loop] += taken
        AcceleratorState._reset_state()
    facts = {"steps": steps, "bare_step_seconds": statistics.median(seconds["bare"]) / steps}
    return {
        f"{label}/bare": median_of([a / b for a, b in zip(seconds[loop], seconds["bare"], strict=True)]) | facts
        for label, loop in ((name, "harness"), (f"accelerate {name}", "accelerate"))
    }


def host_work(rounds: int, clock: Clock = time.perf_counter, steps: int = 1000) -> dict[str, float]:
    """Returns the microseconds a step that the harness's loop takes beyond a bare one, and what Accelerate's does."""
    accelerator = Accelerator(cpu=True)
    images, labels = torch.randn(2, *IMAGE), torch.randint(10, (2,))
    batches = [(images, labels)] * steps

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(12, 10))

    seconds = rounds_of(
        {
            "bare": bare_loop(network(), batches),
            "harness": harness_loop(network(), 2, accelerator, batches),
            "accelerate": accelerate_loop(network(), accelerator, batches),
        },
        accelerator.device,
        rounds,
        clock,
    )
    beyond = {
        name: [(a - b) / steps * 1e6 for a, b in zip(seconds[name], seconds["bare"], strict=True)]
        for name in ("harness", "accelerate")
    }
    return {
        **median_of(beyond["harness"]),
        "accelerate": statistics.median(beyond["accelerate"]),
        "bare_step_microseconds": statistics.median(seconds["bare"]) / steps * 1e6,
    }


def rounds_of(
    loops: dict[str, Callable[[], None]], device: torch.device, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Returns the seconds of each loop in each round, after one that is not counted."""
    for loop in loops.values():
        loop()
    names = list(loops)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(loops[name], device, clock))
    return seconds


def harness_loop(
    model: str | nn.Module,
    batch_size: int,
    accelerator: Accelerator,
    batches: Epoch,
    on_step: Callable[[int], None] = lambda step: None,
    mixed_precision: str = "no",
    compiled: Compiled = False,
    weight_decay: float = 0.0,
) -> Callable[[], None]:
    """Returns one epoch of the harness's own loop; `batch_size` is that of a rank."""
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": weight_decay}
    world: int = accelerator.num_processes
    of_all = world * batch_size
    train = {"global_batch_size": of_all, "num_processes": world, "epochs": 1000, "compile": compiled}
    spec = parse_run_spec({"model": "mlp", "data": "synthetic", "optimizer": optimizer, "train": train})
    apply_switches(spec.train)
    torch.manual_seed(0)
    network = registry.build("architecture", model, IMAGE, 10) if isinstance(model, str) else model
    network, prepared = prepare_network(network, spec.train, accelerator)
    built = build_optimizer(spec.optimizer, network)
    train_state = TrainState(
        accelerator=accelerator,
        train=spec.train,
        mixed_precision=mixed_precision,
        network=network,
        model=prepared,
        optimizer=built,
        learning_rate=build_learning_rate(spec.schedule, built, 1000, len(batches)),
        ema=None,
        scaler=torch.amp.GradScaler("cuda", enabled=False),
        num_classes=10,
        on_step=on_step,
    )
    clock = TrainClock(accelerator.device, 0)
    sizes: list[int] = [of_all for _ in range(len(batches))]
    pauses = StepControl(world, lambda: False, every_seconds=300.0, every_steps=None)  # as in a run

    def epoch() -> None:
        so_far, left = begin_epoch(train_state, 0), iter(batches)
        while so_far.batch < len(batches):  # a pause ends it early, as in a run, where a checkpoint would be written
            train_epoch(train_state, left, sizes, so_far, clock, pauses)
            pauses.done()
        so_far.tally.count()

    return epoch


def bare_loop(model: nn.Module, batches: list, mixed_precision: str = "no") -> Callable[[], None]:
    """Returns one epoch as people write it by hand."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    precision = torch.autocast("cuda", torch.bfloat16) if mixed_precision == "bf16" else contextlib.nullcontext()

    def epoch() -> None:
        model.train()
        for images, labels in batches:
            with precision:
                loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def accelerate_loop(model: nn.Module, accelerator: Accelerator, batches: list) -> Callable[[], None]:
    """Returns one epoch as Accelerate's own examples have it: everything prepared."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    def epoch() -> None:
        model.train()
        for images, labels in loader:
            with accelerator.autocast():
                loss = F.cross_entropy(model(images), labels)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def timed(loop: Callable[[], object], device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Returns the seconds of one call, its work on the device included."""
    began = clock()
    loop()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began


if __name__ == "__main__":
    main()
