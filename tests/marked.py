"""Runs whose times do not count: for each mark the fields of a result that make it, and the reason that is told."""

from __future__ import annotations

from typing import Any

MARKING: dict[str, dict[str, Any]] = {
    "packed": {"packed": 2},
    "disturbed": {"disturbed": ["other processes took 52 % of its cores."]},
    "elsewhere": {"elsewhere": "other"},
    "environment": {"environment": {"OMP_NUM_THREADS": "1"}, "usual_environment": {}},
    "resumed": {"resumed_at_steps": [7]},
}
REASONS = {
    "packed": "2 at a time",
    "disturbed": "other processes took 52 % of its cores",
    "elsewhere": "in suite other",
    "environment": "OMP_NUM_THREADS 1, not unset",
    "resumed": "at step 7",
}
