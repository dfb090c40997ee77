"""How much faster N GPUs would train than one: modelled from a step of one device, and measured on none of the N.

    python benchmarks/performance/scaling_model.py [--json] [--ranks 8] [--step-seconds 0.01 0.02] [--link-rate 371e9]

Weak scaling: each device has the batch that the one has. `fake_ranks.py` measures the step, `all_reduce.py` has the
arithmetic. `--step-seconds` puts other steps in the place of the measured one, e.g. those of a GPU where there is none:
the buckets keep their shares of it. What DDP itself adds is the host's work above all: `speed_up` takes all of it as
added to the step, `speed_up_hidden` nothing, as where the host is ahead of the device.

The link is `--link-rate` (bytes a second in one direction), or what an all-reduce takes over this machine's GPUs where
it has several, or a published NVLink. `--calibrate RANKS` takes an all-reduce of so many ranks, by gloo without a GPU.
Left out: what NCCL's kernels take from those of the network, waiting for the slowest rank, and the loader.
`benchmarks/scaling.yaml` measures what is modelled here, where there are as many GPUs.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import sys
from typing import Any

import torch
from accelerate import Accelerator
from all_reduce import Link, Step, exposed_seconds, least_seconds, link_between, speed_up
from fake_ranks import step_of_one
from overhead import cases
from torch import distributed
from torchrun import run_ranks, slowest

from harness.measure.system import describe_system

# NVIDIA's own figures (github.com/NVIDIA/nccl, 2.30): Hopper's 18 links of 20.6 GB/s each in one direction
# (src/graph/topo.h), and a ring's latencies within a node, protocol Simple (src/graph/tuning.cc). The 900 GB/s of data
# sheets are both directions, with what the protocol takes.
NVLINK = Link("published", 18 * 20.6e9, hop_seconds=3.4e-6, start_seconds=8.4e-6)
EFFICIENCY = 0.95  # the limit: 7.6 x with 8
FEW, MANY = 2**16, 2**26  # bytes of the all-reduces that calibrate a link


def main() -> None:
    """Measures, models and prints."""
    cuda = torch.cuda.is_available()
    chosen = {name: case for name, case in cases(cuda=cuda).items() if not case.graphs}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--only", choices=chosen, action="append")
    parser.add_argument("--batch-size", type=int, help="of a device")
    parser.add_argument("--step-seconds", type=float, nargs="+", default=[], metavar="SECONDS")
    parser.add_argument("--link-rate", type=float, metavar="BYTES_PER_SECOND")
    parser.add_argument("--calibrate", type=int, default=torch.cuda.device_count(), metavar="RANKS")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)  # this is one that calibrates
    arguments = parser.parse_args()
    if arguments.rank:
        calibrate()
        return
    ranks, link = arguments.ranks, chosen_link(arguments.link_rate, arguments.calibrate)
    system = describe_system()["name"]
    found: dict[str, Any] = {"system": system, "modelled": True, "scaling": "weak", "ranks": ranks}
    found |= {"link": dataclasses.asdict(link), "limit": EFFICIENCY * ranks, "cases": {}}
    for name in arguments.only or chosen:
        case = dataclasses.replace(chosen[name], batch_size=arguments.batch_size or chosen[name].batch_size)
        step = step_of_one(case, ranks, arguments.rounds, arguments.steps)
        found["cases"][name] = {"batch_size": case.batch_size, **model(step, ranks, link, arguments.step_seconds)}
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(
        f"{system}: modelled, not measured: {ranks} devices beside one, weak scaling, "
        f"{link.bytes_per_second / 1e9:.0f} GB/s ({link.source})\n"
    )
    for name, one in found["cases"].items():
        sys.stdout.write(f"{name}, batch {one['batch_size']}; DDP adds {one['ddp_seconds'] * 1e6:.0f} us a step\n")
        for label, m in one["modelled"].items():
            source = f"measured on {system}" if label == "measured" else "given"
            sys.stdout.write(
                f"  {m['speed_up']:.2f} x with a step of {m['step_seconds'] * 1e3:.2f} ms ({source}), "
                f"{m['speed_up_hidden']:.2f} x where that is hidden\n"
            )
        sys.stdout.write(
            f"  {found['limit']:g} x from a step of {one['least_step_seconds'] * 1e3:.2f} ms on, "
            f"from {one['least_step_seconds_hidden'] * 1e3:.2f} ms where that is hidden\n"
        )


def chosen_link(rate: float | None, ranks: int) -> Link:
    """Returns a link of a given rate, or one that is measured between ranks where there are several, or NVLink."""
    if rate:
        return dataclasses.replace(NVLINK, source="given", bytes_per_second=rate)
    if ranks < 2:
        return NVLINK
    few, many = run_ranks(__file__, ranks, [])
    return link_between(few, many, ranks)


def model(step: Step, ranks: int, link: Link, given: list[float]) -> dict[str, Any]:
    """Returns the speed-ups that are modelled with the measured step, and with others."""
    hidden = dataclasses.replace(step, ddp_seconds=0.0)
    others = {f"{seconds:g} s": dataclasses.replace(step, seconds=seconds) for seconds in given}
    return {
        "ddp_seconds": step.ddp_seconds,
        "buckets": [dataclasses.asdict(bucket) for bucket in step.buckets],
        "modelled": {
            label: {
                "step_seconds": one.seconds,
                "exposed_seconds": exposed_seconds(one, ranks, link),
                "speed_up": speed_up(one, ranks, link),
                "speed_up_hidden": speed_up(dataclasses.replace(one, ddp_seconds=0.0), ranks, link),
            }
            for label, one in ({"measured": step} | others).items()
        },
        "least_step_seconds": least_seconds(step, ranks, link, EFFICIENCY * ranks),
        "least_step_seconds_hidden": least_seconds(hidden, ranks, link, EFFICIENCY * ranks),
    }


def calibrate(repeats: int = 10) -> None:
    """Prints, on rank 0, the bytes of a small and a large all-reduce and the median of what the slowest rank took."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    found = []
    for nbytes in (FEW, MANY):
        all_reduce = functools.partial(distributed.all_reduce, torch.zeros(nbytes // 4, device=accelerator.device))
        seconds = [slowest(all_reduce, accelerator.device) for _ in range(repeats + 3)]
        found.append((nbytes, statistics.median(seconds[3:])))
    if accelerator.is_main_process:
        sys.stdout.write(json.dumps(found) + "\n")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
