"""What all sections of a suite share."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from harness.errors import HarnessError


class ImageShape(NamedTuple):
    """The shape of one image as a network sees it."""

    channels: int
    height: int
    width: int


class SpecError(HarnessError):
    """A field of a RunSpec that is wrong; `path` leads to it, e.g. ("train", "epochs")."""

    def __init__(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.path = path


class Section(BaseModel):
    """A mapping in a suite. Unknown keys are errors, numbers are finite and not guessed from strings or booleans."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # YAML has no tuples


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 < bounds[0] <= bounds[1]:
        raise ValueError("the bounds must be above 0 and the first not above the second")
    return bounds


Range = Annotated[tuple[float, float], BeforeValidator(_as_tuple), AfterValidator(_rising)]
