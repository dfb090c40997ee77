"""Several launches on one device that do the runs of a call together, each run in one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


@dataclass(frozen=True)
class Slot:
    """One of these launches, and those that follow it where it dies.

    Claims on runs are between calls: they are free again when a run has failed, which in one call is tried once.

    Attributes:
        number: counted from 0.
        of: how many there are.
        folder: of the call, on this machine; it says which run is whose.
    """

    number: int
    of: int
    folder: Path

    def takes(self, run_id: str) -> bool:
        """Takes a run, unless another slot has it; tells whether it is this one's, now or since earlier.

        Raises:
            HarnessError: the folder cannot be written, or was deleted.
        """
        try:
            self._path(run_id).symlink_to(str(self.number))  # it is there with its content, or not at all
        except FileExistsError:
            pass
        except OSError as error:
            message = f"cannot write which launch does which run to {self.folder}: {error.strerror}"
            raise HarnessError(message, "the same command goes on from here") from None
        return self._owner(run_id) == self.number

    def is_left(self, run_id: str) -> bool:
        """Tells whether no other slot has taken a run."""
        return self._owner(run_id) in (None, self.number)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values, for `from_json`."""
        return {**vars(self), "folder": str(self.folder)}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Slot:
        """Returns the slot of plain values."""
        return Slot(**{**value, "folder": Path(value["folder"])})

    def _path(self, run_id: str) -> Path:
        return self.folder / run_id

    def _owner(self, run_id: str) -> int | None:
        try:
            return int(str(self._path(run_id).readlink()))
        except FileNotFoundError:
            return None
