"""Comparisons for people: the answers in plain words, then the table, then what to know of it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.compare.compared import Check, Compared
from harness.compare.pair import ComparedMetric, ConfigPair
from harness.counted import counted
from harness.report.terminal import console_of, show_one
from harness.report.texts import (
    TextColumn,
    TextTable,
    column_texts,
    judged,
    listed,
    one_line,
    quoted,
    ratio_text,
    written,
)
from harness.results.answers import Answer
from harness.results.columns import INTERVAL, Column, extra_column
from harness.statistics.pairs import LEVEL, is_constant
from harness.statistics.power import MOST_SEEDS

BETTER = {"accuracy": ("better", "worse"), "time": ("faster", "slower")}


def show(found: Compared, console: Console | None = None) -> None:
    """Writes what was found to stdout, as wide as the terminal is; NO_COLOR is respected."""
    console = console or console_of()
    notes = [f"Corrected by {found.correction}."] if found.correction else []
    if len(found.comparisons) == 1:
        [one] = found.comparisons
        answers = [*one.answers, *([one.networks] if one.networks and one.accuracy.pairs else [])]
        for answer in answers:
            console.print(Text(sentence(one, answer), style="bold" if answer.verdict in ("a", "b") else ""))
        console.print()
        table = _means(one)
    else:
        table = _table(f"{found.suite}: each config against {found.to}", found.comparisons)
    show_one(table, [*notes, *found.notes], console, "--json")
    passing = [one for one in found.checks if one.state == "passes"]
    for one in found.checks:
        if one.state != "passes":
            console.print(Text(check_sentence(one), style="bold red"))
    sentences = [check_sentence(one) for one in passing]
    if len(found.comparisons) > 1 and passing:
        counts = Counter(one.limit.question for one in passing)
        told = " and ".join(f"{question} of {counted(count, 'config')}" for question, count in counts.items())
        sentences = [f"passes: {told}; --json tells of each what it could have missed."]
    for text in sentences:
        console.print(Text(text, style="bold green"))


def _means(one: ConfigPair) -> TextTable:
    """Returns the table of two configs: their means over the seeds that both have; the sentences have the rest."""
    accuracies, times = Column("", "", "percent", over=INTERVAL), Column("", "", "seconds", over=INTERVAL)
    columns = (
        TextColumn("label", "config", list(one.names)),
        TextColumn(
            "accuracy", "test accuracy", column_texts(accuracies, [one.accuracy.a, one.accuracy.b]), numeric=True
        ),
        TextColumn("time", "train time", column_texts(times, [one.time.a, one.time.b]), numeric=True),
        *(written(_column(found), [found.a, found.b]) for found in one.metrics),
    )
    return TextTable("Means over the seeds that both have", columns, (False, False), (), tuple(_notes([one])))


def _table(title: str, comparisons: Sequence[ConfigPair]) -> TextTable:
    """Returns the table of many comparisons, a row each."""
    columns = [TextColumn("label", "config", [one_line(one.a.label) for one in comparisons])]
    for answers in ([one.accuracy for one in comparisons], [one.time for one in comparisons]):
        p = [found.p if found.p_corrected is None else found.p_corrected for found in answers]
        columns += judged(answers[0].question, [found.difference for found in answers], list(map(_verdict, answers)), p)
    seeds = [str(max(len(found.pairs) for found in one.answers)) for one in comparisons]
    columns += [TextColumn("seeds", "seeds", seeds, 7, numeric=True), *_metric_columns(comparisons)]
    faint = tuple(all(found.verdict not in ("a", "b") for found in one.answers) for one in comparisons)
    return TextTable(title, tuple(columns), faint, (), tuple(_notes(comparisons)))


def _column(found: ComparedMetric) -> Column:
    return extra_column(found.name, found.declared.unit, found.declared.title, found.declared.better)


def _metric_columns(comparisons: Sequence[ConfigPair]) -> Iterator[TextColumn]:
    """Yields the difference of each metric of a plug-in, a row for each comparison."""
    for name, first in {found.name: found for one in comparisons for found in one.metrics}.items():
        own = [next((found.difference for found in one.metrics if found.name == name), None) for one in comparisons]
        column = _column(first)
        yield written(dataclasses.replace(column, title=f"{column.title}, difference", signed=True), own)


def _notes(comparisons: Sequence[ConfigPair]) -> Iterator[str]:
    answers = [found for one in comparisons for found in one.answers if found.pairs]
    if any(found.verdict for found in answers):
        yield (
            "Paired over the seeds; 95 % Student-t intervals, of accuracy over seeds and test images, of the ratio on "
            "its logarithm. Undecided: inside the noise, which is no proof that there is no difference."
        )
    if any(found.p_corrected is not None for found in answers):
        yield "p and the verdicts are corrected for the number of comparisons, the intervals are not."
    for found in answers if len(comparisons) == 1 else ():
        if found.verdict == "undecided" and found.detectable is not None:
            size = f"{amount(found, found.detectable, signed=False)} of accuracy"
            if found.question == "time":
                size = f"{amount(found, found.detectable)} in train time"
            yield f"These {len(found.pairs)} seeds would show a difference of {size} 8 times of 10."
    if metrics := list(dict.fromkeys(found.declared.title for one in comparisons for found in one.metrics)):
        yield f"No verdict on {listed(metrics)}: the intervals are over the seeds alone."
    for found in comparisons[0].metrics if len(comparisons) == 1 else ():
        column = dataclasses.replace(_column(found), signed=True)
        [cell] = column_texts(column, [found.difference])
        seeds = counted(len(found.seeds), "seed")
        yield f"{column.title}: A minus B is {cell} over {seeds}; {found.declared.better} is better."
    of: dict[str, list[str]] = {}  # each caution is said once, with the configs that it is of
    for one in comparisons:
        reasons = [f"{reason}." for reason in dict.fromkeys(found.reason for found in one.answers) if reason]
        for caution in [*one.cautions, *(reasons if len(comparisons) > 1 else [])]:
            of.setdefault(caution, []).append(one.a.label)
    for caution, labels in of.items():
        yield caution if len(labels) == len(comparisons) else f"{listed(list(map(quoted, labels)))}: {caution}"


def _verdict(found: Answer) -> str:
    if found.verdict in ("a", "b"):
        return BETTER[found.question][found.verdict == "b"]
    return f"equivalent within {within(found)}" if found.verdict == "equivalent" else found.verdict or ""


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
    if found.state == "undecided":
        more = next(look for look in limit.looks if look > found.worse.n)
        return f"undecided: whether {label} is {claim} ({how}); run {more} seeds of both."
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
    if found.difference.n < 3:
        return "two seeds do not tell how many would decide it"
    low, high = found.seeds_for_power or (None, None)
    if low is None:
        images = f" on {found.images:,} test images" if found.images else ""
        return f"not even {MOST_SEEDS:,} seeds{images} would decide a difference of this size"
    seeds = f"at least {low}" if high is None else f"between {low} and {high}"
    return f"a difference of this size needs {seeds} fresh seeds (95 % interval), planned before they are run"
