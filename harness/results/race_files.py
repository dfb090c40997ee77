"""The files of a race: what was fixed at its start, and what each look decided; each is written once."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.records.files import read_file, recording, write_synced
from harness.statistics.race import Ending, Why
from harness.suite.race import Race

Values = dict[str, list[float | None]]
Kept = TypeVar("Kept", bound=BaseModel)


class Left(BaseModel):
    """A config that left; see `harness.statistics.race.Leaving`. `p` is corrected over the look's family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config_id: str
    why: Why
    beside: str | None
    p: float | None


class RaceLook(BaseModel):
    """What a look decided.

    Attributes:
        seeds: how many there were by then.
        alpha: what it spent.
        staying: the configs that are left, by their ids.
        exploratory: why its verdicts are no more than hints; empty where they count.
        accuracy, train_seconds: the values that it decided from, by config_id and seed; None where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str
    seeds: int
    alpha: float
    left: tuple[Left, ...]
    staying: tuple[str, ...]
    ended: Ending | None
    exploratory: tuple[str, ...]
    accuracy: Values
    train_seconds: Values


class Start(BaseModel):
    """What is fixed at the start.

    Attributes:
        earlier: run ids of the plan that there was something of before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str
    race: Race
    earlier: tuple[str, ...]


def write_once(path: Path, model: BaseModel) -> None:
    """Writes a file, whole; where there is one, it stays."""
    with recording(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        write_synced(own, (model.model_dump_json(indent=1) + "\n").encode())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(own, path)  # atomic on NFS, too
        finally:
            own.unlink()


def read_kept(path: Path, kind: type[Kept]) -> Kept:
    """Reads a file.

    Raises:
        HarnessError: it is missing, or not what was written.
    """
    try:
        return kind.model_validate_json(read_file(path))
    except (OSError, ValidationError, ValueError) as error:
        told = f"{error.error_count()} fields are wrong" if isinstance(error, ValidationError) else str(error)
        hint = "move the folder away: the next `harness run` begins a new race, whose verdicts are exploratory"
        raise HarnessError(f"cannot read {path}: {told}", hint) from None
