"""How long a run takes until its first step is done, beside importing torch and touching the device alone.

    python benchmarks/performance/start.py [--json] [--rounds 9] [--imports | --compile-cache]

Each round starts two fresh processes, in turn first: one does what a rank of `accelerate launch harness/run.py SUITE`
does, until the first optimizer step is done; one imports torch and makes a tensor on the device. Both tell the moment,
and the seconds count from before the process is started. The ratio is taken round by round; `low` and `high` bound its
median (95 %, order statistics). `--imports` lists what the rank's process spends most time importing, instead;
`--compile-cache` tells what a run spends compiling when nothing is cached, in its process's next run, and in the next
process, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ratios import median_of

ROOT = Path(__file__).parents[2]
SUITE = """\
name: start
base:
  model: mlp
  data: digits
  optimizer: adam
  train: {epochs: 1, keep_weights: false}
"""
COMPILED = """\
name: compiled
base:
  model: {name: cnn3, padding: same}
  data: digits
  optimizer: adam
  train: {epochs: 1, keep_weights: false, compile: true}
seeds: 2
"""
TORCH = """\
import time, torch
torch.zeros(1, device="cuda" if torch.cuda.is_available() else "cpu") + 1
print(time.monotonic())
"""
RANK = """\
import os, sys, time
from harness import cli
from harness.launching import launch_folder

class Told(launch_folder.Heartbeat):
    def beat(self, at):
        if isinstance(at, int):
            print(time.monotonic(), flush=True)
            os._exit(0)

launch_folder.Heartbeat = Told
cli.main(["run", *sys.argv[1:]])
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--imports", action="store_true")
    parser.add_argument("--compile-cache", action="store_true")
    arguments = parser.parse_args()
    if arguments.compile_cache:
        found = compile_seconds()
        lines = (f"{seconds:7.2f} s  {name}\n" for name, seconds in found.items())
        sys.stdout.write(json.dumps(found, indent=1) + "\n" if arguments.json else "".join(lines))
        return
    if arguments.imports:
        sys.stdout.writelines(f"{seconds:7.3f} s  {name}\n" for name, seconds in slowest_imports().items())
        return
    found = measure(arguments.rounds)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(
        f"{found['system']}: first step {found['median']:.2f} x ({found['low']:.2f} to {found['high']:.2f}, "
        f"{found['pairs']} rounds) as late as torch alone: "
        f"{found['rank_seconds']:.2f} s, {found['torch_seconds']:.2f} s\n"
    )


def measure(rounds: int) -> dict[str, Any]:
    """Returns the ratio, and the median seconds of both."""
    from harness.measure.system import describe_system

    seconds: dict[str, list[float]] = {"torch": [], "rank": []}
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        folder = Path(name)
        for number in range(rounds + 1):
            for kind in ("torch", "rank") if number % 2 else ("rank", "torch"):
                began = time.monotonic()
                seconds[kind].append(_moment(kind, folder / str(number)) - began)
    pairs = list(zip(seconds["rank"], seconds["torch"], strict=True))[1:]  # the first reads from the disk
    return {
        "system": describe_system()["name"],
        **median_of([rank / torch for rank, torch in pairs]),
        "rank_seconds": statistics.median(rank for rank, _ in pairs),
        "torch_seconds": statistics.median(torch for _, torch in pairs),
    }


def _moment(kind: str, folder: Path, *options: str) -> float:
    """Starts a process, and returns the moment that it tells, on the clock that all processes share."""
    done = subprocess.run(_command(kind, folder, *options), env=_environment(), cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    return float(done.stdout.split()[-1])


def _command(kind: str, folder: Path, *options: str) -> list[str]:
    if kind == "torch":
        return [sys.executable, *options, "-c", TORCH]
    folder.mkdir(exist_ok=True)
    (folder / "start.yaml").write_text(SUITE)
    return [sys.executable, *options, "-c", RANK, str(folder / "start.yaml"), "--output", str(folder / "results")]


def _environment() -> dict[str, str]:
    """As `accelerate launch` leaves it for a single rank."""
    launched = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    return os.environ | launched | {"PYTHONPATH": os.pathsep.join(paths)}


def slowest_imports(count: int = 25) -> dict[str, float]:
    """Returns packages by the seconds of their own modules' imports in a rank's process."""
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        command = _command("rank", Path(name), "-X", "importtime")
        done = subprocess.run(command, env=_environment(), cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = {}
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            package = ".".join(parts[2].strip().split(".")[:2])
            found[package] = found.get(package, 0.0) + int(parts[0]) / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1])[:count])


def compile_seconds() -> dict[str, float]:
    """Returns what compiling takes with an empty cache, in the same process's next run, and in another process."""
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        folder, seconds = Path(name), []
        (folder / "compiled.yaml").write_text(COMPILED)
        for output in ("first", "second"):
            command = [sys.executable, "-m", "harness", "run", str(folder / "compiled.yaml"), "--output"]
            environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
            subprocess.run([*command, str(folder / output)], env=environment, cwd=ROOT, check=True, capture_output=True)
            results = [json.loads(path.read_text()) for path in (folder / output).glob("*/*/*/result.json")]
            seconds += [result["clock"]["compile_seconds"] for result in sorted(results, key=lambda r: r["seed"])]
    return {"nothing cached": seconds[0], "next run": seconds[1], "next process": seconds[2]}


if __name__ == "__main__":
    main()
