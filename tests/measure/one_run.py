"""Trains a run that allocates a known block on its way, and prints its record. Started by test_agreement.py."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from harness.data.prepare import prepare
from harness.measure.memory import keep_freed_memory
from harness.running.execute import Observer, execute
from harness.spec import parse_run_spec


def main(block_bytes: int) -> None:
    """Prints memory, clock, telemetry and the seconds before the run and to its end as JSON."""
    keep_freed_memory()
    spec = parse_run_spec(
        {
            "model": {"name": "mlp", "hidden_sizes": [512, 512]},
            "data": "digits",
            "optimizer": {"name": "sgd", "lr": 0.1},
            "train": {"epochs": 20, "global_batch_size": 64, "num_processes": 1},
        }
    )
    splits = prepare(spec.data)

    def on_step(step: int) -> None:
        if step == 30:
            np.ones(block_bytes, np.uint8)

    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    before = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    observer = Observer(on_step, lambda epoch: None)
    fields = dict(execute(spec, splits, Accelerator(cpu=True), observer, fingerprint="f").measured)
    found = {
        "memory": fields["memory"].model_dump(),
        "clock": fields["clock"].model_dump(),
        "telemetry": fields["telemetry"].model_dump(),
        "before_seconds": before,
        "ended_seconds": time.clock_gettime(time.CLOCK_BOOTTIME) - started,
    }
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # the end of an interpreter with torch in it takes seconds, and is in no clock of ours


if __name__ == "__main__":
    main(int(sys.argv[1]))
