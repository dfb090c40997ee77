"""What the harness costs with several ranks, beside plain DistributedDataParallel: the same work, in rounds.

    python benchmarks/performance/ddp.py [--json] [--ranks 2] [--rounds 9] [--steps 20]

The ranks are one launch of torchrun, with gloo on a CPU and NCCL on GPUs. In each round they all run an epoch of each
loop over the same batches, in an order that turns, after a barrier; a round's seconds are those of the slowest rank.
The ratio harness / plain is taken round by round, `low` and `high` bound its median (95 %, order statistics), and so is
that of the harness with DDP's `static_graph`, which it does not use, to the harness without. Each rank has one thread,
unless there are more cores than ranks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from typing import Any

from torchrun import run_ranks, slowest

CASES = {"cnn3": 64, "resnet18": 16}  # samples of a rank


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)  # this is one of them
    arguments = parser.parse_args()
    if arguments.rank:
        if found := measure(arguments.only or list(CASES), arguments.rounds, arguments.steps):
            sys.stdout.write(json.dumps(found) + "\n")
        return
    found = run_ranks(__file__, arguments.ranks, sys.argv[1:])
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}, {found['ranks']} ranks of {found['threads']} threads\n")
    for name, r in found["ratios"].items():
        sys.stdout.write(
            f"{name}: {r['median']:.4f} ({r['low']:.4f} to {r['high']:.4f}, {r['pairs']} rounds), "
            f"{r['step_seconds'] * 1e3:.2f} ms a step\n"
        )


def measure(names: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """Returns the ratios on rank 0 and nothing elsewhere; every rank calls it."""
    import torch
    from accelerate import Accelerator
    from overhead import IMAGE, bare_loop, harness_loop
    from ratios import median_of

    from harness import registry
    from harness.measure.memory import keep_freed_memory
    from harness.measure.system import describe_system
    from harness.running.build import ddp_options

    keep_freed_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[ddp_options()])
    device, ratios = accelerator.device, {}
    for name in names:
        size = CASES[name]
        count = steps if name == "cnn3" else max(steps // 10, 5)
        shape = (size, *IMAGE)
        batches = [
            (torch.randn(shape, device=device), torch.randint(10, shape[:1], device=device)) for _ in range(count)
        ]
        torch.manual_seed(0)
        network = registry.build("architecture", name, IMAGE, 10).to(device)
        plain = torch.nn.parallel.DistributedDataParallel(network, [device] if device.type == "cuda" else None)
        loops = {"plain": bare_loop(plain, batches)}
        for label, static in (("harness", False), ("static", True)):
            accelerator.ddp_handler = dataclasses.replace(ddp_options(), static_graph=static)  # type: ignore[assignment]
            loops[label] = harness_loop(name, size, accelerator, batches)
        seconds: dict[str, list[float]] = {label: [] for label in loops}
        for number in range(rounds + 1):
            turn = number % len(loops)
            for label in [*loops][turn:] + [*loops][:turn]:
                seconds[label].append(slowest(loops[label], device))
        for label, ours, theirs in ((name, "harness", "plain"), (f"static {name}", "static", "harness")):
            pairs = list(zip(seconds[ours], seconds[theirs], strict=True))[1:]
            ratios[f"{label}/{theirs}"] = median_of([a / b for a, b in pairs]) | {
                "steps": count,
                "step_seconds": statistics.median(a for a, _ in pairs) / count,
                f"{theirs}_step_seconds": statistics.median(b for _, b in pairs) / count,
            }
    found = {
        "system": describe_system(use_cpu=device.type == "cpu")["name"],
        "ranks": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "ratios": ratios,
    }
    return found if accelerator.is_main_process else {}


if __name__ == "__main__":
    main()
