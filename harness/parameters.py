"""The types that a plug-in's parameters may have.

A plug-in's parameters are read from its source, without importing it (see `harness.registry`), so an annotation may
use only what stands here, the built-in types, and `Literal`, `Annotated`, `Any` and `Field`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"]
Init = Literal["default", "kaiming", "xavier"]

VOCABULARY: dict[str, Any] = {
    name: value
    for name, value in {
        **globals(),
        "int": int,
        "float": float,
        "str": str,
        "bool": bool,
        "dict": dict,
        "list": list,
        "tuple": tuple,
        "None": None,
    }.items()
    if not name.startswith("_") and name not in {"annotations"}
}
