"""The metrics of plug-ins: computed when a run ends, or anew from the predictions that it kept."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.metric import Declaration, Predictions
from harness.plugin_files import PACKAGE
from harness.plugin_source import Plugin
from harness.records.result import ExtraMetric
from harness.source_code import code_hash

if TYPE_CHECKING:
    import numpy as np

LONGEST_REASON = 300


def code_of(plugin: Plugin) -> str:
    """Returns the hash of a metric's file, and outside the package of the local modules that it imports."""
    return plugin.file.code if plugin.file else code_hash([plugin.path], PACKAGE)


def compute(
    plugins: Sequence[Plugin], labels: np.ndarray, predictions: np.ndarray, num_classes: int
) -> tuple[dict[str, ExtraMetric], dict[str, str]]:
    """Returns metrics by name; and by the name of the record's field, why a metric is null.

    A metric that raises, or returns what is no value of it, is null, and the others are as they would be.

    Args:
        plugins: the metrics.
        labels, predictions, num_classes: see `harness.metric.Predictions`.
    """
    try:
        Predictions.of(labels, predictions, num_classes)
    except ValueError as error:
        return nulls(plugins, f"predictions.npz holds {error}")
    found: dict[str, ExtraMetric] = {}
    reasons: dict[str, str] = {}
    for plugin in plugins:
        # Arrays of its own: torch.from_numpy writes into read-only ones, too.
        value, reason = _value(plugin, Predictions.of(labels, predictions, num_classes))
        found[plugin.names[0]] = _declared(plugin, value)
        if reason:
            reasons[field_of(plugin.names[0])] = reason
    return found, reasons


def nulls(plugins: Sequence[Plugin], reason: str) -> tuple[dict[str, ExtraMetric], dict[str, str]]:
    """Returns what `compute` does where no metric can be computed."""
    names = [plugin.names[0] for plugin in plugins]
    return {name: _declared(one, None) for name, one in zip(names, plugins, strict=True)}, {
        field_of(name): reason for name in names
    }


def _declared(plugin: Plugin, value: float | None) -> ExtraMetric:
    assert plugin.declaration
    return ExtraMetric(**dict(plugin.declaration), value=value, code=code_of(plugin))


def field_of(name: str) -> str:
    """Returns the name of a metric in a record's `unavailable`."""
    return f"extra_metrics.{name}"


def _value(plugin: Plugin, test: Predictions) -> tuple[float | None, str]:
    """Returns the value, or None and the reason in one sentence, with file and line; records name no folders."""
    try:
        assert plugin.declaration
        with contextlib.redirect_stdout(sys.stderr):  # stdout may be JSON
            returned = plugin.load()(test)
        value, problem = number(plugin.declaration, returned)
        if not problem:
            return value, ""
        problem = f"{plugin.place}: it returned {problem}"
    except HarnessError as error:
        problem = error.message
    except (Exception, SystemExit) as error:
        problem = plugin.told(error)
    return None, problem.replace(f"{plugin.path.parent}/", "")[:LONGEST_REASON]


def number(declared: Declaration, returned: Any) -> tuple[float, str]:
    """Returns what a metric returned as a float: a number of Python, numpy or torch; or NaN, and what is wrong."""
    shape = getattr(returned, "shape", None)
    value = returned.item() if shape == () else returned
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan, f"{f'shape {tuple(shape)}' if shape else f'a {type(value).__name__}'}, not one number"
    if not math.isfinite(value):
        return math.nan, f"{value}, not a finite number"
    if not declared.holds(value):
        return math.nan, f"{value:g}, and a fraction is from 0 to 1"
    return float(value), ""
