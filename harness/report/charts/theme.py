"""One look for all charts and pictures: colours on paper and on a dark screen, sizes of type, axes and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INK, MUTED, GRID, GREY, WHITE = "#1f2937", "#585e69", "#e5e7eb", "#868c97", "#ffffff"
# Each is 3:1 or more beside the page's background (WCAG 2.2, 1.4.11), text 4.5:1; the tests compute it.
PALETTE: tuple[str, ...] = (
    *("#3f6f9f", "#c9650a", "#3d8536", "#cf3f42", "#1f8a84"),
    *("#9a5a8a", "#8a6450", "#96780a", "#c4527e", "#6f6864"),
)
FONT_SIZE = 12
# Below a text, in a layer of its own: it stays legible across lines.
HALO: dict[str, Any] = {"stroke": WHITE, "strokeWidth": 3, "strokeOpacity": 0.85}
_DARK_PALETTE = (
    *("#7ba7d6", "#f79a3e", "#73c169", "#f07a7c", "#7fcac4"),
    *("#cf9ac0", "#c39a81", "#eecf52", "#ffb0b8", "#c9c0ba"),
)
# The page's custom properties: the colour of the files, that on light paper, that on a dark screen.
PAGE_COLOURS: dict[str, tuple[str, str, str]] = {
    "ink": (INK, "#1c2027", "#ebe8e2"),
    "muted": (MUTED, MUTED, "#a8adb7"),
    "grid": (GRID, GRID, "#2c3037"),
    "grey": (GREY, GREY, "#7b818c"),
    "paper": (WHITE, "#fdfcfa", "#14161a"),
    **{f"c{at}": (own, own, dark) for at, (own, dark) in enumerate(zip(PALETTE, _DARK_PALETTE, strict=True))},
}
_PAGE_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_VARIABLES = {own: f"var(--{name})" for name, (own, _, _) in PAGE_COLOURS.items()}
_SAID_BY_THE_PAGE = ("title", "padding")
_SAID_IN_LEGEND_OR_CAPTION = ("config", "split")
_DATA = ("datasets", "values", "domain", "sort")
DIGITS = 5


def css() -> str:
    """Returns the page's custom properties, for both themes."""
    pairs = (f"--{name}: light-dark({light}, {dark});" for name, (_, light, dark) in PAGE_COLOURS.items())
    return f":root {{ {' '.join(pairs)} }}\n"


def on_page(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a specification as the page draws it.

    It has no title and no legend of the configs, which the page says itself; colours are the page's custom properties,
    so that a change of the theme needs no drawing; numbers have no needless digits.
    """
    own = {name: _adapted(value, name) for name, value in spec.items() if name not in _SAID_BY_THE_PAGE}
    config = {**own.get("config", {}), "font": _PAGE_FONT, "padding": 4, "background": "transparent"}
    return {name: value for name, value in own.items() if name != "background"} | {"config": config}


def _adapted(value: Any, name: str) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        said = name in ("color", "strokeDash") and value.get("field") in _SAID_IN_LEGEND_OR_CAPTION
        return {key: _adapted(one, name if name in _DATA else key) for key, one in value.items()} | (
            {"legend": None} if said else {}
        )
    if isinstance(value, list):
        return [_adapted(one, name) for one in value]
    return _VARIABLES.get(value, value) if isinstance(value, str) and name not in _DATA else value


def frame(title: str, subtitle: Sequence[str]) -> dict[str, Any]:
    """Returns what the outermost part of a chart takes beside what it shows.

    Args:
        title: what is drawn, and of what.
        subtitle: lines below it: how to read the chart.
    """
    small = {"labelFontSize": FONT_SIZE, "titleColor": INK, "titleFontWeight": "normal"}
    lines = {"gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED}
    symbols = {"symbolSize": 90, "symbolBaseFillColor": MUTED}
    below = {"subtitleColor": MUTED, "subtitleFontSize": 12.5, "subtitlePadding": 5}
    return {
        "title": {"text": title, "subtitle": list(subtitle), "anchor": "start", "offset": 14},
        "padding": 16,
        "background": WHITE,
        "config": {
            "title": {"fontSize": 16, "color": INK, **below},
            "axis": {"labelColor": MUTED, "titleFontSize": 13, "titlePadding": 10, **small, **lines},
            "legend": {"labelColor": INK, "titleFontSize": FONT_SIZE, **symbols, **small},
            "view": {"stroke": None},
        },
    }
