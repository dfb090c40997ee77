"""A stage of `first_contact.py`: ResNet-18 as a suite, with each loader, on a GPU in processes of their own.

    python benchmarks/performance/first_contact_training.py --output FOLDER [--data FOLDER] [--gpu]

Prints one line of JSON a loader. The images of the data are in train/<class>/ and test/<class>/; without, they are
random. Without `--gpu` the suite is a small one, in one process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--gpu", action="store_true")
    arguments = parser.parse_args()
    output, path = arguments.output, arguments.output / "first_contact.yaml"
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(suite(arguments.data, gpu=arguments.gpu), indent=1))  # which is YAML, too
    command = [sys.executable, "-m", "harness", "run", str(path), "--output", str(output)]
    done = subprocess.run([*command, *(["--isolate"] if arguments.gpu else [])], cwd=ROOT, stdout=sys.stderr)
    for record_path in output.glob("first_contact/*/*/result.json"):
        record = json.loads(record_path.read_text())
        if record["status"] == "ok":
            facts = {"loader": record["resolved"]["loader"], "accuracy": record["metrics"]["test"]["accuracy"]}
            rate = record["throughput"]["samples_per_second"]
            facts |= {"train_seconds": record["clock"]["train_seconds"], "samples_per_second": rate}
            sys.stdout.write(json.dumps(facts) + "\n")
    raise SystemExit(done.returncode)


def suite(data: Path | None, *, gpu: bool) -> dict[str, Any]:
    """Returns what a suite file holds."""
    images: dict[str, Any] = {"name": "synthetic", **({} if gpu else {"train": 200, "test": 50})}
    if data:
        images = {"name": "image_folder", "root": str(data), **({} if gpu else {"train_samples": 200})}
    train = {"epochs": 8, "global_batch_size": 512, "mixed_precision": "bf16", "channels_last": True}
    if not gpu:
        train |= {"epochs": 2, "global_batch_size": 50, "mixed_precision": "no"}
    return {
        "name": "first_contact",
        "base": {
            "model": {"name": "resnet18", "width": 64 if gpu else 8},
            "data": images | {"augment": {"crop": 4, "flip": True}},
            "optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4},
            "schedule": "one_cycle",
            "train": train | {"keep_weights": False},
        },
        "matrix": {"loader": ["resident", {"name": "pinned", "workers": 4 if gpu else 0}]},
    }


if __name__ == "__main__":
    main()
