"""One look for all charts and pictures: colours, sizes of type, axes and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair

INK, MUTED, GRID = "#1f2937", "#6b7280", "#e5e7eb"
# Tableau 10, the paler ones last: they are told apart by most eyes, on white and in print.
PALETTE: tuple[str, ...] = (
    "#4c78a8",
    "#f58518",
    "#54a24b",
    "#e45756",
    "#72b7b2",
    "#b279a2",
    "#9d755d",
    "#eeca3b",
    "#ff9da6",
    "#bab0ac",
)
GREY = "#9ca3af"
FONT_SIZE = 12


def frame(title: str, subtitle: Sequence[str]) -> dict[str, Any]:
    """Returns what the outermost part of a chart takes beside what it shows.

    Args:
        title: what is drawn, and of what.
        subtitle: lines below it: how to read the chart.
    """
    import altair

    named = altair.TitleParams(title, subtitle=list(subtitle), anchor="start", offset=14)
    return {"title": named, "padding": 16, "background": "white", "config": _style()}


def _style() -> altair.Config:
    import altair

    small: dict[str, Any] = {"labelFontSize": FONT_SIZE, "titleColor": INK, "titleFontWeight": "normal"}
    lines: dict[str, Any] = {"gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED}
    subtitle: dict[str, Any] = {"subtitleColor": MUTED, "subtitleFontSize": 12.5, "subtitlePadding": 5}
    return altair.Config(
        title=altair.TitleConfig(fontSize=16, color=INK, **subtitle),
        axis=altair.AxisConfig(labelColor=MUTED, titleFontSize=13, titlePadding=10, **small, **lines),
        legend=altair.LegendConfig(labelColor=INK, titleFontSize=FONT_SIZE, symbolSize=90, **small),
        view=altair.ViewConfig(stroke=None),
    )
