"""How soon and how surely `benchmarks/speedrun.yaml` reaches its accuracy, beside others' scripts on the same images.

    python benchmarks/performance/speedrun.py [--json] [--data FOLDER] [--peer airbench94_muon.py] [--runs 50]
                                              [--only airbench94]

A peer is a script such as airbench94_muon.py (KellerJordan/cifar10-airbench) or cifar10_speedrun.py
(hiverge/cifar10-speedrun). It runs as it is, in a folder where its cache of CIFAR-10 holds the images of FOLDER
(train/<class>/*.jpg and test/<class>/*.jpg), until it has told of so many runs; its first, which warms it up, is not
counted. Its seconds are its own: whitening, training and the evaluation at the end. Of the harness's runs they are
`clock.speedrun_seconds`, the same three. Accuracies have the 95 % interval of their mean (Student's t).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COLUMNS = ["run", "epoch", "train_acc", "val_acc", "tta_val_acc", "time_seconds"]  # of the peers' tables


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--peer", type=Path, action="append", default=[], metavar="SCRIPT")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--peers-only", action="store_true")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="keep the harness's records there")
    parser.add_argument("--only", choices=("airbench94", "sooner"), help="one of the suite's recipes")
    parser.add_argument("--smoke", action="store_true", help="the suite's small variant, to see whether it works")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as `harness run` takes it")
    arguments = parser.parse_args()
    if arguments.peer and not arguments.data:
        parser.error("peers read the images of --data")
    with tempfile.TemporaryDirectory(prefix="speedrun-") as name:
        found = measure(Path(name), arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{found['system']}\n")
    for kind, r in found["recipes"].items():
        accuracy, seconds = r["accuracy"], r["seconds"]
        sys.stdout.write(
            f"{kind}: {accuracy['mean']:.4f} (± {accuracy['ci95'] or 0:.4f}, {accuracy['n']} runs) in "
            f"{seconds['mean']:.3f} s (± {seconds['ci95'] or 0:.3f})\n"
        )


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what the harness and each peer came to."""
    from harness.measure.system import describe_system

    told = {} if arguments.peers_only else own_runs(arguments.output or folder / "results", arguments)
    if arguments.peer:
        write_cache(arguments.data, folder / "cifar10")
    for script in arguments.peer:
        told[script.stem] = peer_runs(script, folder, arguments.runs)
    return {"system": describe_system()["name"], "recipes": {name: summary(runs) for name, runs in told.items()}}


def summary(runs: list[tuple[float, float]]) -> dict[str, Any]:
    """Returns the summaries of accuracies and seconds."""
    from harness.statistics.intervals import summarise

    accuracies, seconds = zip(*runs, strict=True)
    return {name: vars(summarise(values)) for name, values in (("accuracy", accuracies), ("seconds", seconds))}


def own_runs(output: Path, arguments: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Runs the suite and returns the accuracy and the seconds of each of its runs, by config."""
    words = ["--smoke"] if arguments.smoke else ["--set", f"seeds={arguments.runs}"]
    words += ["--only", f"label={arguments.only}"] if arguments.only else []
    words += [word for value in arguments.set for word in ("--set", value)]
    if arguments.data and not arguments.smoke:
        words += ["--set", "data.name=image_folder", "--set", f"data.root={arguments.data.resolve()}"]
    command = [sys.executable, "-m", "harness", "run", "benchmarks/speedrun.yaml", "--output", str(output), *words]
    code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode
    results = [json.loads(path.read_text()) for path in output.glob("speedrun*/*/*/result.json")]
    told: dict[str, list[tuple[float, float]]] = {}
    for result in results:
        if result["status"] == "ok":
            seconds = result["clock"]["speedrun_seconds"]
            told.setdefault(result["label"], []).append((result["metrics"]["test"]["accuracy"], seconds))
    if not told:
        causes = {
            f"{result['label']} {result['status']}: {(result['cause'] or {}).get('message')}" for result in results
        }
        raise SystemExit(f"error: no run is ok: {'; '.join(sorted(causes)) or f'harness run ended with {code}'}")
    return told


def write_cache(data: Path, folder: Path) -> None:
    """Writes the images as the peers keep CIFAR-10: train.pt and test.pt, uint8 [N, H, W, C] and int64 [N]."""
    import numpy as np
    import torch

    from harness.data.prepare import prepare
    from harness.spec import DataSection, section_model

    section = section_model("data", "image_folder").model_validate({"name": "image_folder", "root": str(data)})
    assert isinstance(section, DataSection)
    splits = prepare(section)
    folder.mkdir()
    for name, split in (("train", splits.train), ("test", splits.test)):
        images, labels = torch.from_numpy(np.array(split.images)), torch.from_numpy(split.labels)
        torch.save({"images": images, "labels": labels, "classes": list(splits.class_names)}, folder / f"{name}.pt")


def peer_runs(script: Path, folder: Path, runs: int) -> list[tuple[float, float]]:
    """Runs a peer where `cifar10/` is, and returns the accuracy, by all views, and the seconds of each run.

    Raises:
        SystemExit: it ended before it had told of so many.
    """
    told: list[tuple[float, float]] = []
    with subprocess.Popen(
        [sys.executable, "-u", str(script.resolve())], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            row = dict(zip(COLUMNS, (cell.strip() for cell in line.strip().strip("|").split("|")), strict=False))
            if row.get("epoch") == "eval":
                told.append((float(row["tta_val_acc"]), float(row["time_seconds"])))
            if len(told) > runs:
                process.kill()
                return told[1:]
    raise SystemExit(f"error: {script.name} ended with exit code {process.returncode} after {len(told)} runs")


if __name__ == "__main__":
    main()
