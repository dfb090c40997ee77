"""What a page is made from, and what it is made of, as plain data: the template shows each part by its `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from harness.report.charts.chart import Chart, Grid
from harness.report.tables import Report


@dataclass(frozen=True)
class PageSource:
    """One suite of a page.

    Attributes:
        folder: of the suite's results.
        question: the suite's description.
        systems: the facts of each, by system_id.
        charts: by name, as `harness.report.charts.of_report` names them.
        specs: of the charts, by name.
        commands: that made these results and this page.
        charts_missing: why there are no charts; empty where there are.
    """

    report: Report
    folder: Path
    question: str = ""
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    charts: Mapping[str, Chart] = field(default_factory=dict)
    specs: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    charts_missing: str = ""


@dataclass(frozen=True)
class Link:
    """A link to a file beside the page."""

    text: str
    href: str
    note: str = ""


@dataclass(frozen=True)
class Says:
    """Paragraphs; names in “quotes” are set in bold type. A caution is what could change a decision."""

    kind: ClassVar[str] = "says"
    texts: tuple[str, ...]
    caution: bool = False


@dataclass(frozen=True)
class Notes:
    """A list that is folded until it is asked for."""

    kind: ClassVar[str] = "notes"
    title: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Heading:
    """Of what follows, within a section: a system, where there are several."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Legend:
    """The colours of the configs, for all charts of a section: names, and the class of each colour."""

    kind: ClassVar[str] = "legend"
    entries: tuple[tuple[str, str], ...]
    in_grey: int


@dataclass(frozen=True)
class Tabled:
    """A plain table that stands by itself."""

    kind: ClassVar[str] = "tabled"
    grid: Grid


@dataclass(frozen=True)
class Figure:
    """A chart, in words and as a table too: the keys of its specifications for wide and narrow screens."""

    kind: ClassVar[str] = "figure"
    id: str
    title: str
    caption: str
    wide: str
    narrow: str
    files: tuple[Link, ...]
    grid: Grid


@dataclass(frozen=True)
class Offer:
    """What to take for a budget of train time."""

    seconds: float
    budget: str
    sentence: str


@dataclass(frozen=True)
class Offers:
    """What to take for each budget: the last stands for all longer ones; `rows` join those with the same answer."""

    kind: ClassVar[str] = "offers"
    id: str
    offers: tuple[Offer, ...]
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RankedColumn:
    """A column of the ranking; `shown` at first."""

    name: str
    title: str
    numeric: bool
    shown: bool


@dataclass(frozen=True)
class RankedRow:
    """A config.

    Attributes:
        cells: the text of each, and what it is sorted by: a number or text; None goes last.
        runs: links to their folders.
    """

    label: str
    front: bool
    faint: bool
    cells: tuple[tuple[str, float | str | None], ...]
    runs: tuple[Link, ...]
    more_runs: int


@dataclass(frozen=True)
class Ranking:
    """The table of a system."""

    kind: ClassVar[str] = "ranking"
    id: str
    caption: str
    columns: tuple[RankedColumn, ...]
    rows: tuple[RankedRow, ...]
    left_out: str


@dataclass(frozen=True)
class Thumbnail:
    """A picture, scaled down; `source` is a data URI, and the original lies at `href`."""

    source: str
    width: int
    height: int
    caption: str
    run: str
    href: str


@dataclass(frozen=True)
class Gallery:
    """Pictures of runs."""

    kind: ClassVar[str] = "gallery"
    pictures: tuple[Thumbnail, ...]
    left_out: str


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Commands:
    """What to type."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]


Part = Says | Notes | Heading | Legend | Tabled | Figure | Offers | Ranking | Gallery | Facts | Commands


@dataclass(frozen=True)
class PageSection:
    """A heading and what stands below it."""

    id: str
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class SuitePage:
    """What the page says of one suite.

    Attributes:
        summary: e.g. how many runs ended ok, on which systems.
    """

    id: str
    name: str
    question: str
    summary: str
    answer: tuple[Part, ...]
    sections: tuple[PageSection, ...]
