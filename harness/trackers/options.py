"""Which trackers mirror the runs of a call, and what they are told. No part of a run's identity."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError, nearest
from harness.suite.mirroring import TRACKERS, WANDB, Mirroring, require_project

ASKED = "HARNESS_TRACKERS"
PATIENCE = "HARNESS_TRACKER_PATIENCE"
NONE = "none"
DEFAULT_PROJECT = "harness"
DEFAULT_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Tracking:
    """What a call asks for.

    Attributes:
        names: of the trackers.
        project: that runs go to.
        entity: of W&B, a user or a team; empty for the account's own.
        offline: W&B's runs are written to this disk.
        patience_seconds: how long a server is waited for, when a run is opened there, and at the end.
    """

    names: tuple[str, ...] = ()
    project: str = DEFAULT_PROJECT
    entity: str = ""
    offline: bool = False
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS

    @staticmethod
    def asked(
        names: Sequence[str] | None = None,
        project: str = "",
        entity: str = "",
        *,
        of_suite: Mirroring | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Tracking:
        """Returns what the options of a call ask for; where they are silent, the environment; and else the suite.

        Raises:
            HarnessError: an unknown tracker, one that is not installed, a project that W&B would refuse, or a
                patience that is no number of seconds.
        """
        told = os.environ if environment is None else environment
        of_suite = of_suite or Mirroring()
        chosen = list(names or told.get(ASKED, "").replace(",", " ").split() or of_suite.trackers)
        chosen = [name for name in dict.fromkeys(chosen) if name and name != NONE]
        for name in chosen:
            _require(name)
        project = project or told.get("WANDB_PROJECT") or of_suite.wandb.project or DEFAULT_PROJECT
        if WANDB in chosen:
            require_project(project)
        entity = entity or told.get("WANDB_ENTITY") or of_suite.wandb.entity
        return Tracking(tuple(chosen), project, entity, patience_seconds=_patience(told.get(PATIENCE, "")))


def _require(name: str) -> None:
    if name not in TRACKERS:
        raise HarnessError(f"unknown tracker '{name}'", nearest(name, [*TRACKERS, NONE]))
    if importlib.util.find_spec(name) is None:
        raise HarnessError(f"tracker {name} needs {name}, which is not installed", f"pip install {name}")


def _patience(text: str) -> float:
    try:
        seconds = float(text or DEFAULT_PATIENCE_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise HarnessError(f"{PATIENCE} is '{text}'", "a number of seconds above 0, e.g. 30")
    return seconds
