"""The command `harness`, also as `python -m harness`."""

import gc

gc.disable()  # a start makes many objects and no garbage: 7 % of it; `run` collects again

from harness.cli import main  # noqa: E402 - after the line above

if __name__ == "__main__":
    main()
