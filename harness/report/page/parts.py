"""What a page is made of, as plain data: the template shows each part by its `kind`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Link:
    """A link to a file beside the page."""

    text: str
    href: str
    note: str = ""


@dataclass(frozen=True)
class Says:
    """Paragraphs, or a list; names in “quotes” are set in bold type."""

    kind: ClassVar[str] = "says"
    texts: tuple[str, ...]
    as_list: bool = False


@dataclass(frozen=True)
class Heading:
    """Of what follows, within a section: a system, where there are several."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Grid:
    """A plain table.

    Attributes:
        numeric: of each column, whether it is aligned at the right.
        faint: of each row, whether it has nothing to tell.
    """

    kind: ClassVar[str] = "grid"
    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    faint: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A chart in one form: the keys of its specifications, for wide and narrow screens."""

    label: str
    wide: str
    narrow: str
    files: tuple[Link, ...]


@dataclass(frozen=True)
class Figure:
    """A chart, in words and as a table too."""

    kind: ClassVar[str] = "figure"
    id: str
    title: str
    caption: str
    views: tuple[View, ...]
    grid: Grid | None


@dataclass(frozen=True)
class Offer:
    """What to take for a budget of train time."""

    seconds: float
    budget: str
    sentence: str
    listed: bool


@dataclass(frozen=True)
class Offers:
    """What to take for each budget; the last stands for all longer ones."""

    kind: ClassVar[str] = "offers"
    id: str
    offers: tuple[Offer, ...]


@dataclass(frozen=True)
class RankedColumn:
    """A column of the ranking; `shown` at first."""

    name: str
    title: str
    numeric: bool
    shown: bool


@dataclass(frozen=True)
class RankedCell:
    """A cell, and what it is sorted by: a number or text; None goes last."""

    text: str
    value: float | str | None


@dataclass(frozen=True)
class RankedRow:
    """A config."""

    label: str
    front: bool
    faint: bool
    cells: tuple[RankedCell, ...]
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


Part = Says | Heading | Grid | Figure | Offers | Ranking | Gallery | Facts | Commands


@dataclass(frozen=True)
class Section:
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
    sections: tuple[Section, ...]
