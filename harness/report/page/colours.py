"""The charts' colours on the page: those of the theme, exchanged for ones that can be told from paper and from night.

Each is at least 3:1 beside the page's background (WCAG 2.2, 1.4.11), text 4.5:1; the tests compute it.
"""

from __future__ import annotations

from typing import Any

from harness.report.charts.theme import GREY, GRID, INK, MUTED, PALETTE

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
PAPER, NIGHT = "#fdfcfa", "#14161a"

_LIGHT_PALETTE = (
    "#3f6f9f",
    "#c9650a",
    "#3d8536",
    "#cf3f42",
    "#1f8a84",
    "#9a5a8a",
    "#8a6450",
    "#96780a",
    "#c4527e",
    "#6f6864",
)
_DARK_PALETTE = (
    "#7ba7d6",
    "#f79a3e",
    "#73c169",
    "#f07a7c",
    "#7fcac4",
    "#cf9ac0",
    "#c39a81",
    "#eecf52",
    "#ffb0b8",
    "#c9c0ba",
)


def colours() -> dict[str, dict[str, Any]]:
    """Returns for each theme what every colour of the charts becomes, and the Vega config that goes with it."""
    light = dict(zip(PALETTE, _LIGHT_PALETTE, strict=True)) | {"white": PAPER, MUTED: "#585e69", GREY: "#868c97"}
    dark = dict(zip(PALETTE, _DARK_PALETTE, strict=True)) | {
        "white": NIGHT,
        INK: "#ebe8e2",
        MUTED: "#a8adb7",
        GRID: "#2c3037",
        GREY: "#7b818c",
    }
    themes = {"light": light, "dark": dark}
    return {name: {**exchanged, "config": _config(exchanged[MUTED])} for name, exchanged in themes.items()}


def _config(muted: str) -> dict[str, Any]:
    return {"background": "transparent", "font": FONT, "padding": 4, "legend": {"symbolBaseFillColor": muted}}
