"""The end of a process whose input is bad: said once, however many ranks a launcher has started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import typer

from harness.records.files import write_json

BAD_INPUT = 2
UsageError: Any = typer.BadParameter.__bases__[0]  # Click's own, which newer versions of Typer bring along
PEERS_SECONDS = 5.0


def refuse(say: Callable[[], object]) -> NoReturn:
    """Says what is wrong with the input, and exits with 2.

    torchrun prints a block for each rank that fails. So of the ranks on one machine the first says it and fails; the
    others, where they see that it does, end with 0 before it. A rank that is wrong alone says it, and fails.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")  # ATTEMPT/LOCAL_RANK/error.json
    if not file:
        say()
        sys.exit(BAD_INPUT)
    rank, world = os.environ.get("LOCAL_RANK", "0"), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if rank == "0":
        say()
    files = [Path(file).parents[1] / str(peer) / "error.json" for peer in range(world)]
    _write(Path(file))
    first_says_it = _wait_for(files if rank == "0" else files[:1])
    if rank != "0":
        if not first_says_it:
            say()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if first_says_it else BAD_INPUT)  # threads of a process group may not outlive the interpreter
    sys.exit(BAD_INPUT)


def _write(file: Path) -> None:
    # As torch.distributed.elastic writes it; torchrun shows it as the rank's traceback.
    text = "bad input, see the error above"
    message = {"message": text, "extraInfo": {"py_callstack": text, "timestamp": str(int(time.time()))}}
    try:
        write_json(file, {"message": message})
    except OSError:  # a full disk: torchrun says more than it need
        return


def _wait_for(files: Iterable[Path]) -> bool:
    """Waits until there are all of these files; tells whether they came in time."""
    until = time.monotonic() + PEERS_SECONDS
    while not (there := all(file.exists() for file in files)) and time.monotonic() < until:
        time.sleep(0.01)
    return there
