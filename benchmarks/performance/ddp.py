"""What the harness costs with several ranks, beside plain DistributedDataParallel: the same work, in rounds.

    python benchmarks/performance/ddp.py [--json] [--ranks 2] [--rounds 9] [--steps 20]

The ranks are one launch of torchrun, with gloo on a CPU and NCCL on GPUs. In each round they all run an epoch of each
loop over the same batches, in an order that turns, after a barrier; a round's seconds are those of the slowest rank.
The ratio harness / plain is taken round by round, `low` and `high` bound its median (95 %, order statistics). Each
rank has one thread, unless there are more cores than ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

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
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={arguments.ranks}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // arguments.ranks))}
    done = subprocess.run(
        [*launched, __file__, "--rank", *sys.argv[1:]],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}, {found['ranks']} ranks of {found['threads']} threads\n")
    for name, r in found["ratios"].items():
        sys.stdout.write(
            f"{name}: {r['median']:.4f} ({r['low']:.4f} to {r['high']:.4f}, {r['pairs']} rounds), "
            f"{r['plain_step_seconds'] * 1e3:.2f} ms a plain step\n"
        )


def measure(names: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """Returns the ratios on rank 0 and nothing elsewhere; every rank calls it."""
    import torch
    from accelerate import Accelerator
    from overhead import IMAGE, bare_loop, harness_loop, timed
    from ratios import median_of
    from torch import distributed

    from harness import registry
    from harness.build import ddp_options
    from harness.measure.memory import keep_freed_memory
    from harness.measure.system import describe_system

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
        loops = {"plain": bare_loop(plain, batches), "harness": harness_loop(name, size, accelerator, batches)}
        seconds: dict[str, list[float]] = {"plain": [], "harness": []}
        for number in range(rounds + 1):
            for loop in ("plain", "harness") if number % 2 else ("harness", "plain"):
                distributed.barrier()
                own = torch.tensor(timed(loops[loop], device), device=device)
                distributed.all_reduce(own, distributed.ReduceOp.MAX)
                seconds[loop].append(own.item())
        pairs = list(zip(seconds["harness"], seconds["plain"], strict=True))[1:]
        ratios[f"{name}/plain"] = median_of([ours / theirs for ours, theirs in pairs]) | {
            "steps": count,
            "plain_step_seconds": statistics.median(theirs for _, theirs in pairs) / count,
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
