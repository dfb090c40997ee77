"""What `harness reproduce REPORT` trains and draws: a YAML file in `benchmarks/reports/` for each published report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.errors import HarnessError, nearest
from harness.paths import REPORTS, shipped, shipped_names
from harness.suite.yaml_lines import read_yaml


class Figure(BaseModel):
    """A figure, or several of one picture.

    Attributes:
        figures: their numbers in the report.
        shows: in words.
        suite: whose runs it shows; empty for the report's only suite.
        of: the label of its config; empty for all configs of the suite.
        seeds: the first seed of a config, or all of them.
        what: the kind of picture, see `harness list pictures`.
        set: its parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: str
    shows: str
    suite: str = ""
    of: str = ""
    seeds: Literal["first", "all"] = "first"
    what: str
    set: dict[str, Any] = {}


class PublishedReport(BaseModel):
    """The suites and the figures of a report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    suites: tuple[str, ...]
    figures: tuple[Figure, ...]

    def figures_of(self, suite: str) -> list[Figure]:
        """Returns the figures that show runs of a suite."""
        return [one for one in self.figures if (one.suite or self.suites[0]) == suite]


def read_published_report(name: str) -> PublishedReport:
    """Reads what belongs to a report.

    Args:
        name: e.g. `report3`, or its number alone.

    Raises:
        HarnessError: there is no such report.
    """
    full = f"report{name}" if name.isdigit() else name
    if full not in shipped_names(REPORTS):
        raise HarnessError(f"there is no report '{name}'", nearest(full, shipped_names(REPORTS)))
    return PublishedReport.model_validate(read_yaml(shipped(REPORTS) / f"{full}.yaml").values)
