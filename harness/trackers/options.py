"""Which trackers mirror the runs of a call, and what they are told. No part of a run's identity."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError, nearest

TRACKERS = "HARNESS_TRACKERS"
PATIENCE = "HARNESS_TRACKER_PATIENCE"
NONE = "none"
WANDB = "wandb"
# Accelerate's names: the module that each needs, and what installs it.
NAMES = {
    "aim": ("aim", "aim"),
    "clearml": ("clearml", "clearml"),
    "comet_ml": ("comet_ml", "comet_ml"),
    "dvclive": ("dvclive", "dvclive"),
    "mlflow": ("mlflow", "mlflow"),
    "swanlab": ("swanlab", "swanlab"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "trackio": ("trackio", "trackio"),
    WANDB: (WANDB, WANDB),
}
DEFAULT_PROJECT = "harness"
DEFAULT_PATIENCE_SECONDS = 30.0
_LONGEST_PROJECT = 128
_FORBIDDEN = "/\\#?%:"


@dataclass(frozen=True)
class Tracking:
    """What a call asks for.

    Attributes:
        names: of the trackers.
        project: that runs go to.
        entity: of W&B, a user or a team; empty for the account's own.
        predictions: W&B gets each test image's label and prediction as a table.
        machine: W&B gets what names the machine, too: host, command line, git remote, paths, error messages.
        command: the call, where it is sent.
        offline: W&B's runs are written to this disk.
        patience_seconds: how long a server is waited for, when a run is opened there, and at the end.
    """

    names: tuple[str, ...] = ()
    project: str = DEFAULT_PROJECT
    entity: str = ""
    predictions: bool = False
    machine: bool = False
    command: tuple[str, ...] = ()
    offline: bool = False
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS

    @staticmethod
    def asked(
        names: Sequence[str] | None = None,
        project: str = "",
        entity: str = "",
        *,
        predictions: bool = False,
        machine: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Tracking:
        """Returns what the options of a call ask for, and, where they are silent, the environment.

        Raises:
            HarnessError: an unknown tracker, one that is not installed, a project that W&B would refuse, or a
                patience that is no number of seconds.
        """
        told = os.environ if environment is None else environment
        chosen = list(names or re.split(r"[\s,]+", told.get(TRACKERS, "").strip()))
        chosen = [name for name in dict.fromkeys(chosen) if name and name != NONE]
        for name in chosen:
            _require(name)
        project = project or told.get("WANDB_PROJECT") or DEFAULT_PROJECT
        if WANDB in chosen:
            require_project(project)
        entity = entity or told.get("WANDB_ENTITY", "")
        command = tuple(sys.argv) if machine else ()
        patience_seconds = _patience(told.get(PATIENCE, ""))
        return Tracking(
            tuple(chosen), project, entity, predictions, machine, command, patience_seconds=patience_seconds
        )

    def only(self, name: str) -> Tracking:
        """Returns the same with one tracker."""
        return dataclasses.replace(self, names=(name,))


def require_project(name: str) -> None:
    """Checks that W&B allows a project's name.

    Raises:
        HarnessError: it does not.
    """
    if found := sorted(set(name) & set(_FORBIDDEN)):
        raise HarnessError(f"W&B allows no project name with {' '.join(found)}: {name}", "choose another")
    if len(name) > _LONGEST_PROJECT:
        raise HarnessError(f"W&B allows no project name of {len(name)} characters", f"{_LONGEST_PROJECT} at the most")


def _require(name: str) -> None:
    if name not in NAMES:
        raise HarnessError(f"unknown tracker '{name}'", nearest(name, [*NAMES, NONE]))
    module, package = NAMES[name]
    if importlib.util.find_spec(module) is None:
        raise HarnessError(f"tracker {name} needs {package}, which is not installed", f"pip install {package}")


def _patience(text: str) -> float:
    try:
        seconds = float(text or DEFAULT_PATIENCE_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise HarnessError(f"{PATIENCE} is '{text}'", "a number of seconds above 0, e.g. 30")
    return seconds
