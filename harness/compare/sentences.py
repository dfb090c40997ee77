"""The answers in plain words, one sentence each."""

from __future__ import annotations

import math

from harness.compare.comparison import ConfigPair
from harness.compare.gate import Check
from harness.counted import counted
from harness.results.answers import Answer
from harness.statistics.intervals import Summary
from harness.statistics.pairs import LEVEL, is_constant
from harness.statistics.power import MOST_SEEDS


def accuracy_sentence(one: ConfigPair) -> str:
    """Returns whether A is more accurate."""
    (a, b), found = one.names, one.accuracy
    if found.difference is None:
        return f"Accuracy is not compared: {found.reason}."
    size = f"{a} - {b} = {points(found.difference.mean, found.difference)} points"
    if found.verdict is None:
        return f"Accuracy, no verdict: {size}; {found.reason}."
    if found.verdict == "equivalent":
        return f"Accuracy is equivalent within {within(found)}: {size} ({_evidence(found)})."
    if found.verdict == "undecided":
        return f"Accuracy is undecided: {size} ({_evidence(found)}); {_would_decide(found)}."
    better, other = (a, b) if found.verdict == "a" else (b, a)
    size = points(abs(found.difference.mean), found.difference, signed=False)
    return f"{better} is more accurate than {other} by {size} points ({_evidence(found)})."


def time_sentence(one: ConfigPair) -> str:
    """Returns whether A is faster."""
    (a, b), found = one.names, one.time
    if found.difference is None:
        return f"Train time is not compared: {found.reason}."
    size = f"{a} / {b} = x {times(found.difference.mean)}"
    if found.verdict is None:
        return f"Train time, no verdict: {size}; {found.reason}."
    if found.verdict == "undecided":
        return f"Train time is undecided: {size} ({_evidence(found)}); {_would_decide(found)}."
    faster, other = (b, a) if found.verdict == "b" else (a, b)
    size = times(-abs(found.difference.mean))
    return f"{faster} is faster than {other}: x {size} of its train time ({_evidence(found)})."


def images_sentence(one: ConfigPair) -> str:
    """Returns whether these networks would differ on other test images; it is no verdict on the configs."""
    found = one.networks
    if found is None or found.p is None or found.difference is None:
        return f"These networks were not compared on their test images: {found.reason if found else 'not asked for'}."
    (a, b), difference = one.names, found.difference
    shown = "differ" if found.p < LEVEL else "are not shown to differ"
    interval = f"95 % interval {points(difference.low, difference)} to {points(difference.high, difference)}"
    return (
        f"These networks, other images: they {shown}, {a} - {b} = {points(difference.mean, difference)} points "
        f"({interval}, {found.images:,} images, {p_text(found.p)}). It says nothing of other seeds."
    )


def check_sentence(found: Check) -> str:
    """Returns what a gate says of one config."""
    limit, (label, against) = found.limit, found.comparison.names
    if limit.question == "accuracy":
        worse, allowed, before = "less accurate", f"{100 * limit.at_most:g} points", "a loss of "
    else:
        worse, allowed, before = "slower", f"{100 * limit.at_most:g} %", ""

    def size(value: float) -> str:
        is_time = limit.question == "time"
        return f"x {times(value)}" if is_time else f"{points(value, found.worse, signed=False)} points"

    seeds = counted(found.worse.n, "seed")
    how = f"{before}{size(found.worse.mean)}, one-sided 95 % bound {size(found.bound)}, {seeds}"
    claim = f"{worse} than {against} by more than {allowed}"
    if found.died:
        died = f"{counted(len(found.died), 'seed')} did not end ok ({found.comparison.a.ended})"
        return f"FAILS: {label}: {died}, and of {against} they did. Of the others: {claim}? {how}."
    if found.state == "fails":
        return f"FAILS: {label} is {claim} ({how})."
    if found.state == "not shown":
        return f"FAILS: {label} is not shown not to be {claim} ({how})."
    blind = "" if found.detectable is None else f"; {size(found.detectable)} would have been found 8 times of 10"
    return f"passes: {label} is not {'' if limit.strict else 'shown to be '}{claim} ({how}{blind})."


def within(found: Answer) -> str:
    """Returns the margin, e.g. `0.3 points`."""
    return f"{100 * (found.margin or 0.0):g} points"


def points(fraction: float, of: Summary, *, signed: bool = True) -> str:
    """Returns a difference of accuracies in points, with as many decimals as its interval is worth."""
    width = 100 * (of.ci95 or abs(of.mean) or 1.0)
    decimals = min(5, max(2, 1 - math.floor(math.log10(width)))) if width > 1e-9 else 2
    value = round(100 * fraction, decimals) + 0.0  # no -0.00
    return f"{value:{'+' if signed else ''}.{decimals}f}"


def times(log_ratio: float) -> str:
    """Returns a ratio of times with three digits or more."""
    ratio = math.exp(log_ratio) if log_ratio < 700 else math.inf
    if not 0.001 <= ratio < 1e6:
        return f"{ratio:.0e}"
    return f"{ratio:,.{max(0, min(3, 2 - math.floor(math.log10(ratio)) + (0.9 < ratio < 1.1)))}f}"


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
    is_time = found.question == "time"
    ends = [times(end) if is_time else points(end, found.difference, signed=end < 0) for end in (low, high)]
    p = f"{p_text(found.p_corrected)} by Holm" if found.p_corrected is not None else p_text(found.p or 0.0)
    return f"95 % interval {ends[0]} to {ends[1]}, {counted(len(found.pairs), 'seed')}, {p}"


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
