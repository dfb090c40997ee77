"""What stepping a config for some seconds has measured; the stepping process writes it, the forecast reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from harness.records.files import append_line, open_file

STEPPED_FILE = "stepped.jsonl"


class Block(NamedTuple):
    """Consecutive steps that were timed in one go, and the images that they took."""

    seconds: float
    samples: int


class Stepped(BaseModel):
    """What stepping a config came to; what was not measured is None, or 0 for a phase that the run does not have.

    Attributes:
        config_id: of the config that was stepped.
        problem: why a run of it may not end well, or why nothing was measured; empty where all went well.
        hint: what to do about it.
        blocks: of timed steps, in their order.
        first_seconds: what the first steps took longer than later ones.
        samples_per_epoch: images that an epoch trains on.
        steps_per_epoch: optimizer steps.
        eval_seconds: of one evaluation of all splits.
        data_seconds, build_seconds, compile_seconds: as on the clocks of a run.
        joules_per_sample: of the GPU; None where that cannot be read.
        peak_bytes: most memory in use: on a GPU PyTorch's pool, on a CPU the process.
        device_bytes: how much memory there is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config_id: str
    problem: str = ""
    hint: str = ""
    blocks: tuple[Block, ...] = ()
    first_seconds: float = 0.0
    samples_per_epoch: int = 0
    steps_per_epoch: int = 0
    eval_seconds: float = 0.0
    data_seconds: float = 0.0
    build_seconds: float = 0.0
    compile_seconds: float = 0.0
    joules_per_sample: float | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    device: Literal["", "cpu", "cuda"] = ""
    micro_batch_size: int | None = None


class SteppingLine(BaseModel):
    """A line of the stepping process: a config that it comes to, or what one came to.

    Attributes:
        started_seconds: on the first line: from its start until torch and the device were there.
    """

    model_config = ConfigDict(extra="forbid")

    begins: str = ""
    stepped: Stepped | None = None
    started_seconds: float | None = None

    def write(self, folder: Path) -> None:
        """Appends the line to the file in a folder."""
        append_line(folder / STEPPED_FILE, self.model_dump(mode="json"))


def read_lines(folder: Path) -> list[SteppingLine]:
    """Returns what the stepping process wrote so far; a torn last line is left out."""
    try:
        with open_file(folder / STEPPED_FILE) as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    return [SteppingLine.model_validate_json(line) for line in lines[:-1] if line]
