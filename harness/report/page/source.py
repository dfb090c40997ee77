"""What a page is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.report.tables import Report


@dataclass(frozen=True)
class Source:
    """One suite of a page.

    Attributes:
        question: the suite's description.
        systems: the facts of each, by system_id.
        specs: of the charts, by name, as `harness.report.charts.of_report` names them.
        folder: of the suite's results.
        commands: that made these results and this page.
        charts_missing: why there are no charts; empty where there are.
    """

    report: Report
    folder: Path
    question: str = ""
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    specs: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    charts_missing: str = ""
