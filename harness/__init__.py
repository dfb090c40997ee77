"""Train every architecture x configuration of a suite and compare run time against accuracy.

    import harness

    frame = harness.read_results("results/quickstart")    # a pandas DataFrame, a row a run
    harness.summarize(frame)                              # a row a config: means and intervals
    harness.compare.plain(frame, "mlp, adam", "resnet18, sgd")

docs/python.md is a tour. Nothing here imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import make_plan as make_plan
    from harness.api import train_suite as train_suite
    from harness.compare.plain import compare_configs as compare_configs
    from harness.results.frame import describe_columns as describe_columns
    from harness.results.frame import read_results as read_results
    from harness.results.summary import summarize as summarize

__version__ = "0.1.0"

_PLACES = {
    "read_results": "harness.results.frame",
    "describe_columns": "harness.results.frame",
    "summarize": "harness.results.summary",
    "compare_configs": "harness.compare.plain",
    "make_plan": "harness.api",
    "train_suite": "harness.api",
}
__all__ = ["__version__", *_PLACES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public function where it is first used: `harness --help` needs none of them."""
    if name not in _PLACES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
