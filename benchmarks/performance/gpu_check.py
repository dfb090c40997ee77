"""Checks that need a GPU, in parts with a time limit; each leaves JSON and a table in results/performance/.

    python benchmarks/performance/gpu_check.py PART [--seconds 540] [--data FOLDER] [--peer SCRIPT] [--output FOLDER]
                                               [--quick]

PART is one of overhead, loaders, speedrun, gtx, sweep, or `table`, which measures nothing and writes the table anew
of what lies in --output, e.g. the unpacked archive of `first_contact.py`. FOLDER of the data holds
train/<class>/*.jpg and test/<class>/*.jpg, e.g. the JPEG copy of CIFAR-10; a peer is a script that `speedrun.py` runs
beside the suite. Results go to results/performance/SYSTEM, or below --output, as they come: what was measured before
a part ran out of its seconds, or was stopped, is kept. No network is needed, and nothing is installed. `--quick`
measures little, to see whether a part works; its figures are worth nothing, and its file names say so. On a machine
without a GPU a part runs on the CPU, and the results bear that system's name.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limited import run_limited

from harness.measure.system import describe_system
from harness.trackers.entries import flat

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Of each part the scripts, with their arguments, and those of --quick; {folder} is where the results go.
PARTS: dict[str, list[tuple[list[str], list[str]]]] = {
    "overhead": [
        (["overhead.py", "--pairs", "15", "--steps", "100"], ["--pairs", "2", "--steps", "3", "--only", "cnn3"]),
        (["sampling.py"], ["--pairs", "2", "--steps", "5"]),
        (["start.py"], ["--rounds", "1"]),
        (["memory.py"], ["--steps", "3", "--only", "cnn3"]),
        (["scaling_model.py"], ["--rounds", "1", "--steps", "5", "--only", "cnn3"]),
        (
            ["standard_recipe.py", "--rounds", "9", "--steps", "50", "--compiled"],
            ["--rounds", "2", "--steps", "2", "--width", "8"],
        ),
    ],
    "loaders": [(["loaders.py"], ["--seconds", "0.05", "--rounds", "1", "--only", "resident", "pinned_w0"])],
    "speedrun": [(["speedrun.py", "--output", "{folder}/speedrun"], ["--smoke"])],
    "gtx": [(["gtx.py"], ["--suites", "quickstart"])],
    "sweep": [
        (["sweep.py"], ["--rounds", "1", "--epochs", "2", "--only", "model=mlp", "--only", "optimizer.lr=0.001"]),
        (["isolation.py", "--rounds", "6", "--images", "8192"], ["--rounds", "1", "--epochs", "2", "--images", "128"]),
    ],
}
WITH_DATA = {"loaders.py", "standard_recipe.py", "speedrun.py"}
WITH_PEERS = {"speedrun.py"}


def main() -> None:
    """Runs a part."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--peer", type=Path, action="append", default=[], metavar="SCRIPT")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "performance", metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=540.0, help="that the part may take")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.data and not ((arguments.data / "train").is_dir() and (arguments.data / "test").is_dir()):
        parser.error(f"{arguments.data} has no train/<class>/ and test/<class>/ with images")
    if arguments.part == "table":
        write_table(arguments.output)
        return
    system = describe_system()["name"]
    folder = arguments.output / re.sub(r"[^a-z0-9]+", "-", system.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    failed, end = [], time.monotonic() + arguments.seconds
    for command, quick in PARTS[arguments.part]:
        where = ["--data", str(arguments.data.resolve())] if arguments.data and command[0] in WITH_DATA else []
        if command[0] in WITH_PEERS and not arguments.quick:
            where += [word for script in arguments.peer for word in ("--peer", str(script.resolve()))]
        began = time.perf_counter()
        own = [word.format(folder=folder.resolve()) for word in (quick if arguments.quick else command[1:])]
        words = [command[0], "--json", *own, *where]
        name = Path(words[0]).stem + ("_quick" if arguments.quick else "")
        with tempfile.TemporaryFile("w+") as out:
            run = [sys.executable, str(HERE / words[0]), *words[1:]]
            code = run_limited(run, max(end - time.monotonic(), 0.0), cwd=ROOT, stdout=out)
            out.seek(0)
            printed = out.read()
        if code is not None and printed.strip():
            found = json.loads(printed)
            if found["system"] != system:  # e.g. a GPU's host
                failed.append(name)
                sys.stderr.write(f"error: {name} was measured on {found['system']}, not on {system}\n")
                continue
            (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
            table = [f"{key} = {value}" for key, value in figures_of(found)]
            sys.stdout.write(f"{system}: {' '.join(words)} ({time.perf_counter() - began:.0f} s)\n")
            sys.stdout.writelines(f"  {line}\n" for line in table)
        if code != 0:
            failed.append(name)
            how = f"ended with exit code {code}" if code else f"ran out of the {arguments.seconds:g} s of its part"
            sys.stderr.write(f"error: {name} {how}\n")
    write_table(folder)
    raise SystemExit(1 if failed else 0)


def write_table(folder: Path) -> None:
    """Writes all figures of a system's JSON files as one table."""
    lines = ["| figure | value |", "| --- | --- |"]
    for path in sorted(folder.glob("*.json*")):
        for text in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # a stage that was ended had not printed all
                found = json.loads(text)
                name = ": ".join([path.stem, *filter(None, [found.pop("case", None)])])
                lines += [f"| {name}: {key} | {value} |" for key, value in figures_of(found)]
    (folder / "table.md").write_text("\n".join(lines) + "\n")


def figures_of(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the numbers and texts of a script's JSON by their dotted names, of a list of parts how many they are."""
    for name, value in flat(found, "."):
        if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
            yield name, f"{len(value)} entries"
        else:
            yield name, f"{value:.5g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
