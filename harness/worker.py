"""The script of a launch's ranks, `worker.py FOLDER`, and of a forecast, `worker.py --step ...`.

The supervisor of `harness run`, or `harness plan --forecast`, starts it, not a person.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Run by its path, Python puts this folder first on sys.path, where `models` or `data` would hide other packages.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.running.worker import work_for_supervisor  # noqa: E402 - the path comes first
from harness.streams import guard_streams  # noqa: E402

if __name__ == "__main__":
    guard_streams()
    if sys.argv[1] == "--step":
        from harness.running.stepping import main

        sys.exit(main(*sys.argv[2:]))
    sys.exit(work_for_supervisor(Path(sys.argv[1])))
