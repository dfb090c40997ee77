"""The answers in plain words, one sentence each."""

from __future__ import annotations

import math

from harness.compare.comparison import ConfigPair
from harness.compare.gate import Check
from harness.counted import counted
from harness.report.texts import ratio_text
from harness.results.answers import Answer
from harness.statistics.pairs import LEVEL, is_constant
from harness.statistics.power import MOST_SEEDS


def sentence(one: ConfigPair, found: Answer) -> str:
    """Returns one of the answers of a comparison."""
    (a, b), difference, is_time = one.names, found.difference, found.question == "time"
    if found.question == "networks":
        return _networks_sentence(a, b, found)
    what = "Train time" if is_time else "Accuracy"
    if difference is None:
        return f"{what} is not compared: {found.reason}."
    if found.verdict in ("a", "b"):
        better, other = (a, b) if found.verdict == "a" else (b, a)
        size = -abs(difference.mean) if is_time else abs(difference.mean)
        if is_time:
            return f"{better} is faster than {other}: {amount(found, size)} of its train time ({_evidence(found)})."
        return f"{better} is more accurate than {other} by {amount(found, size, signed=False)} ({_evidence(found)})."
    size = f"{a} {'/' if is_time else '-'} {b} = {amount(found, difference.mean)}"
    if found.verdict is None:
        return f"{what}, no verdict: {size}; {found.reason}."
    if found.verdict == "equivalent":
        return f"{what} is equivalent within {within(found)}: {size} ({_evidence(found)})."
    return f"{what} is undecided: {size} ({_evidence(found)}); {_would_decide(found)}."


def _networks_sentence(a: str, b: str, found: Answer) -> str:
    if found.p is None or found.difference is None:
        return f"These networks were not compared on their test images: {found.reason}."
    shown = "differ" if found.p < LEVEL else "are not shown to differ"
    low, high = (number(found, end) for end in (found.difference.low, found.difference.high))
    return (
        f"These networks, other images: they {shown}, {a} - {b} = {amount(found, found.difference.mean)} "
        f"(95 % interval {low} to {high}, {found.images:,} images, {p_text(found.p)}). It says nothing of other seeds."
    )


def check_sentence(found: Check) -> str:
    """Returns what a gate says of one config."""
    limit, (label, against) = found.limit, found.comparison.names
    if limit.question == "accuracy":
        answer, worse, allowed, before = found.comparison.accuracy, "less accurate", "points", "a loss of "
    else:
        answer, worse, allowed, before = found.comparison.time, "slower", "%", ""
    size, bound = (amount(answer, value, signed=False) for value in (found.worse.mean, found.bound))
    how = f"{before}{size}, one-sided 95 % bound {bound}, {counted(found.worse.n, 'seed')}"
    claim = f"{worse} than {against} by more than {100 * limit.at_most:g} {allowed}"
    if found.died:
        died = f"{counted(len(found.died), 'seed')} did not end ok ({found.comparison.a.ended})"
        return f"FAILS: {label}: {died}, and of {against} they did. Of the others: {claim}? {how}."
    if found.state == "fails":
        return f"FAILS: {label} is {claim} ({how})."
    if found.detectable is not None:
        how += f"; {amount(answer, found.detectable, signed=False)} would have been found 8 times of 10"
    return f"passes: {label} is not shown to be {claim} ({how})."


def amount(found: Answer, value: float, *, signed: bool = True) -> str:
    """Returns a difference of accuracies, e.g. `+0.30 points`, or a ratio of times, e.g. `x 0.900`; see `number`."""
    text = number(found, value, signed=signed)
    return f"x {text}" if found.question == "time" else f"{text} points"


def number(found: Answer, value: float, *, signed: bool = True) -> str:
    """Returns a difference of accuracies in points, or a ratio of times, without its unit.

    Args:
        found: the answer that it is of; points have as many decimals as its interval is worth.
        value: a fraction, or the natural logarithm of the ratio.
    """
    if found.question == "time":
        return ratio_text(value)
    assert found.difference
    width = 100 * (found.difference.ci95 or abs(found.difference.mean) or 1.0)
    decimals = min(5, max(2, 1 - math.floor(math.log10(width)))) if width > 1e-9 else 2
    points = round(100 * value, decimals) + 0.0  # no -0.00
    return f"{points:{'+' if signed else ''}.{decimals}f}"


def within(found: Answer) -> str:
    """Returns the margin, e.g. `0.3 points`."""
    return f"{100 * (found.margin or 0.0):g} points"


def p_text(p: float) -> str:
    """Returns e.g. `p = 0.006`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _evidence(found: Answer) -> str:
    """Returns the interval, of what is better minus the other; how many seeds; and p."""
    assert found.difference is not None
    low, high = found.difference.low, found.difference.high
    if found.verdict == "b":
        low, high = -high, -low
    low, high = (number(found, end, signed=end < 0) for end in (low, high))
    p = f"{p_text(found.p_corrected)} by Holm" if found.p_corrected is not None else p_text(found.p or 0.0)
    return f"95 % interval {low} to {high}, {counted(len(found.pairs), 'seed')}, {p}"


def _would_decide(found: Answer) -> str:
    assert found.difference is not None
    if is_constant(found.difference):
        return "the same at every seed"
    if found.effect_size is None:
        return "two seeds do not tell how many would decide it"
    low, high = found.seeds_for_power or (None, None)
    if low is None:
        images = f" on {found.images:,} test images" if found.images else ""
        return f"not even {MOST_SEEDS:,} seeds{images} would decide a difference of this size"
    seeds = f"at least {low}" if high is None else f"between {low} and {high}"
    return f"a difference of this size needs {seeds} fresh seeds (95 % interval), planned before they are run"
