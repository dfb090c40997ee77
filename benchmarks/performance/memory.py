"""Peak memory of a run beside that of a bare PyTorch loop, the run's data set taken off.

    python benchmarks/performance/memory.py [--json] [--steps 250] [--only cnn3]

The harness's side is a whole run of two epochs with an evaluation after each, and the resident loader, which keeps the
training and the test set in memory: `resident_bytes`. The bare side is the same training and evaluation as people
write them by hand, with the same batch size, over one batch that is there before the first step; it keeps no data set.
A run may take what a bare loop takes and its data set, so `resident_bytes` are in neither peak.

Each side has a process of its own, so that neither finds what the other has left. On a GPU the peak is the most that
torch's allocator has given out. On a CPU it is the most bytes that tensors had at once, by what torch's profiler tells
of each allocation; the resident data set, an array of NumPy's there, is not among them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from overhead import IMAGE, Case, bare_loop, cases
from torch.profiler import ProfilerActivity, profile

from harness import registry
from harness.data.prepare import Splits, prepare
from harness.measure.system import describe_system
from harness.running.execute import Observer, execute
from harness.spec import RunSpec, parse_run_spec
from harness.training.precision import apply_switches

EPOCHS, TEST_BATCHES = 2, 5
MIB = 2**20
QUIET = {"KINETO_LOG_LEVEL": "99"}  # the profiler's library tells of its start and its end


def main() -> None:
    """Measures and prints."""
    chosen = {name: case for name, case in cases(cuda=torch.cuda.is_available()).items() if not case.graphs}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--only", choices=chosen, action="append")
    parser.add_argument("--side", choices=("harness", "bare"), help=argparse.SUPPRESS)  # in this process
    arguments = parser.parse_args()
    if arguments.side:
        [name] = arguments.only
        sys.stdout.write(json.dumps(measure(chosen[name], arguments.side, arguments.steps)) + "\n")
        return
    ratios = {f"{name}/bare": compare(name, arguments.steps) for name in arguments.only or chosen}
    found = {"system": describe_system()["name"], "ratios": ratios}
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}\n")
    for name, r in ratios.items():
        sys.stdout.write(
            f"{name}: {r['ratio']:.3f}, {r['harness_bytes'] / MIB:.1f} MiB and {r['bare_bytes'] / MIB:.1f} MiB; "
            f"{r['resident_bytes'] / MIB:.1f} MiB of data beside them\n"
        )


def compare(name: str, steps: int) -> dict[str, Any]:
    """Returns the peaks of both sides without the resident data set, and their ratio."""
    steps = steps if name == "cnn3" else max(steps // 10, 5)
    found: dict[str, Any] = {"steps": steps}
    for side in ("harness", "bare"):
        command = [sys.executable, __file__, "--side", side, "--only", name, "--steps", str(steps)]
        done = subprocess.run(command, env=os.environ | QUIET, check=True, stdout=subprocess.PIPE, text=True)
        found |= json.loads(done.stdout.splitlines()[-1])
    return found | {"ratio": found["harness_bytes"] / found["bare_bytes"]}


def measure(case: Case, side: str, steps: int) -> dict[str, int]:
    """Returns the peak of one side in this process."""
    spec = run_spec(case, steps)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device = accelerator.device
    if side == "bare":
        apply_switches(spec.train)  # cuDNN's search for the fastest algorithm has a peak of its own
        return {"bare_bytes": peak_bytes(lambda: bare_run(case, steps, device), device)}
    splits = prepare(spec.data)
    resident = resident_bytes(splits)
    quiet = Observer(lambda step: None, lambda epoch: None)
    peak = peak_bytes(lambda: execute(spec, splits, accelerator, quiet, fingerprint=""), device)
    return {"harness_bytes": peak - resident if device.type == "cuda" else peak, "resident_bytes": resident}


def run_spec(case: Case, steps: int) -> RunSpec:
    """Returns the harness's run; it evaluates in batches of the size that it trains with, as the bare side does."""
    size = case.batch_size
    data = {"name": "synthetic", "train": steps * size, "test": TEST_BATCHES * size}
    return parse_run_spec(
        {
            "model": case.architecture,
            "data": data | {"augment": {"crop": 4, "flip": True}},
            "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
            "loader": "resident",
            "train": {
                "epochs": EPOCHS,
                "global_batch_size": size,
                "eval_batch_size": size,
                "mixed_precision": case.mixed_precision,
            },
        }
    )


def resident_bytes(splits: Splits) -> int:
    """Returns the bytes of the images and labels that the resident loader keeps."""
    return sum(split.size_bytes + split.labels.nbytes for split in (splits.train, splits.test))


def bare_run(case: Case, steps: int, device: torch.device) -> None:
    """Trains and evaluates as people write it by hand."""
    network = registry.build("architecture", case.architecture, IMAGE, 10).to(device)
    images = torch.randn(case.batch_size, *IMAGE, device=device)
    labels = torch.randint(10, (case.batch_size,), device=device)
    epoch = bare_loop(network, [(images, labels)] * steps, case.mixed_precision)
    precision = torch.autocast("cuda", torch.bfloat16) if case.mixed_precision == "bf16" else contextlib.nullcontext()
    for _ in range(EPOCHS):
        epoch()
        network.eval()
        hits = torch.zeros((), dtype=torch.int64, device=device)
        with torch.no_grad(), precision:
            for _ in range(TEST_BATCHES):
                hits += (network(images).argmax(1) == labels).sum()
        hits.item()


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Returns the most bytes that were allocated at once for tensors on a device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        work()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()  # type: ignore[attr-defined]
        peak = max(peak, live)
    return peak


if __name__ == "__main__":
    main()
