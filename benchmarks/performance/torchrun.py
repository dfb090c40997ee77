"""A script that is started as several ranks: what they print, and how long they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def run_ranks(script: str, ranks: int, arguments: Sequence[str]) -> Any:
    """Runs a script's ranks by torchrun, with `--rank` before the arguments, and returns the JSON that one prints.

    Each rank has one thread, unless there are more cores than ranks.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    done = subprocess.run(
        [*command, script, "--rank", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // ranks))},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def slowest(loop: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds of one call on the rank that takes longest; every rank calls it."""
    import torch
    from overhead import timed
    from torch import distributed

    distributed.barrier()
    seconds = torch.tensor(timed(loop, device), device=device)
    distributed.all_reduce(seconds, distributed.ReduceOp.MAX)
    return seconds.item()
