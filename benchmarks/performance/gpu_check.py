"""All checks that need a GPU, in parts of less than nine minutes; each leaves JSON and a table in results/performance/.

    python benchmarks/performance/gpu_check.py PART [--data FOLDER] [--output FOLDER] [--quick]

PART is one of overhead, loaders, speedrun, gtx, sweep. FOLDER of the data holds train/<class>/*.jpg and
test/<class>/*.jpg, e.g. the JPEG copy of CIFAR-10. Results go to results/performance/SYSTEM, or below --output, as they
come: what was measured before a part was stopped is kept. No network is needed. `--quick` measures little, to see
whether a part works; its figures are worth nothing, and its file names say so. On a machine without a GPU a part runs
on the CPU, and the results bear that system's name.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Of each part the scripts, with their arguments, and those of --quick.
PARTS: dict[str, list[tuple[list[str], list[str]]]] = {
    "overhead": [
        (["overhead.py", "--pairs", "15", "--steps", "100"], ["--pairs", "2", "--steps", "3", "--only", "cnn3"]),
        (["sampling.py"], ["--pairs", "2", "--steps", "5"]),
        (["start.py"], ["--rounds", "1"]),
        (["standard_recipe.py", "--rounds", "9", "--steps", "50"], ["--rounds", "2", "--steps", "2", "--width", "8"]),
    ],
    "loaders": [(["loaders.py"], ["--seconds", "0.05", "--rounds", "1", "--only", "resident", "pinned_w0"])],
    "speedrun": [],
    "gtx": [(["gtx.py"], ["--suites", "quickstart"])],
    "sweep": [
        (["sweep.py"], ["--rounds", "1", "--epochs", "1", "--only", "model=mlp", "--only", "optimizer.lr=0.001"]),
        (["isolation.py"], ["--rounds", "1", "--epochs", "2", "--images", "128"]),
    ],
}
WITH_DATA = {"loaders.py", "standard_recipe.py"}


def main() -> None:
    """Runs a part."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "performance", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    from harness.measure.system import describe_system

    system = describe_system()["name"]
    folder = arguments.output / re.sub(r"[^a-z0-9]+", "-", system.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for command, quick in PARTS[arguments.part]:
        where = ["--data", str(arguments.data.resolve())] if arguments.data and command[0] in WITH_DATA else []
        began = time.perf_counter()
        words = [*command[:1], "--json", *(quick if arguments.quick else command[1:]), *where]
        done = subprocess.run(
            [sys.executable, str(HERE / words[0]), *words[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        name = Path(words[0]).stem + ("_quick" if arguments.quick else "")
        if done.stdout.strip():
            found = json.loads(done.stdout)
            (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
            table = [f"{key} = {value}" for key, value in flat(found)]
            sys.stdout.write(f"{system}: {' '.join(words)} ({time.perf_counter() - began:.0f} s)\n")
            sys.stdout.writelines(f"  {line}\n" for line in table)
        if done.returncode:
            failed.append(name)
            sys.stderr.write(f"error: {name} ended with exit code {done.returncode}\n")
    if arguments.part == "speedrun":
        failed += speedrun(folder, arguments.data, quick=arguments.quick)
    write_table(folder)
    raise SystemExit(1 if failed else 0)


def speedrun(folder: Path, data: Path | None, *, quick: bool) -> list[str]:
    """Runs the suite `speedrun`, keeps its table, and returns what failed."""
    chosen = ["--smoke"] if quick else []
    if data and not quick:
        chosen = [
            "--set",
            f"data={{name: image_folder, root: {data.resolve()}, augment: {{crop: 2, flip: alternating}}}}",
        ]
    output = folder / "speedrun"
    command = [sys.executable, "-m", "harness", "run", "benchmarks/speedrun.yaml", "--output", str(output), *chosen]
    code = subprocess.run(command, cwd=ROOT).returncode
    return ["speedrun"] if code else []


def write_table(folder: Path) -> None:
    """Writes all figures of a system's JSON files as one table."""
    lines = ["| figure | value |", "| --- | --- |"]
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        lines += [f"| {path.stem}: {key} | {value} |" for key, value in flat(found)]
    (folder / "table.md").write_text("\n".join(lines) + "\n")


def flat(found: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yields the numbers and texts of nested JSON by their dotted names; of long lists how many there are."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from flat(value, f"{name}.{key}" if name else key)
    elif isinstance(found, list) and any(isinstance(value, dict | list) for value in found):
        yield name, f"{len(found)} entries"
    elif isinstance(found, float):
        yield name, f"{found:.5g}"
    else:
        yield name, str(found)


if __name__ == "__main__":
    main()
