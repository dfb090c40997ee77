"""A chart's specification as the page draws it: without what the page says itself, and without needless digits."""

from __future__ import annotations

from typing import Any

_SAID_BY_THE_PAGE = ("title", "background", "padding", "$schema")
DIGITS = 5


def on_screen(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the specification without its outer title, background and padding; numbers are rounded."""
    return {name: _rounded(value) for name, value in spec.items() if name not in _SAID_BY_THE_PAGE}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
