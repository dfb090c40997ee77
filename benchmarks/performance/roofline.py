"""How much of what the roofline allows a network's steps reach: the fraction of peak beside the one that can be had.

    python benchmarks/performance/roofline.py --results results/precision [--json]
    python benchmarks/performance/roofline.py [--batch-size 256]

The first is of a suite's runs on systems that are calibrated, the second of ResNet-18 on an H100 as published.

Peak and bandwidth of a run's system are those that `harness calibrate` measured: the matrix product in the precision
that ran, and the copy within memory. Each operation of a step runs by itself and moves each of its tensors once, so a
step that fuses operations (`train.compile`) may come out above.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from harness.data.prepare import prepare
from harness.errors import HarnessError
from harness.models.network import build_network
from harness.records.calibration import Calibration, read_calibrations
from harness.records.comparable import compares
from harness.records.read import read_suite
from harness.records.result import RunResult
from harness.report.derived import fraction_of_peak, peak_of
from harness.spec import ImageShape, parse_run_spec
from harness.training.precision import DTYPES, autocast

AIM = 0.8  # of what the roofline allows
# NVIDIA's data sheet of the H100 SXM: dense bf16 on tensor cores, and HBM3.
H100_OPERATIONS_PER_SECOND, H100_BYTES_PER_SECOND = 989e12, 3.35e12
CPU = torch.device("cpu")
RATE = "throughput.samples_per_second"


class Operation(NamedTuple):
    """One operation of a step: floating-point operations of its products, and bytes that it reads and writes."""

    name: str
    flops: float
    moved_bytes: float


def main() -> None:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="of a suite, as results/NAME")
    parser.add_argument("--batch-size", type=int, default=256, help="without --results")
    arguments = parser.parse_args()
    try:
        found = of_results(arguments.results) if arguments.results else [of_h100(arguments.batch_size)]
    except HarnessError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")
    text = json.dumps(found, indent=1) if arguments.json else "\n".join(map(as_line, found))
    sys.stdout.write(text + "\n")


def allowed_fraction(operations: Iterable[Operation], peak: float, bandwidth: float) -> float:
    """Returns the fraction of peak that a step can reach whose operations run one after the other.

    None takes less time than its products at the peak, nor than its bytes at the bandwidth: Williams, Waterman and
    Patterson, "Roofline", Communications of the ACM 52 (4), 2009.

    Args:
        operations: of the step.
        peak: operations a second.
        bandwidth: bytes a second, read and written.
    """
    operations = list(operations)
    seconds = sum(max(each.flops / peak, each.moved_bytes / bandwidth) for each in operations)
    return sum(each.flops for each in operations) / peak / seconds


def operations_of_step(network: nn.Module, image: ImageShape, batch_size: int, precision: str) -> list[Operation]:
    """Returns the operations of a forward and a backward pass, of tensors without values; the layout changes no count.

    Args:
        network: on the CPU.
        image: what it takes.
        batch_size: images of one forward pass.
        precision: as `train.mixed_precision`.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.empty(batch_size, *image, dtype=DTYPES.get(precision, torch.float32))
        with _Counted() as counted:
            with autocast(precision, CPU):
                logits = network.train()(images)
                loss = nn.functional.cross_entropy(logits, torch.zeros(batch_size, dtype=torch.int64))
            loss.backward()
    return counted.operations


class _Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and any(isinstance(each, Tensor) for each in tree_leaves(result)):
            flops = flop_registry.get(func.overloadpacket, lambda *_, **__: 0)(*args, **(kwargs or {}), out_val=result)
            tensors = {id(each): each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)}
            self.operations.append(Operation(func.overloadpacket.__name__, flops, sum(map(_bytes, tensors.values()))))
        return result


def _bytes(tensor: Tensor) -> int:
    """Returns what of it lies in memory: a number that was expanded is there once."""
    return min(tensor.numel() * tensor.itemsize, tensor.untyped_storage().nbytes())


def of_h100(batch_size: int) -> dict[str, Any]:
    """Returns what an H100's published rates allow a step of ResNet-18 on images of CIFAR's size, in bf16."""
    sections = {"model": "resnet18", "data": "cifar10", "optimizer": {"name": "sgd", "lr": 0.1}}
    image = ImageShape(3, 32, 32)
    operations = operations_of_step(build_network(parse_run_spec(sections).model, image, 10), image, batch_size, "bf16")
    allowed = allowed_fraction(operations, H100_OPERATIONS_PER_SECOND, H100_BYTES_PER_SECOND)
    name = f"resnet18, batch {batch_size}, bf16, by the data sheet of an H100"
    return {"config": name, "fraction_of_peak": None, "allowed": allowed, "aim": AIM * allowed}


def of_results(folder: Path) -> list[dict[str, Any]]:
    """Returns for each config of a suite and each system what its runs reached, and what they could.

    Raises:
        HarnessError: no system is calibrated on which there are runs.
    """
    root = folder.absolute().parent
    by_config: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for run in read_suite(root, folder.name).results:
        if run.status == "ok":
            by_config[run.config_id, run.system_id].append(run)
    calibrations, _ = read_calibrations(root, (system_id for _, system_id in by_config))
    if not calibrations:
        raise HarnessError(f"no run in {folder} is of a calibrated system", f"harness calibrate --output {root}")
    return [
        _of_config(runs, calibrations[system_id])
        for (_, system_id), runs in by_config.items()
        if system_id in calibrations
    ]


def _of_config(runs: list[RunResult], calibration: Calibration) -> dict[str, Any]:
    timed = [run for run in runs if compares(run, RATE)]  # as tables take them
    run, reached = runs[0], fraction_of_peak(timed, calibration)
    peak, bandwidth = peak_of(run, calibration), calibration.rate("memory_copy")
    found: dict[str, Any] = {"config": run.label, "fraction_of_peak": reached.mean if reached else None}
    if peak is None or bandwidth is None or run.resolved is None:
        return {**found, "allowed": None, "aim": None}
    spec = parse_run_spec(run.spec)
    splits = prepare(spec.data)
    image = splits.image_shape(spec.data.augment)
    network = build_network(spec.model, image, len(splits.class_names))
    operations = operations_of_step(network, image, run.resolved.micro_batch_size, run.resolved.mixed_precision)
    allowed = allowed_fraction(operations, peak.median, bandwidth.median)
    return {**found, "allowed": allowed, "aim": AIM * allowed}


def as_line(found: dict[str, Any]) -> str:
    """Returns what a config came to."""
    reached, allowed = found["fraction_of_peak"], found["allowed"]
    if allowed is None:
        return f"{found['config']}: its precision was not calibrated"
    text = f"{reached:.3f} of" if reached is not None else "not measured, of"
    return f"{found['config']}: {text} {allowed:.3f} that the roofline allows; the aim is {found['aim']:.3f}"


if __name__ == "__main__":
    main()
