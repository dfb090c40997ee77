"""What a metric is given and what it declares; see `harness.registry` and docs/extending.md."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np

NAME = r"^[a-z][a-z0-9_]{0,39}$"
FRACTION = "fraction"
# The columns `test_...` that every table has, and what the names of summarised ones end with.
TAKEN = ("accuracy", "loss", "macro_recall", "top5_accuracy")
ENDINGS = ("_mean", "_sd", "_ci95", "_n")


def _one_line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("one line without spaces around it")
    return text


class Declaration(BaseModel):
    """What a metric declares, which goes into the record of each run."""

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="constants", defer_build=True)

    unit: Annotated[str, Field(max_length=20), AfterValidator(_one_line)] = Field(
        description="`fraction` for values from 0 to 1, shown as percent; empty where there is none"
    )
    title: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_one_line)] = Field(
        description="of its column"
    )
    better: Literal["higher", "lower"] = Field(description="which values are better")

    def holds(self, value: float) -> bool:
        """Tells whether a value is in the range of the unit."""
        return self.unit != FRACTION or 0 <= value <= 1 + 1e-6


def read_declaration(place: str, names: Sequence[str], options: Mapping[str, Any], parameters: int) -> Declaration:
    """Returns what the mark of a metric declares.

    Args:
        place: the mark's, for errors.
        names: that the mark gives.
        options: its keyword arguments.
        parameters: how many the function has, behind what the harness supplies.

    Raises:
        HarnessError: with the place.
    """
    hint = 'write @metric("name", unit="fraction", title="its column", better="higher") above def name(test)'
    if len(names) != 1 or not re.match(NAME, names[0]):
        raise HarnessError(f"{place} has not one name of small letters, digits and _", hint)
    if names[0] in TAKEN:
        raise HarnessError(f"{place}: every table has a column test_{names[0]} already", "give it another name")
    if names[0].endswith(ENDINGS):
        message = f"{place}: columns of tables add {', '.join(ENDINGS)} to a name, and '{names[0]}' ends so already"
        raise HarnessError(message, "give it another name")
    if parameters:
        raise HarnessError(f"{place} has parameters, and no suite sets those of a metric", hint)
    try:
        return Declaration.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        field, wanted = first["loc"][0], first["msg"].replace("Input should", "it should").replace("Value error, ", "")
        told = {"missing": f"{field} is missing", "extra_forbidden": f"{field} is unknown"}
        problem = told.get(first["type"]) or f"{field} is {first['input']!r}: {wanted}"
        raise HarnessError(f"{place}: {problem}", hint) from None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network predicted for the test images after the last epoch. The arrays are read-only.

    Attributes:
        labels: the true class of each image, int64 [N], from 0 to C-1.
        predictions: the class with the largest logit, int64 [N].
        num_classes: C; a class may have no image.
    """

    labels: np.ndarray
    predictions: np.ndarray
    num_classes: int

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """How many images of each class were predicted as which, int64 [C, C]: rows are labels, columns predictions."""
        import numpy as np

        pairs = self.labels * self.num_classes + self.predictions
        counts = np.bincount(pairs, minlength=self.num_classes**2).reshape(self.num_classes, self.num_classes)
        counts.setflags(write=False)
        return counts

    @staticmethod
    def of(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> Predictions:
        """Returns the predictions with arrays of their own.

        Raises:
            ValueError: the shapes differ, there is no image, or a class is out of range.
        """
        import numpy as np

        arrays = [np.array(one, dtype=np.int64) for one in (labels, predictions)]
        if arrays[0].shape != arrays[1].shape or arrays[0].ndim != 1 or not arrays[0].size:
            raise ValueError(f"{arrays[0].size} labels and {arrays[1].size} predictions")
        for one in arrays:
            if one.min() < 0 or one.max() >= num_classes:
                raise ValueError(f"classes from {one.min()} to {one.max()}, of {num_classes}")
            one.setflags(write=False)
        return Predictions(arrays[0], arrays[1], num_classes)
