"""Durations as people write them."""

from __future__ import annotations

import pytest

from harness.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("1.5min", 90), ("2 h", 7200), (".5s", 0.5), ("0.15s", 0.15), ("10.s", 10)]
)
def test_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["60", "", "s", "1:30", "-5s", "0s", "5 m", "nans", "1e3s", "5s5s", "5 days", "1" * 400 + "s"]
)
def test_what_nobody_could_be_sure_of_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and s, min or h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.15, "0.15 s"), (59.0, "59 s"), (60.0, "1 min"), (90.0, "1.5 min"), (7200.0, "2 h")]
)
def test_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
