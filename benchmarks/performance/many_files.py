"""A folder of as many files as ImageNet has: to list it, to plan on it, and the fingerprint of its content.

    python benchmarks/performance/many_files.py [--json] [--classes 1000] [--each 1281]

Makes hard links to 40 small JPEG files, in a temporary folder that is deleted; each is opened and read as any file.
`fingerprint` is the first one, which reads all content; `again` the second, which looks for changed sizes and times;
`changed` a plan after one file was touched; `headers` the first look at the sizes of the images, for `data.evaluate`.
Each is a process of its own: seconds of wall and of processor time, peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_sample_image

from harness.measure.system import describe_system

SUITE = """\
name: many
base:
  model: mlp
  data: {name: image_folder, root: images, evaluate: {}}
  optimizer: {name: sgd, lr: 0.1}
"""
SOURCE = "from harness.data.datasets.image_folder import image_folder; data = image_folder(root='images'); "
FINGERPRINT = [sys.executable, "-c", SOURCE + "print(data.fingerprint())"]
HEADERS = [
    sys.executable,
    "-c",
    SOURCE + "from harness.spec import Evaluate; print(len(data.load_varied(Evaluate()).train.labels))",
]
PLAN = [sys.executable, "-m", "harness", "plan", "suite.yaml"]


def make_files(root: Path, classes: int, each: int) -> None:
    """Makes class folders of links to 40 parts of two photographs."""
    wholes = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    for number in range(40):
        left, top = 9 * number, 7 * number
        part = wholes[number % 2].crop((left, top, left + 48 + number % 5, top + 40 + number % 7))
        part.save(root / f"{number}.jpg", quality=80)
    for split, count in (("train", each), ("test", max(each // 25, 1))):
        for label in range(classes):
            folder = root / "images" / split / f"n{label:08}"
            folder.mkdir(parents=True)
            for number in range(count):
                os.link(root / f"{(label + number) % 40}.jpg", folder / f"n{label:08}_{number}.JPEG")


def measure(command: list[str], root: Path) -> dict[str, float]:
    """Runs a process and returns what it took."""
    environment = {**os.environ, "HARNESS_CACHE": str(root / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])}
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "memory_bytes": used.ru_maxrss * 1024.0}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--each", type=int, default=1281)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_files(root, arguments.classes, arguments.each)
        (root / "suite.yaml").write_text(SUITE)
        took = {"plan": measure(PLAN, root), "fingerprint": measure(FINGERPRINT, root)}
        took |= {"again": measure(FINGERPRINT, root), "headers": measure(HEADERS, root)}
        (root / "0.jpg").touch()
        took["changed"] = measure(PLAN, root)
        files = sum(len(names) for _, _, names in os.walk(root / "images"))
    found: dict[str, Any] = {"system": describe_system(use_cpu=True)["name"], "files": files, "took": took}
    lines = [f"{found['system']}, {files:,} files"]
    lines += [
        f"{name:12} {each['seconds']:6.1f} s, {each['cpu_seconds']:6.1f} s of processor time, "
        f"{each['memory_bytes'] / 1e6:5.0f} MB"
        for name, each in took.items()
    ]
    sys.stdout.write((json.dumps(found, indent=1) if arguments.json else "\n".join(lines)) + "\n")


if __name__ == "__main__":
    main()
