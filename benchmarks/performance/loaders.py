"""Images per second of the loaders beside other loaders, and how far each is from what memory allows.

    python benchmarks/performance/loaders.py [--json] [--data ROOT] [--device cpu|cuda] [--seconds 1] [--rounds 3]
                                             [--only NAME ...] [--images 5000]

ROOT holds class folders in `train/`, all images square and of one size; without it, small JPEG files are made.
Each yields shuffled training batches of 128: cropped with a padding of 4, mirrored at random, normalised, float32.
In each round every loader runs for a while, once the others' workers are idle; what it had prefetched is not counted.
A rate is the median of the rounds, a ratio the median of the rounds' ratios. `contenders.py` has the loaders.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from bandwidth import copied_per_second, copying, synchronize
from contenders import HALF, Contender, all_contenders, check, folder_split, make_images
from peers import Batches

from harness.errors import HarnessError
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system

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


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default the GPU, if there is one")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    parser.add_argument("--images", type=int, default=5000, help="to make, where there is no --data")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the harness's workers do; the peers in this process have it too
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("HARNESS_CACHE", f"{folder}/cache")
        root = arguments.data or make_images(Path(folder) / "images", arguments.images)
        found = compare(root, device_of(arguments.device), arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        show(found)


def device_of(asked: str | None) -> torch.device:
    """Returns the device that was asked for, else the GPU, if there is one."""
    return torch.device("cuda:0" if (asked == "cuda" if asked else torch.cuda.is_available()) else "cpu")


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
        except (ImportError, HarnessError, RuntimeError) as error:  # the last: DALI's, e.g. of a driver that is too old
            measured[name] = {"images_per_second": None, "unavailable": str(error).partition("\n")[0]}
            continue
        measured[name] = {"rounds": []}
        running[name] = batches
    return running, measured


def is_among(name: str, wanted: list[str]) -> bool:
    """Returns whether a loader was asked for, by its name or as one of those that the fastest is taken of."""
    return name in wanted or any(re.fullmatch(BEST[group], name) for group in wanted if group in BEST)


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
