"""Images per second of the loaders beside other loaders, and how far each is from what memory allows.

    python benchmarks/performance/loaders.py [--json] [--data ROOT] [--device cpu|cuda] [--seconds 1] [--rounds 3]
                                             [--only NAME ...]

ROOT holds class folders in `train/`, all images square and of one size; without it, 5,000 small JPEG files are made.
Each yields shuffled training batches of 128: cropped with a padding of 4, mirrored at random, normalised, float32.
In each round every loader runs for a while, once the others' workers are idle; what it had prefetched is not counted.
A rate is the median of the rounds, a ratio the median of the rounds' ratios. `peers.py` has the other loaders.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers
import psutil
import torch
from bandwidth import copied_per_second, copying, synchronize
from peers import BATCH_SIZE, MEAN, STD, Batches
from PIL import Image

from harness import registry
from harness.data.augment.batched import Recipe
from harness.data.files import ImageFiles
from harness.data.loading import Feed
from harness.data.order import GlobalBatches
from harness.data.prepare import prepare
from harness.data.source import Split
from harness.errors import HarnessError
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.spec import Augment, DataSection, section_model

# Each of these names stands for the fastest of the loaders whose names match.
BEST = {
    "torch_best": r"torch_v.*",
    "torch_w16": r"torch_v.*_w16",
    "image_folder": r"image_folder_w.*",
    "pinned": r"pinned_w.*",
    "pinned_cached": r"pinned_cached_w.*",
}
RATIOS = (
    "resident/torch_best",
    "resident/dali_array",
    "resident/torch_w16",
    "resident/airbench",
    "resident_half/airbench",
    "pinned/torch_best",
    "dali_ours_array/dali_array",
    "dali/image_folder",
    "pinned_cached/image_folder",
)
OURS = ("resident", "resident_half", "pinned", "pinned_cached", "dali_ours_array", "dali")
HALF = ("resident_half", "airbench")  # yield float16, channels last


class Contender(NamedTuple):
    """A loader that is not started yet.

    Attributes:
        begin: starts it.
        prefetched: batches that wait ready at most.
        warm_up: batches after which it is at its speed.
    """

    begin: Callable[[], Batches]
    prefetched: int
    warm_up: int


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    arguments = parser.parse_args()
    keep_freed_memory()  # as the harness's workers do; the peers in this process have it too
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("HARNESS_CACHE", f"{folder}/cache")
        root = arguments.data or make_images(Path(folder) / "images")
        device = torch.device("cuda:0" if arguments.device == "cuda" else "cpu")
        found = compare(root, device, arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        show(found)


def compare(root: Path, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures in rounds and returns what is printed."""
    split = folder_split(root)
    contenders = all_contenders(root, split, device)
    if unknown := set(arguments.only) - set(contenders) - set(BEST):
        raise SystemExit(f"error: no loader is called {', '.join(sorted(unknown))}; known: {' '.join(contenders)}")
    chosen = [name for name in contenders if not arguments.only or is_among(name, arguments.only)]
    running, measured = start({name: contenders[name] for name in chosen}, split.shape, device)
    copies = copying(device)
    speeds: dict[str, list[float]] = {name: [] for name in copies}
    for turn in range(arguments.rounds):
        for name in list(running) if turn % 2 else reversed(running):
            settle()
            prefetched = contenders[name].prefetched
            measured[name]["rounds"].append(rate(running[name], prefetched, arguments.seconds, device))
        settle()
        for name, copy in copies.items():
            speeds[name].append(copied_per_second(copy, device))
    for name in running:
        measured[name] = {"images_per_second": statistics.median(measured[name]["rounds"]), **measured[name]}
    for name, pattern in BEST.items():
        if best := fastest(measured, pattern):
            measured[name] = {**measured[best], "of": best}
    return {
        "system": describe_system(use_cpu=device.type == "cpu")["name"],
        "threads": torch.get_num_threads(),
        "images": len(split.labels),
        "rates": measured,
        "ratios": {name: ratio(measured, *name.split("/")) for name in RATIOS},
        "limit": limit(measured, split.shape, {name: statistics.median(each) for name, each in speeds.items()}),
    }


def start(
    contenders: dict[str, Contender], shape: tuple[int, int, int], device: torch.device
) -> tuple[dict[str, Batches], dict[str, Any]]:
    """Starts and warms up loaders; returns their batches and, for each, where its rates go or why it cannot be had."""
    running: dict[str, Batches] = {}
    measured: dict[str, Any] = {}
    for name, contender in contenders.items():
        try:
            batches = contender.begin()
            check(next(batches), shape, device, half=name in HALF)
            for _ in range(contender.warm_up):
                next(batches)
        except (ImportError, HarnessError) as error:
            measured[name] = {"images_per_second": None, "unavailable": str(error).partition("\n")[0]}
            continue
        measured[name] = {"rounds": []}
        running[name] = batches
    return running, measured


def make_images(root: Path, count: int = 5000, size: int = 32) -> Path:
    """Makes a folder of JPEG files: soft shapes of ten classes, about as large as photographs of this size."""
    random = np.random.default_rng(0)
    for number in range(count):
        soft = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(soft, np.int16) + random.integers(-12, 13, (size, size, 3))
        folder = root / "train" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)
    return root


def folder_split(root: Path) -> Split:
    """Returns the training set of a folder, read by the data set `image_folder` where there is a test set too."""
    if (root / "test").is_dir():
        section = section_model("data", "image_folder").model_validate({"name": "image_folder", "root": str(root)})
        assert isinstance(section, DataSection)
        return prepare(section).train
    samples = peers.ImageFolder(str(root / "train")).samples
    return Split(ImageFiles([path for path, _ in samples], channels=3), np.array([label for _, label in samples]))


def all_contenders(root: Path, split: Split, device: torch.device) -> dict[str, Contender]:
    """Returns the loaders by their names, ours first."""
    cuda = device.type == "cuda"
    images, labels = np.array(split.images), split.labels
    arrays = Split(images, labels)
    epoch = -(-len(labels) // BATCH_SIZE)
    found: dict[str, Contender] = {}

    def add(name: str, begin: Callable[..., Batches], *arguments: Any, prefetched: int = 0, warm_up: int = 3) -> None:
        found[name] = Contender(functools.partial(begin, *arguments), prefetched, max(warm_up, prefetched))

    add("resident", ours, "resident", arrays, device)
    if cuda:
        add("resident_half", ours, "resident", arrays, device, torch.float16)
        add("airbench", peers.airbench, images, labels, device, warm_up=epoch)
    for workers in (0, 2, 16) if cuda else (0, 2):
        add(f"pinned_w{workers}", pinned, arrays, device, workers, prefetched=2 * workers)
        # An epoch to warm up: each worker maps the cache's pages.
        add(f"pinned_cached_w{workers}", pinned, split, device, workers, prefetched=2 * workers, warm_up=epoch)
    add("dali_ours_array", ours, "dali", arrays, device, prefetched=3)
    add("dali", ours, "dali", split, device, prefetched=3)
    add("dali_array", peers.dali_array, images, labels, device, prefetched=3)
    for workers in (0, 2, 16) if cuda else (0, 1, 2):
        for kind in ("v1_pil", "v2_pil", "v2_tensor"):
            name = f"torch_{kind}_w{workers}"
            add(name, peers.torch_arrays, kind, images, labels, workers, device, prefetched=2 * workers)
        name = f"image_folder_w{workers}"
        add(name, peers.image_folder, root / "train", images.shape[1], workers, device, prefetched=2 * workers)
    return found


def is_among(name: str, wanted: list[str]) -> bool:
    """Returns whether a loader was asked for, by its name or as one of those that the fastest is taken of."""
    return name in wanted or any(re.fullmatch(BEST[group], name) for group in wanted if group in BEST)


def ours(
    name: str, split: Split, device: torch.device, dtype: torch.dtype = torch.float32, **parameters: Any
) -> Batches:
    """Yields the batches of one of the harness's loaders, epoch after epoch."""
    augment = Augment(crop=peers.PADDING, flip=True)
    recipe = Recipe(augment, MEAN, STD, dtype, channels_last=dtype == torch.float16)
    sampler = GlobalBatches(len(split.labels), BATCH_SIZE, 1, 0)
    loader = registry.build("loader", name, Feed(split, recipe, device, 0, 1, sampler, 0), **parameters)
    for epoch in range(2**63):
        yield from loader.epoch(epoch)


def pinned(split: Split, device: torch.device, workers: int) -> Batches:
    """Yields the batches of `pinned`."""
    return ours("pinned", split, device, workers=workers)


def check(
    batch: tuple[torch.Tensor, torch.Tensor], shape: tuple[int, int, int], device: torch.device, *, half: bool
) -> None:
    """Checks that a loader does the task, since one that did less would seem fast."""
    images, labels = batch
    height, width, channels = shape
    assert images.shape == (BATCH_SIZE, channels, height, width)
    assert labels.shape == (BATCH_SIZE,)
    assert images.dtype == (torch.float16 if half else torch.float32)
    assert images.device == labels.device == device
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    lowest = images.float().amin((0, 2, 3)).cpu()
    assert torch.allclose(lowest, black, atol=2e-3), f"padded with {lowest.tolist()}"
    assert images.float().std() > 0.3


def settle() -> None:
    """Waits until the workers and threads of the loader before have filled their queues."""
    process = psutil.Process()

    def used() -> float:
        seconds = 0.0
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended
                seconds += sum(each.cpu_times()[:2])
        return seconds

    before = used()
    for _ in range(100):
        time.sleep(0.05)
        if (now := used()) - before < 0.015:
            return
        before = now


def rate(batches: Batches, prefetched: int, seconds: float, device: torch.device) -> float:
    """Returns images per second, from when what was prefetched is used up."""
    for _ in range(prefetched + 1):
        next(batches)
    synchronize(device)
    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        images += len(next(batches)[1])
    synchronize(device)
    return images / (time.perf_counter() - began)


def limit(measured: dict[str, Any], shape: tuple[int, int, int], speeds: dict[str, float]) -> dict[str, Any]:
    """Returns what memory allows, and what share of it each of the harness's loaders attains.

    An image's pixels are read and its floats written; a copy reads and writes each byte. `from_host` is the share of
    what can be copied to a GPU that the pixels alone would take.
    """
    pixels = math.prod(shape)
    memory = 2 * max(speed for name, speed in speeds.items() if name.startswith("memory"))
    shares: dict[str, Any] = {}
    for name in OURS:
        if images := measured.get(name, {}).get("images_per_second"):
            moved = pixels * (3 if name in HALF else 5)
            shares[name] = {"memory": images * moved / memory}
            if "from_host" in speeds and name in ("pinned", "pinned_cached", "dali_ours_array"):
                shares[name]["from_host"] = images * pixels / speeds["from_host"]
    found = {"bytes_per_image": 5 * pixels, "memory_bytes_per_second": memory, "shares": shares}
    return found | ({"from_host_bytes_per_second": speeds["from_host"]} if "from_host" in speeds else {})


def fastest(measured: dict[str, Any], pattern: str) -> str | None:
    """Returns the name of the fastest of those that match."""
    rates = {
        name: found["images_per_second"]
        for name, found in measured.items()
        if re.fullmatch(pattern, name) and found["images_per_second"]
    }
    return max(rates, key=rates.__getitem__, default=None)


def ratio(measured: dict[str, Any], first: str, second: str) -> float | None:
    """Returns the median of the rounds' ratios of two loaders; None where one of them was not measured."""
    pairs = [measured.get(name, {}).get("rounds") for name in (first, second)]
    if None in pairs:
        return None
    return statistics.median(a / b for a, b in zip(*pairs, strict=True))


def show(found: dict[str, Any]) -> None:
    """Prints a table."""
    lines = [f"{found['system']}, {found['threads']} threads, {found['images']} training images", ""]
    for name, each in found["rates"].items():
        rate = f"{each['images_per_second']:12,.0f}" if each["images_per_second"] else f"{'-':>12}"
        shares = found["limit"]["shares"].get(name, {})
        notes = [f"{share:.1%} of {what}" for what, share in shares.items()]
        notes += [f"{each[key]}" for key in ("of", "unavailable") if key in each]
        lines.append(f"{name:20} {rate} images/s  {', '.join(notes)}".rstrip())
    lines += ["", *(f"{name:28} x {value:.2f}" for name, value in found["ratios"].items() if value)]
    lines += ["", f"memory moves {found['limit']['memory_bytes_per_second'] / 1e9:.1f} GB/s (read and written)"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
