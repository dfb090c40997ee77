"""Settings of all tests."""

from __future__ import annotations

import os

# Small tensors are fastest on one thread, and tests that run side by side would wait for each other's OpenMP teams.
# Set before torch is imported; processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
