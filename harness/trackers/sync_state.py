"""What of a run is at W&B, as its server has answered: `trackers/wandb.json` in the run's folder."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from harness.records.files import read_object, write_json
from harness.records.store import RunFolder, now

FOLDER = "trackers"


@dataclass(frozen=True)
class SyncState:
    """A run that W&B has.

    Attributes:
        server, entity, project, id: where.
        digest: of what it has; see `Entries.digest`.
        predictions: whether it has the table of predictions, too.
        at: time of day, ISO 8601.
    """

    server: str
    entity: str
    project: str
    id: str
    digest: str
    predictions: bool = False
    at: str = dataclasses.field(default_factory=now)


def write_sync_state(folder: RunFolder, what: SyncState) -> None:
    """Writes it beside the run's record; where that fails, the run is brought up once more, which changes nothing."""
    with contextlib.suppress(OSError):
        path = folder.path / FOLDER
        path.mkdir(exist_ok=True)
        write_json(path / "wandb.json", dataclasses.asdict(what))


def read_sync_state(folder: RunFolder) -> SyncState | None:
    """Returns what was brought up last; None where nothing was."""
    try:
        return SyncState(**read_object(folder.path / FOLDER / "wandb.json"))
    except (OSError, ValueError, TypeError):
        return None
