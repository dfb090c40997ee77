"""What a sweep of 24 short configs takes by `harness run`, beside a fresh process for each, one after the other.

    python benchmarks/performance/sweep.py [--json] [--rounds 3] [--epochs 8] [--pack 2] [--lockstep 12]

The fresh process is the leanest one there is: it imports torch, reads the data, trains and evaluates as a run does, and
ends; no launcher, no records, no table. `harness run` does all of that besides, in one process that it keeps. In turn
one or the other comes first. A sweep must not buy its time with that of its runs: the train times that both measure
are compared run by run, as the median of their ratios kept / fresh with its bounds (95 %, order statistics). The first
epoch is left out of `train_seconds`: in a fresh process it has the process's own start in it (threads, caches, memory),
which a kept one has behind it. `with_first_epoch` has it. Sweeps lie minutes apart, in which a machine's speed changes;
`--lockstep N` also compares kept and fresh processes that train the same run in turn, an epoch each, as isolation.py
does, in N rounds for each of its networks. With `--pack N`, `harness run --pack N` is a third contender,
beside `harness run` alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import isolation
from ratios import median_of

ROOT = Path(__file__).parents[2]
SUITE = """\
name: sweep
base:
  data: digits
  schedule: one_cycle
  train: {{epochs: {epochs}, global_batch_size: 128, keep_weights: false}}
matrix:
  model: [mlp, {{name: cnn3, padding: same, hidden_size: 128}}, {{name: resnet18, width: 8}}, {{name: vgg11, width: 8}}]
  optimizer: [{{name: sgd, momentum: 0.9, lr: 0.01}}, adam]
  optimizer.lr: [0.001, 0.005, 0.02]
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--pack", type=int, metavar="N", help="also harness run --pack N")
    parser.add_argument("--lockstep", type=int, metavar="N", help="also N rounds of isolation.py")
    parser.add_argument("--only", action="append", default=[], metavar="PATH=VALUE", help="of the configs")
    parser.add_argument("--run", metavar="SPEC", help=argparse.SUPPRESS)  # a fresh process: its run, as JSON
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs: the first is not compared")
    if arguments.run:
        sys.stdout.write(json.dumps(train(json.loads(arguments.run))) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="sweep-") as name:
        found = measure(Path(name), arguments.rounds, arguments.epochs, arguments.only, arguments.pack)
    if arguments.lockstep:
        found["in_lockstep"] = in_lockstep(arguments.lockstep)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    ratio, times = found["fresh/kept"], found["train_seconds"]
    sys.stdout.write(
        f"{found['system']}: {found['configs']} configs in {found['kept_seconds']:.1f} s by harness run, in "
        f"{found['fresh_seconds']:.1f} s by fresh processes: {ratio['median']:.2f} times as fast "
        f"({ratio['low']:.2f} to {ratio['high']:.2f}, {ratio['pairs']} rounds)\n"
        f"train time of a run after its first epoch, kept / fresh: {times['median']:.4f} "
        f"({times['low']:.4f} to {times['high']:.4f}, {times['pairs']} runs)\n"
    )
    for model, r in found.get("in_lockstep", {}).items():
        sys.stdout.write(f"{model} in lockstep: {isolation.told(r)}\n")
    if packed := found.get("kept/packed"):
        sys.stdout.write(
            f"{arguments.pack} at a time in {found['packed_seconds']:.1f} s: {packed['median']:.2f} times as fast "
            f"({packed['low']:.2f} to {packed['high']:.2f}, {packed['pairs']} rounds)\n"
        )


def measure(folder: Path, rounds: int, epochs: int, only: list[str], pack: int | None) -> dict[str, Any]:
    """Returns the seconds of sweeps, and the ratios of their runs' train times; `pack` of them at a time, if any."""
    from harness.data.prepare import fingerprint
    from harness.measure.system import describe_system
    from harness.suite.plan import load_suite

    suite = folder / "sweep.yaml"
    suite.write_text(SUITE.format(epochs=epochs))
    specs = {
        run.run_id: run.spec.model_dump(mode="json") for run in load_suite(suite).plan(fingerprint, only=only).runs
    }
    sweeps: dict[str, Callable[[Path], dict[str, list[float]]]] = {
        "fresh": lambda _: fresh(specs),
        "kept": lambda output: kept(suite, output, only),
    }
    if pack:
        sweeps["packed"] = lambda output: kept(suite, output, only, "--pack", str(pack))
    seconds: dict[str, list[float]] = {kind: [] for kind in sweeps}
    later: list[float] = []
    whole: list[float] = []
    for number in range(rounds):
        times: dict[str, dict[str, list[float]]] = {}
        for kind in sorted(sweeps, reverse=bool(number % 2)):
            began = time.perf_counter()
            times[kind] = sweeps[kind](folder / f"{kind}{number}")
            seconds[kind].append(time.perf_counter() - began)
        pairs = [(times["kept"][run_id], times["fresh"][run_id]) for run_id in specs]
        later += [sum(a[1:]) / sum(b[1:]) for a, b in pairs]
        whole += [sum(a) / sum(b) for a, b in pairs]
    compared = [("fresh", "kept"), *([("kept", "packed")] if pack else [])]
    return {
        "system": describe_system()["name"],
        "configs": len(specs),
        **{f"{kind}_seconds": statistics.median(taken) for kind, taken in seconds.items()},
        **{
            f"{one}/{other}": median_of([a / b for a, b in zip(seconds[one], seconds[other], strict=True)])
            for one, other in compared
        },
        "train_seconds": median_of(later),
        "with_first_epoch": median_of(whole),
    }


def in_lockstep(rounds: int, epochs: int = 16) -> dict[str, Any]:
    """Returns the ratios of the train time of an epoch, kept / fresh process, for each network of isolation.py."""
    return {model["name"]: isolation.compare(model, rounds, epochs) for model in isolation.MODELS}


def kept(suite: Path, output: Path, only: list[str], *options: str) -> dict[str, list[float]]:
    """Runs a sweep by `harness run`, and returns the train seconds of each run's epochs."""
    chosen = [word for condition in only for word in ("--only", condition)]
    command = [sys.executable, "-m", "harness", "run", str(suite), "--output", str(output), *chosen, *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    times = {}
    for path in output.glob("sweep/*/*/events.jsonl"):
        events = map(json.loads, path.read_text().splitlines())
        times[path.parts[-3]] = [event["train_seconds"] for event in events if event["event"] == "epoch"]
    return times


def fresh(specs: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
    """Runs each spec in a process of its own, and returns the train seconds of its epochs."""
    times = {}
    for run_id, spec in specs.items():
        command = [sys.executable, __file__, "--run", json.dumps(spec)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        times[run_id] = json.loads(done.stdout)
    return times


def train(values: dict[str, Any]) -> list[float]:
    """Does a run in this process and returns the train seconds of its epochs."""
    gc.disable()
    import torch
    from accelerate import Accelerator

    from harness.data.prepare import prepare
    from harness.measure.memory import keep_freed_memory
    from harness.running.execute import Observer, execute
    from harness.spec import parse_run_spec

    gc.freeze()  # as `harness.running.worker` does, and so is the rest
    gc.enable()
    keep_freed_memory()
    spec = parse_run_spec(values)
    seconds: list[float] = []
    observer = Observer(lambda _: None, lambda epoch: seconds.append(epoch.time.train_seconds))
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    execute(spec, prepare(spec.data), accelerator, observer, fingerprint="none")
    return seconds


if __name__ == "__main__":
    main()
