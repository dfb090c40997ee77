"""Whether `harness compare` holds what it promises: simulations with a known truth.

    python benchmarks/method/coverage.py [--times 2000] [--output results/method/compare.json]

docs/method.md shows what it prints. tests/compare/test_honesty.py makes the same simulations, fewer times.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from simulate import (
    SHAPES,
    coverage,
    drift,
    found_as_promised,
    networks_differ,
    verdicts,
)


def main() -> None:
    """Simulates, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = simulate(arguments.times)
    for title, rows in found.items():
        sys.stdout.write(f"{title}\n")
        for row in rows:
            sys.stdout.write("  " + ", ".join(f"{name}: {_text(value)}" for name, value in row.items()) + "\n")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps({"times": arguments.times, "simulations": found}, indent=1) + "\n")


def simulate(times: int) -> dict[str, list[dict[str, Any]]]:
    """Returns what each simulation finds; each has a random stream of its own."""
    streams = (np.random.default_rng(seed) for seed in range(1000))
    few = max(1, times // 4)  # of the slow ones
    result: dict[str, list[dict[str, Any]]] = {"coverage of 95 % intervals": []}
    for name, shape in SHAPES.items():
        for seeds in (3, 5, 10, 20, 30):
            students = coverage(shape, seeds, times, next(streams))
            result["coverage of 95 % intervals"].append({"differences": name, "seeds": seeds, "t": students})
    result["two configs of the same train time"] = [
        {"seeds": seeds, **verdicts(0.0, seeds, times, next(streams))} for seeds in (2, 3, 5, 10, 20)
    ]
    result["a planted effect, at the promised number of seeds"] = []
    for effect in (0.5, 1.0, 2.0):
        seeds, share = found_as_promised(effect, times, next(streams))
        result["a planted effect, at the promised number of seeds"].append(
            {"effect": effect, "seeds": seeds, "found": share}
        )
    result["sets of networks that are called different on other images"] = [
        {
            "images": images,
            "gain": gain,
            "seeds": seeds,
            "share": networks_differ(images, seeds, gain, few, next(streams)),
        }
        for images, gain in ((360, 0.0), (10_000, 0.0), (10_000, 0.003))
        for seeds in (1, 3, 5, 10)
    ]
    result["a machine that slows down by 20 % over 8 configs and 10 seeds, equal train times"] = [
        {"order": order, **drift(0.2, 8, 10, few, next(streams), interleaved=order == "interleaved")}
        for order in ("interleaved", "all of A, then all of B")
    ]
    return result


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
