"""What every picture promises."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from harness.contracts.promise import Promise, require
from harness.errors import HarnessError

# A convolutional network, so that there are filters and feature maps to draw.
SUITE = """\
name: drawn
base:
  model: {name: cnn3, padding: same, filters: [4, 4, 4], hidden_size: 16}
  data: {name: digits, train_samples: 200}
  optimizer: adam
  train: {epochs: 2}
warm_up_seconds: 0
"""

Draw = Callable[[Path, Path, Console], list[Path]]
"""Draws the picture of the run in a folder below a results root, and returns the files."""


def promises(draw: Draw) -> Iterator[Promise]:
    """Yields what is promised of a small run."""
    yield "it is drawn, with a caption, and the same again", lambda: is_drawn_again(draw)


@functools.cache
def small_run() -> Path:
    """Trains a small network on digits for two epochs, once a process, and returns the folder of its run.

    Raises:
        HarnessError: it did not end well.
    """
    folder = Path(tempfile.mkdtemp(prefix="harness-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    suite = folder / "drawn.yaml"
    suite.write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "harness", "run", str(suite), "--output", str(folder / "results")]
    done = subprocess.run([*command, "--tracker", "none"], capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise HarnessError(f"the run to draw ended with {done.returncode}: {last}", "run the suite of digits by itself")
    [result] = folder.glob("results/drawn/*/*/result.json")
    return result.parent


def is_drawn_again(draw: Draw) -> None:
    """There is a picture at least; each has a caption, and is the same when it is drawn again."""
    run = small_run()
    console = Console(quiet=True)
    contents = []
    for _ in range(2):
        files = draw(run, run.parents[2], console)
        require(files, "it returns no picture")
        require(len(set(files)) == len(files), "two of its pictures have one name")
        for file in files:
            require(file.with_suffix(".txt").read_text(encoding="utf-8").strip(), f"{file.stem} has no caption")
        contents.append({file: file.read_bytes() for file in files})
    require(contents[0] == contents[1], "drawn twice, it is not the same picture")
