"""What `accelerate launch harness/run.py SUITE` or `-m harness.run SUITE` starts; the same as `harness run SUITE`."""

from __future__ import annotations

import sys
from pathlib import Path

# Run by its path, Python puts this folder first on sys.path, where `models` or `data` would hide other packages. Run as
# a module, it puts the working directory there.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.cli import main  # noqa: E402 - the path comes first

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
