"""Several runs at a time on one device: more of them an hour, and no clean time of any.

Each slot has a supervisor, in a thread of this process, and one launch at a time. All of them walk the same runs, and a
run is done in the slot that comes to it first; so one that has short runs does more of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.launching.launch_folder import STOPPED, new_folder
from harness.launching.stop_signals import StopSignals

if TYPE_CHECKING:
    from harness.launching.manifest import Manifest


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

    def _path(self, run_id: str) -> Path:
        return self.folder / run_id

    def _owner(self, run_id: str) -> int | None:
        try:
            return int(str(self._path(run_id).readlink()))
        except FileNotFoundError:
            return None


def do_packed(manifest: Manifest, packed: int, count: int, do: Callable[[Manifest], int], stop: StopSignals) -> int:
    """Does runs, several at a time.

    Args:
        manifest: whose runs they are.
        packed: how many at a time.
        count: of the runs that are open; there are no more slots than that.
        do: supervises the launches of a slot, whose manifest it is given: 0 where each run was attempted, by whichever
            slot, 2 where the input is bad, 75 where it was stopped.
        stop: where one slot meets an error, the others are asked to save and stop.

    Returns:
        As `do`.

    Raises:
        Exception: whatever `do` does, when the other slots have stopped.
    """

    def do_slot(slot: Slot) -> int:
        code = 2
        try:
            # No time of these runs will count, so none is thrown away to warm the machine up.
            code = do(manifest.model_copy(update={"slot": slot, "warm_up_seconds": 0.0}))
        finally:
            if code == 2:
                stop.ask("an error")
        return code

    with new_folder() as folder:
        slots = [Slot(number, packed, folder) for number in range(min(packed, count))]
        with ThreadPoolExecutor(packed, "slot") as pool:
            ended = [pool.submit(do_slot, slot) for slot in slots]
    codes = {future.result() for future in ended}
    return next((code for code in (2, STOPPED) if code in codes), 0)
