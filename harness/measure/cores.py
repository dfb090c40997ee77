"""What the kernel counts of the cores that this process may use, of its threads that wait for one, and of sleep.

All are sums since the machine or the thread began: of two readings the difference is meant.
"""

from __future__ import annotations

import os
import time

from harness.measure.processes import PROC, TICK, read

IDLE, IOWAIT, STEAL = 3, 4, 7  # of the numbers behind a core's name in /proc/stat, proc_stat(5)
NO_COUNT = "/proc/stat counts no time of the cores here, as in some containers"


class Cores:
    """The cores that this process may use.

    Attributes:
        count: how many.
    """

    def __init__(self) -> None:
        self._names = {f"cpu{number}".encode() for number in os.sched_getaffinity(0)}
        self.count = len(self._names)

    def counters(self) -> dict[str, float]:
        """Returns the seconds that passed, and those of all cores together that were free, or that another took.

        Free is more exact than busy: it is counted from event to event and told in ticks of 10 ms, and busy time is
        counted by what a core does at each tick. Two readings are right to a tick and core.

        Raises:
            OSError: it cannot be read.
            LookupError: it counts nothing; the message is the reason.
        """
        lines = read(PROC / "stat").split(b"\n")
        cores = [line.split() for line in lines if line.partition(b" ")[0] in self._names]
        numbers = [[int(number) / TICK for number in core[1:]] for core in cores]
        if len(numbers) < self.count or not any(map(any, numbers)):
            raise LookupError(NO_COUNT)
        return {
            "machine_seconds": time.perf_counter(),
            "free_core_seconds": sum(core[IDLE] + core[IOWAIT] for core in numbers),
            "steal_seconds": sum(core[STEAL] for core in numbers),
        }


def queued_seconds() -> dict[int, float]:
    """Returns for how long each thread of this process was ready and waited for a core.

    Raises:
        OSError: the kernel does not count it (CONFIG_SCHED_INFO), or does not show it.
    """
    folder = f"{PROC}/self/task"
    found = {}
    for thread in os.listdir(folder):  # noqa: PTH208 - called often
        try:
            found[int(thread)] = int(read(f"{folder}/{thread}/schedstat").split()[1]) / 1e9
        except ProcessLookupError:  # it has just ended
            continue
        except FileNotFoundError:
            if os.path.exists(f"{folder}/{thread}"):  # noqa: PTH110 - called for each thread
                raise
    return found


def asleep_seconds() -> float:
    """Returns for how long the machine was suspended so far."""
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC), 3)  # two calls
