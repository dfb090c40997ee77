"""How often the interval of a forecast holds the time that its runs then take: one forecast, then the runs, per suite.

    python benchmarks/method/forecast.py [--suites quickstart ...] [--output results/method/forecast.json]

Of a suite the time from the command to the end of its last run is held against the interval of all runs, the total
time of each run against that of a run. Each suite is forecast and run several times, each time in a new folder. With
`--smoke` any suite that ships can be taken: it then reads the digits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.measure.system import describe_system

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Measures, prints and stores."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--suites", nargs="+", default=["quickstart"])
    parser.add_argument("--smoke", action="store_true", help="run the smoke version of each suite")
    parser.add_argument("--times", type=int, default=3, help="forecasts of each suite")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each forecast")
    parser.add_argument("--set", nargs="*", default=[], help="overrides, as of `harness run --set`")
    parser.add_argument("--condition", default="nothing else runs", help="what else the machine does, for the output")
    parser.add_argument("--output", type=Path, help="it is added to")
    arguments = parser.parse_args()
    options = ["--smoke"] * arguments.smoke + [word for one in arguments.set for word in ("--set", one)]
    rounds = []
    for suite in arguments.suites:
        for _ in range(arguments.times):
            rounds.append(measure(suite, options, arguments.seconds, arguments.condition))
            sys.stdout.write(f"{line(rounds[-1])}\n")
            sys.stdout.flush()
    path = arguments.output
    earlier = json.loads(path.read_text())["rounds"] if path and path.exists() else []
    found = {"system": describe_system(use_cpu=True)["name"], **counts([*earlier, *rounds]), "rounds": earlier + rounds}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps({name: value for name, value in found.items() if name != "rounds"}, indent=1) + "\n")


def measure(suite: str, options: list[str], seconds: float, condition: str) -> dict[str, Any]:
    """Forecasts a suite, runs it, and returns both, of the whole and of each run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call(folder, "plan", suite, *options, "--forecast", "--seconds", str(seconds), "--output", "out")
        [kept] = folder.glob("out/*/forecast.json")
        forecast = json.loads(kept.read_text())
        began = time.time()
        call(folder, "run", suite, *options, "--output", "out")
        results = [json.loads(path.read_text()) for path in folder.glob("out/*/*/*/result.json")]
        ended = max(datetime.fromisoformat(result["ended_at"]).timestamp() for result in results)
    runs = [
        {
            "label": result["label"],
            "forecast": spread(forecast["runs"][result["run_id"]]),
            "seconds": round(result["clock"]["total_seconds"], 3),
        }
        for result in sorted(results, key=lambda result: (result["label"], result["seed"]))
        if result["status"] == "ok" and result["run_id"] in forecast["runs"]
    ]
    return {
        "suite": forecast["suite"],
        "condition": condition,
        "stepping_seconds": seconds,
        "forecast": spread(forecast["wall"]),
        "seconds": round(ended - began, 2),
        "runs": runs,
    }


def call(folder: Path, *arguments: str) -> None:
    """Calls the harness in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def spread(span: dict[str, float | None]) -> list[float | None]:
    """Returns what a forecast says: seconds, and the ends of the interval."""
    return [None if span[name] is None else round(span[name] or 0.0, 3) for name in ("seconds", "low", "high")]


def holds(one: dict[str, Any]) -> bool:
    """Tells whether the interval holds what it took; where there is none, it does not."""
    _, low, high = one["forecast"]
    return low is not None and high is not None and low <= one["seconds"] <= high


def counts(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns how often the intervals held."""
    runs = [run for one in rounds for run in one["runs"]]
    ratios = sorted(one["seconds"] / one["forecast"][0] for one in rounds)
    return {
        "suites": {"forecasts": len(rounds), "held": sum(map(holds, rounds)), "took / forecast": _ends(ratios)},
        "runs": {
            "forecasts": len(runs),
            "held": sum(map(holds, runs)),
            "took / forecast": _ends(sorted(run["seconds"] / run["forecast"][0] for run in runs)),
        },
    }


def _ends(values: list[float]) -> dict[str, float]:
    places = {"least": 0, "median": len(values) // 2, "most": -1}
    return {name: round(values[place], 3) for name, place in places.items()} if values else {}


def line(one: dict[str, Any]) -> str:
    """Returns a round in one line."""
    seconds, low, high = one["forecast"]
    held = sum(map(holds, one["runs"]))
    whole = "held" if holds(one) else "not held"
    return (
        f"{one['suite']}: {seconds} s ({low} to {high}), took {one['seconds']} s: {whole}; "
        f"of {len(one['runs'])} runs {held} held"
    )


if __name__ == "__main__":
    main()
