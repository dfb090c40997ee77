"""Several runs at a time on one device: more of them an hour, and no clean time of any.

Each slot has a supervisor, in a thread of this process, and one launch at a time. All of them walk the same runs, and a
run is done in the slot that comes to it first; so one that has short runs does more of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from harness.launching.launch_folder import STOPPED, new_folder
from harness.launching.manifest import Manifest
from harness.launching.slot import Slot
from harness.launching.stop_signals import StopSignals


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
            code = do(dataclasses.replace(manifest, slot=slot, warm_up_seconds=0.0))
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
