"""Images per second of the loaders on photographs of 400 x 350 pixels, cut to 224 x 224, beside torchvision and timm.

    python benchmarks/performance/photographs.py [--json] [--images 1024] [--seconds 4] [--rounds 3] [--workers 2]

JPEG files of several sizes about 400 x 350, parts of two photographs of scikit-learn. Each loader yields shuffled
training batches of 64: a random resized crop, mirrored at random, normalised as ImageNet, float32, on the CPU. Peers
are torchvision's reference (`ImageFolder`, `RandomResizedCrop`, `PILToTensor`) and timm's `create_loader`. `decoding`
is one thread that only decodes and cuts as `pinned` does, times the cores: what the processor allows.
"""

# pyright: reportArgumentType=false
# timm takes more than it declares.

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loaders import rate, ratio, settle
from peers import Batches
from PIL import Image
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from harness import registry
from harness.data.augment.batched import Recipe
from harness.data.cut import cut
from harness.data.loading import Feed
from harness.data.normalize import PUBLISHED
from harness.data.order import GlobalBatches
from harness.data.prepare import prepare
from harness.data.source import Split
from harness.measure.system import describe_system
from harness.spec import Augment, DataSection, section_model

BATCH_SIZE, SIZE, RESIZE = 64, 224, 256
MEAN, STD = PUBLISHED["imagenet"]
RATIOS = ("pinned/torchvision", "dali/torchvision", "pinned/timm", "dali/timm")
CPU = torch.device("cpu")


def make_photographs(root: Path, count: int) -> Path:
    """Writes parts of two photographs as JPEG files, of 360 x 390 to 440 x 310 pixels."""
    random = np.random.default_rng(0)
    wholes = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    for number in range(count):
        wide, left, top = 360 + number % 81, random.integers(200), random.integers(37)
        part = wholes[number % 2].crop((left, top, left + wide, top + 750 - wide))
        folder = root / ("test" if number < 8 else "train") / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        part.save(folder / f"{number:05}.jpg", quality=90)
    return root


def photographs(root: Path) -> Split:
    """Returns the training images, as they are."""
    data = {"name": "image_folder", "root": str(root), "evaluate": {"resize": RESIZE, "crop": SIZE}}
    section = section_model("data", "image_folder").model_validate(data)
    assert isinstance(section, DataSection)
    return prepare(section, encoded=True).train


def ours(name: str, split: Split, **parameters: Any) -> Batches:
    """Yields the batches of one of the harness's loaders, epoch after epoch."""
    augment = Augment.model_validate({"random_resized_crop": {"size": SIZE}, "flip": True})
    sampler = GlobalBatches(len(split.labels), BATCH_SIZE, 1, 0, drop_last=True)
    feed = Feed(split, Recipe(augment, MEAN, STD, cut_size=SIZE), CPU, 0, 1, sampler, 0)
    loader = registry.build("loader", name, feed, **parameters)
    for epoch in range(2**63):
        yield from loader.epoch(epoch)


def torchvision_reference(root: Path, workers: int) -> Batches:
    """Yields batches as torchvision's references/classification makes them of PIL images, with its newer transforms."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    data = ImageFolder(str(root / "train"), transform)
    loader = DataLoader(
        data, BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )
    while True:
        yield from loader


def timm_loader(root: Path, workers: int) -> Batches:
    """Yields batches of timm's loader."""
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    loader = create_loader(
        create_dataset("", str(root / "train")),
        input_size=(3, SIZE, SIZE),
        batch_size=BATCH_SIZE,
        is_training=True,
        interpolation="bilinear",
        color_jitter=None,
        mean=MEAN,
        std=STD,
        num_workers=workers,
        persistent_workers=workers > 0,
        use_prefetcher=False,
        device=CPU,
    )
    while True:
        yield from loader


def decoding(split: Split, seconds: float) -> float:
    """Returns the images per second that one thread decodes and cuts."""
    assert split.varied
    drawn = Augment.model_validate({"random_resized_crop": {"size": SIZE}})
    boxes = Feed(split, Recipe(drawn, MEAN, STD, cut_size=SIZE), CPU, 0, 1, GlobalBatches(1, 1, 1, 0), 0).draws(0).box
    threads, done, began = torch.get_num_threads(), 0, time.perf_counter()
    torch.set_num_threads(1)
    while time.perf_counter() - began < seconds:
        one = np.array([done % len(split.labels)])
        cut(split.varied, split.rows[one], boxes[one])
        done += 1
    torch.set_num_threads(threads)
    return done / (time.perf_counter() - began)


def compare(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures in rounds and returns what is printed."""
    split, workers = photographs(root), arguments.workers
    contenders: dict[str, tuple[Callable[[], Batches], int]] = {
        "pinned, in the process": (functools.partial(ours, "pinned", split, workers=0), 0),
        "pinned": (functools.partial(ours, "pinned", split, workers=workers), 2 * workers),
        "dali": (functools.partial(ours, "dali", split, threads=workers), 3),
        "torchvision": (functools.partial(torchvision_reference, root, workers), 2 * workers),
        "timm": (functools.partial(timm_loader, root, workers), 2 * workers),
    }
    running: dict[str, Batches] = {}
    measured: dict[str, Any] = {"decoding": {"rounds": []}}
    for name, (begin, prefetched) in contenders.items():
        try:
            batches = begin()
            images, labels = next(batches)
            for _ in range(prefetched):
                next(batches)
        except ImportError as error:
            measured[name] = {"images_per_second": None, "unavailable": str(error)}
            continue
        assert images.shape == (BATCH_SIZE, 3, SIZE, SIZE) and images.dtype == torch.float32
        assert len(labels) == BATCH_SIZE and 0.5 < images.std() < 2
        running[name], measured[name] = batches, {"rounds": []}
    for turn in range(arguments.rounds):
        for name in list(running) if turn % 2 else reversed(running):
            settle()
            measured[name]["rounds"].append(rate(running[name], contenders[name][1], arguments.seconds, CPU))
        settle()
        measured["decoding"]["rounds"].append(workers * decoding(split, arguments.seconds))
    for found in measured.values():
        if "rounds" in found:
            found["images_per_second"] = statistics.median(found["rounds"])
    ratios = {name: ratio(measured, *name.split("/")) for name in RATIOS}
    system = describe_system(use_cpu=True)["name"]
    return {"system": system, "workers": workers, "images": len(split.labels), "rates": measured, "ratios": ratios}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of each loader; threads of DALI")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("HARNESS_CACHE", f"{folder}/cache")
        found = compare(make_photographs(Path(folder) / "images", arguments.images), arguments)
    lines = [f"{found['system']}, {found['workers']} workers, {found['images']} training images"]
    lines += [f"{name:24} {each['images_per_second'] or 0:8,.0f} images/s" for name, each in found["rates"].items()]
    lines += [f"{name:24} x {value:.2f}" for name, value in found["ratios"].items() if value]
    sys.stdout.write((json.dumps(found, indent=1) if arguments.json else "\n".join(lines)) + "\n")


if __name__ == "__main__":
    main()
