"""The answers in plain words, one sentence each."""

from __future__ import annotations

import math

from harness.compare.comparison import Comparison
from harness.compare.gate import Check
from harness.compare.networks import OnImages
from harness.counted import counted
from harness.results.answers import Answer
from harness.statistics.intervals import Summary
from harness.statistics.pairs import LEVEL
from harness.statistics.power import MOST_SEEDS


def accuracy_sentence(one: Comparison) -> str:
    """Returns whether A is more accurate."""
    (a, b), found = one.names, one.accuracy
    if found.differences is None:
        return f"Accuracy is not compared: {found.reason}."
    difference = found.differences.summary
    if found.verdict is None:
        return f"Accuracy, no verdict: {a} - {b} = {points(difference.mean, difference)} points; {found.reason}."
    evidence = f"({_accuracy_evidence(found, flipped=found.verdict == 'b')})"
    size = f"{a} - {b} = {points(difference.mean, difference)} points {evidence}"
    if found.verdict == "equivalent":
        return f"Accuracy is equivalent within {100 * (found.margin or 0.0):g} points: {size}."
    if found.verdict == "undecided":
        return f"Accuracy is undecided: {size}; {_would_decide(found)}."
    better, other = (a, b) if found.verdict == "a" else (b, a)
    size = points(abs(difference.mean), difference, signed=False)
    return f"{better} is more accurate than {other} by {size} points {evidence}."


def time_sentence(one: Comparison) -> str:
    """Returns whether A is faster."""
    (a, b), found = one.names, one.time
    if found.differences is None:
        return f"Train time is not compared: {found.reason}."
    ratio = found.differences.summary
    if found.verdict is None:
        return f"Train time, no verdict: {a} / {b} = x {times(ratio.mean)}; {found.reason}."
    if found.verdict == "undecided":
        evidence = _time_evidence(found, flipped=False)
        return f"Train time is undecided: {a} / {b} = x {times(ratio.mean)} ({evidence}); {_would_decide(found)}."
    flipped = found.verdict == "b"
    faster, other = (b, a) if flipped else (a, b)
    evidence = _time_evidence(found, flipped=flipped)
    return f"{faster} is faster than {other}: x {times(-abs(ratio.mean))} of its train time ({evidence})."


def images_sentence(one: Comparison, found: OnImages) -> str:
    """Returns whether these networks would differ on other test images; it is no verdict on the configs."""
    if found.p is None or found.difference is None:
        return f"These networks were not compared on their test images: {found.reason}."
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
        worse, allowed = "less accurate", f"{100 * limit.at_most:g} points"
        loss, bound, seen = (
            "" if value is None else f"{points(value, found.worse, signed=False)} points"
            for value in (found.worse.mean, found.bound, found.detectable)
        )
    else:
        worse, allowed = "slower", f"{100 * limit.at_most:g} %"
        loss, bound, seen = (
            "" if value is None else f"x {times(value)}" for value in (found.worse.mean, found.bound, found.detectable)
        )
    loss = f"a loss of {loss}" if limit.question == "accuracy" else loss
    how = f"{loss}, one-sided 95 % bound {bound}, {counted(found.worse.n, 'seed')}"
    claim = f"{worse} than {against} by more than {allowed}"
    if found.died:
        seeds = f"{counted(len(found.died), 'seed')} did not end ok ({found.comparison.a.ended})"
        return f"FAILS: {label}: {seeds}, and of {against} they did. Of the others: {claim}? {how}."
    if found.state == "fails":
        return f"FAILS: {label} is {claim} ({how})."
    if found.state == "not shown":
        return f"FAILS: {label} is not shown not to be {claim} ({how})."
    blind = f"; {seen} would have been found 8 times of 10" if seen else ""
    return f"passes: {label} is not {'' if limit.strict else 'shown to be '}{claim} ({how}{blind})."


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


def _accuracy_evidence(found: Answer, *, flipped: bool) -> str:
    assert found.differences is not None
    summary = found.differences.summary
    ends = (-summary.high, -summary.low) if flipped else (summary.low, summary.high)
    low, high = (points(end, summary, signed=end < 0) for end in ends)
    return f"95 % interval {low} to {high}, {_seeds(found)}, {_p(found)}"


def _time_evidence(found: Answer, *, flipped: bool) -> str:
    assert found.differences is not None
    summary = found.differences.summary
    low, high = (-summary.high, -summary.low) if flipped else (summary.low, summary.high)
    return f"95 % interval {times(low)} to {times(high)}, {_seeds(found)}, {_p(found)}"


def _seeds(found: Answer) -> str:
    return counted(len(found.pairs), "seed")


def _p(found: Answer) -> str:
    if found.p_corrected is not None:
        return f"{p_text(found.p_corrected)} by Holm"
    return p_text(found.p) if found.p is not None else "no p"


def _would_decide(found: Answer) -> str:
    assert found.differences is not None
    if found.differences.constant:
        return "the same at every seed"
    if found.differences.effect_size is None:
        return "two seeds do not tell how many would decide it"
    low, high = found.seeds_for_power or (None, None)
    if low is None:
        images = f" on {found.images:,} test images" if found.images else ""
        return f"not even {MOST_SEEDS:,} seeds{images} would decide a difference of this size"
    seeds = f"at least {low}" if high is None else f"{low} to {high}"
    return f"a new run of {seeds} fresh seeds, planned beforehand, would decide a difference of this size"
