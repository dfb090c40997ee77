"""The command `harness`, also as `python -m harness`."""

import gc
import os

# A person waits for `harness plan`: no collection while it makes many objects and no garbage (`run` collects again),
# and no search of all installed packages for plug-ins of pydantic.
gc.disable()
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from harness.cli import main  # noqa: E402 - after the lines above

if __name__ == "__main__":
    main()
