"""Which trackers a suite asks for. No part of any identity: the same runs, with and without it."""

from __future__ import annotations

from pydantic import Field

from harness.errors import HarnessError
from harness.spec import Section

WANDB = "wandb"
TRACKERS = ("mlflow", "tensorboard", WANDB)  # which are also the names of their packages and modules
_LONGEST_PROJECT = 128
_FORBIDDEN = "/\\#?%:"


class WandbPlace(Section):
    """Where at W&B runs go."""

    project: str = Field(default="", description="'harness' by default")
    entity: str = Field(default="", description="a user or a team; the account's own by default")


class Mirroring(Section):
    """What a suite asks for; a call's options and the environment come before it."""

    trackers: tuple[str, ...] = ()
    wandb: WandbPlace = WandbPlace()


def require_project(name: str) -> None:
    """Checks that W&B allows a project's name.

    Raises:
        HarnessError: it does not.
    """
    if found := sorted(set(name) & set(_FORBIDDEN)):
        raise HarnessError(f"W&B allows no project name with {' '.join(found)}: {name}", "choose another")
    if len(name) > _LONGEST_PROJECT:
        raise HarnessError(f"W&B allows no project name of {len(name)} characters", f"{_LONGEST_PROJECT} at most")
