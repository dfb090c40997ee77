"""The types of a record's numbers, each with its range."""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MOST = 1 << 63
MOST_EPOCHS = 10_000_000


def require_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Checks the numbers of nested values, of which nothing else is known: finite, and in 64 bits where whole.

    Raises:
        ValueError: with the number.
    """
    # A record has a hundred of them, a report reads 10,000 records: nothing is done here that need not be.
    waiting: list[Any] = [values]
    for value in waiting:
        if (kind := type(value)) is dict:
            waiting.extend(value.values())
        elif kind is list:
            waiting.extend(value)
        elif (kind is float and not -math.inf < value < math.inf) or (kind is int and not -MOST <= value < MOST):
            raise ValueError(f"holds the number {str(value)[:40]}")
    return values


def _require_loss(value: float) -> float:
    if value < 0:
        raise ValueError("a loss below 0")
    return value


def _require_moment(text: str) -> str:
    if datetime.datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time of day without its time zone")
    return text


Count = Annotated[int, Field(ge=0, lt=MOST)]
Ordinal = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]  # with room for how sums of float32 are rounded
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e20, allow_inf_nan=False)]
Celsius = Annotated[float, Field(ge=-273.15, le=1e6, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Loss = Annotated[float, AfterValidator(_require_loss)]
Moment = Annotated[str, AfterValidator(_require_moment), Field(description="ISO 8601, with its time zone")]
Plain = Annotated[dict[str, Any], AfterValidator(require_plain)]
