"""ResNet-18 on CIFAR-10 by the harness, beside the script that most people start from: kuangliu/pytorch-cifar, main.py.

    python benchmarks/performance/standard_recipe.py [--json] [--rounds 15] [--steps 1] [--compiled] [--data FOLDER]

The peer is written anew after that script: torchvision's transforms on Pillow images in two workers, float32, batches
of 128, SGD with momentum and weight decay, the loss and the hits read at each step. The harness does the same work with
its resident loader and channels last, on a GPU in bf16 too; with `--compiled` a second time, with `train.compile: true`
(compiling is on a clock of its own). Rounds of steps take turns; the ratio peer / harness is taken round by round,
`low` and `high` bound its median (95 %, order statistics). The network is ours in all, the one of the script layer by
layer. The script keeps torch's own switches: on a GPU, TF32 in convolutions, and cuDNN's search for kernels, which it
asks for itself. Without a folder of images (train/<class>/*.jpg), 5,000 are made.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from contenders import folder_split, make_images
from overhead import IMAGE, harness_loop, rounds_of
from peers import BATCH_SIZE, MEAN, PADDING, STD, Batches, torch_arrays
from ratios import median_of
from torch import nn

from harness import registry
from harness.data.augment.batched import Recipe
from harness.data.loading import Feed
from harness.data.order import GlobalBatches
from harness.data.source import Split
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.spec import Augment, TrainSection
from harness.training.precision import apply_switches

WEIGHT_DECAY = 5e-4


class Some:
    """The next batches of an endless sequence, each time that it is asked."""

    def __init__(self, batches: Batches, count: int) -> None:
        self._batches, self._count = batches, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return itertools.islice(self._batches, self._count)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=1, help="of a round")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--width", type=int, default=64, help="of the network's first stage; another is no ResNet-18")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        split = folder_split(arguments.data or make_images(Path(name)))
        found = measure(split, arguments.rounds, arguments.steps, arguments.width, compiled=arguments.compiled)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(
        f"{found['system']}, {found['threads']} threads, {found['mixed_precision']} precision: "
        f"{found['peer_step_seconds']:.3f} s a step of the script\n"
    )
    for name, r in found["ratios"].items():
        sys.stdout.write(
            f"{name}: {r['median']:.3f} times as fast ({r['low']:.3f} to {r['high']:.3f}, {r['pairs']} rounds), "
            f"{r['step_seconds']:.3f} s a step\n"
        )


def measure(split: Split, rounds: int, steps: int, width: int, *, compiled: bool) -> dict[str, Any]:
    """Returns how much faster than the script the harness steps."""
    keep_freed_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device = accelerator.device
    precision = "bf16" if device.type == "cuda" else "no"

    def network() -> nn.Module:
        torch.manual_seed(0)
        return registry.build("architecture", "resnet18", IMAGE, 10, width=width).to(device)

    images, labels = np.array(split.images), split.labels

    def ours(*, compiled: bool) -> Callable[[], None]:
        return harness_loop(
            network().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            BATCH_SIZE,
            accelerator,
            Some(resident(split, device, precision), steps),
            mixed_precision=precision,
            compiled=compiled,
            weight_decay=WEIGHT_DECAY,
        )

    def with_switches(loop: Callable[[], None], *, of_torch: bool) -> Callable[[], None]:
        """Returns a loop that sets the process-wide switches as its side has them: torch's own, or a run's."""

        def some_steps() -> None:
            apply_switches(TrainSection(global_batch_size=BATCH_SIZE))
            if of_torch:
                torch.backends.cudnn.allow_tf32 = True
            loop()

        return some_steps

    # The script's workers are forked at its first step, which must come before our loader's threads are there.
    script = script_loop(network(), Some(torch_arrays("v1_pil", images, labels, 2, device), steps))
    loops = {
        "script": with_switches(script, of_torch=True),
        "harness": with_switches(ours(compiled=False), of_torch=False),
    }
    if compiled:
        loops["harness compiled"] = with_switches(ours(compiled=True), of_torch=False)
    seconds = rounds_of(loops, device, rounds)
    theirs = seconds.pop("script")
    return {
        "system": describe_system()["name"],
        "threads": torch.get_num_threads(),
        "mixed_precision": precision,
        "peer_step_seconds": statistics.median(theirs) / steps,
        "ratios": {
            name: median_of([b / a for a, b in zip(own, theirs, strict=True)])
            | {"step_seconds": statistics.median(own) / steps}
            for name, own in seconds.items()
        },
    }


def resident(split: Split, device: torch.device, precision: str) -> Batches:
    """Yields the batches of the harness's resident loader, epoch after epoch."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    recipe = Recipe(Augment(crop=PADDING, flip=True), MEAN, STD, dtype, channels_last=True)
    sampler = GlobalBatches(len(split.labels), BATCH_SIZE, 1, 0, drop_last=True)
    loader = registry.build("loader", "resident", Feed(split, recipe, device, 0, 1, sampler, 0))
    for epoch in range(2**63):
        yield from loader.epoch(epoch)


def script_loop(model: nn.Module, batches: Some) -> Callable[[], None]:
    """Returns some steps as the script makes them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=WEIGHT_DECAY)

    def some_steps() -> None:
        model.train()
        loss_sum, hits = 0.0, 0
        for images, labels in batches:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            hits += logits.max(1).indices.eq(labels).sum().item()

    return some_steps


if __name__ == "__main__":
    main()
