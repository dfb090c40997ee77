"""Whether every suite that ships runs on a small card: each config takes two steps with a limited share of a GPU.

    python benchmarks/performance/gtx.py [--json] [--gib 6 3] [--suites NAME ...]

The limit is torch's own (`set_per_process_memory_fraction`), so any larger card will do. Of each suite the configs that
differ in network, image or batch are tried with random images in the place of their data, as `harness run --local`
would run them on a GTX: in float32, which `auto` means there, the first of all in fp16 too; micro-batches are halved
until they fit, and an optimizer step's batch stays what the suite says. Without a GPU the steps are taken without a
limit, which shows that the script works and no more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from harness.data.prepare import prepare
from harness.errors import HarnessError
from harness.measure.system import describe_system
from harness.running.execute import Observer, execute
from harness.spec import RunSpec, parse_run_spec
from harness.suite.plan import load_suite

SUITES = Path(__file__).parents[1]
GIB = 2**30
STEPS = 2
# Of data that are not read: height, channels and classes of the images.
SHAPES = {
    "digits": (8, 1, 10),
    "cifar10": (32, 3, 10),
    "cifar100": (32, 3, 100),
    "image_folder": (32, 3, 10),
    "caltech256": (256, 3, 257),
    "synthetic": (32, 3, 10),
}


def main() -> None:
    """Tries and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gib", type=float, nargs="+", default=[6.0, 3.0])
    parser.add_argument("--suites", nargs="+", default=[path.stem for path in sorted(SUITES.glob("*.yaml"))])
    arguments = parser.parse_args()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    cuda = accelerator.device.type == "cuda"
    found: dict[str, Any] = {"system": describe_system()["name"], "limited": cuda, "configs": []}
    for gib in arguments.gib if cuda else [None]:
        if gib is not None:
            total = torch.cuda.get_device_properties(accelerator.device).total_memory
            share = min(gib * GIB / total, 1.0)  # a card of 6 GB has a little less than 6 GiB
            torch.cuda.set_per_process_memory_fraction(share, torch.cuda.current_device())
        for suite in arguments.suites:
            for spec in different_specs(suite):
                for precision in ("no", "fp16") if cuda and not found["configs"] else ("no",):
                    train = spec.train.model_copy(update={"mixed_precision": precision})
                    came_to = tried(spec.model_copy(update={"train": train}), accelerator)
                    found["configs"].append({"gib": gib, "suite": suite, "label": spec.label, **came_to})
    failed = [config for config in found["configs"] if config["error"]]
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        for one in found["configs"]:
            limit = "no limit" if one["gib"] is None else f"{one['gib']:g} GiB"
            result = one["error"] or f"micro-batches of {one['micro_batch_size']}"
            sys.stdout.write(f"{limit:<9} {one['suite']:<22} {one['label']:<44.44} {result}\n")
        sys.stdout.write(f"{len(found['configs']) - len(failed)} of {len(found['configs'])} run\n")
    raise SystemExit(1 if failed else 0)


def different_specs(suite: str) -> Iterator[RunSpec]:
    """Yields a run for each network, image and batch of a suite, with random images."""
    seen = set()
    path = SUITES / f"{suite}.yaml"
    where = ["data.root=/none"] if "name: image_folder" in path.read_text() else []
    for spec in load_suite(path, where).configs().values():
        size, channels, classes = SHAPES[spec.data.name]
        size = getattr(spec.data, "size", None) or size
        train = spec.train
        values = spec.model_dump(mode="json")
        if "weights" in values["model"]:
            values["model"]["weights"] = None  # they would be downloaded, and are as large as others
        count = STEPS * train.global_batch_size
        values["data"] = {"name": "synthetic", "size": size, "channels": channels, "classes": classes, "train": count,
                          "test": train.eval_batch_size, "augment": values["data"]["augment"]}  # fmt: skip
        values["train"] |= {"epochs": 1, "num_processes": 1, "gradient_accumulation_steps": 1, "compile": False}
        values["train"] |= {"retry_out_of_memory": True, "keep_weights": False}
        values["loader"], values["schedule"] = {"name": "resident"}, {"name": "constant"}
        matters = values["model"], values["data"], train.global_batch_size, train.channels_last
        if (key := json.dumps(matters, sort_keys=True)) not in seen:
            seen.add(key)
            yield parse_run_spec(values)


def tried(spec: RunSpec, accelerator: Accelerator) -> dict[str, Any]:
    """Returns what two steps and an evaluation came to."""
    facts: dict[str, Any] = {"global_batch_size": spec.train.global_batch_size, "error": None}
    quiet = Observer(lambda step: None, lambda epoch: None)
    try:
        measured: Any = execute(spec, prepare(spec.data), accelerator, quiet, fingerprint="").measured
    except (HarnessError, torch.OutOfMemoryError) as error:
        return facts | {"error": str(error).partition("\n")[0]}
    memory = measured.memory.max_allocated_bytes
    return facts | {
        "micro_batch_size": measured.resolved.micro_batch_size,
        "mixed_precision": measured.resolved.mixed_precision,
        "peak_gib": None if memory is None else memory / GIB,
    }


if __name__ == "__main__":
    main()
