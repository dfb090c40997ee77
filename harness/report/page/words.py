"""The answer in words: what is most accurate, what is fastest within the noise, what to take for a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.durations import duration_text
from harness.report.factors.effects import accuracy_by_seed, seconds_by_seed
from harness.report.numbers.rows import Row
from harness.report.page.budgets import Taken
from harness.report.page.standing import Contender, Standing, standing
from harness.report.statistics.intervals import Summary
from harness.report.tables import Table
from harness.report.texts import one_line

MOST_TIES_NAMED = 3


def answer(table: Table) -> list[str]:
    """Returns two sentences on the whole runs of one system; one where there is nothing to rank."""
    rows = [row for row in table.rows if row.ranked]
    first = standing([Contender(row, accuracy_by_seed(row)) for row in rows if accuracy_by_seed(row)])
    if first is None:
        if any(row.ok for row in table.rows):
            return ["There is no answer here: accuracy on synthetic data means nothing, so nothing is ranked."]
        return ["There is no answer yet: no run has ended ok."]
    return [_most_accurate(first), _fastest(first)]


def named(row: Row) -> str:
    """Returns the config's label in quotes, as labels hold commas; the page sets it in bold type."""
    return f"“{one_line(row.label)}”"


def accuracy_text(summary: Summary) -> str:
    """Returns e.g. `98.24 ± 0.80 %`."""
    half = f" ± {100 * summary.ci95:.2f}" if summary.ci95 is not None else ""
    return f"{100 * summary.mean:.2f}{half} %"


def seconds_text(seconds: float) -> str:
    """Returns a duration with three digits, e.g. `4.32 min`."""
    if seconds < 1:
        return f"{seconds:.3f} s" if seconds >= 0.01 else f"{seconds:.2g} s"
    digits = max(0, 2 - math.floor(math.log10(seconds / _unit(seconds))))
    return f"{seconds / _unit(seconds):.{digits}f} {duration_text(seconds).split(' ')[1]}"


def how_sure(first: Standing) -> str:
    """Returns how sure the first place is, in a few words."""
    if not first.others:
        return "the only one evaluated so soon"
    if not first.known:
        return "one seed: how sure this is cannot be known"
    if not first.ties:
        return "clear of all others"
    unknown = " (some with too few seeds to tell)" if first.unknown else ""
    return f"not told apart from {_names(first.ties)}{unknown}"


def _most_accurate(first: Standing) -> str:
    name, summary = named(first.best.row), first.best.summary
    said = f"{name} is the most accurate, with {accuracy_text(summary)} of the test images right"
    if not first.others:
        return f"{name} reaches {accuracy_text(summary)} of the test images; there is nothing to compare it with."
    if not first.known:
        return f"{said}, by one run each, so how sure that is cannot be known."
    if not first.ties:
        return f"{said}, beyond the noise of {summary.n} seeds."
    return f"{said}, but {summary.n} seeds do not tell it apart from {_names(first.ties)}."


def _fastest(first: Standing) -> str:
    """Among those that may well be the most accurate, the one that trains fastest."""
    if not first.known and first.others:
        return "A second seed of each config would tell what is noise: set `seeds: 3` in the suite and run it again."
    equal = [first.best, *first.ties]
    timed = [(one.row, times) for one in equal if (times := seconds_by_seed(one.row))]
    if not timed:
        return "None of their train times counts, so nothing is said of what is fastest."
    # Ratios are what times differ by, so logarithms are compared; the fastest is the largest of their negatives.
    speeds = [Contender(row, {seed: -math.log(value) for seed, value in times.items()}) for row, times in timed]
    fastest = standing(speeds)
    assert fastest
    name, seconds = named(fastest.best.row), _seconds(fastest.best.row)
    if fastest.best.row is first.best.row:
        beyond = "" if len(equal) == 1 else " and is the fastest of these"
        return f"It takes {seconds_text(seconds)} of training{beyond}{_as_fast(fastest)}."
    if not seconds_by_seed(first.best.row):
        return (
            f"{name} is the fastest of those whose times count: {seconds_text(seconds)} of training, with "
            f"{accuracy_text(_accuracy(equal, fastest.best.row))}{_as_fast(fastest)}."
        )
    ratio = _seconds(first.best.row) / seconds
    return (
        f"{name} is the fastest of these: {seconds_text(seconds)} of training, {_times(ratio)} as fast as "
        f"{named(first.best.row)}, with {accuracy_text(_accuracy(equal, fastest.best.row))}{_as_fast(fastest)}."
    )


def advice(taken: Taken) -> str:
    """Returns what to take for a budget, and how sure that is, in a sentence."""
    first = taken.standing
    if first is None:
        return "Nothing has been evaluated in so short a time."
    name = named(first.best.row)
    return f"Take {name}: {accuracy_text(first.best.summary)} by then, {how_sure(first)}."


def _accuracy(equal: Sequence[Contender], row: Row) -> Summary:
    return next(one.summary for one in equal if one.row is row)


def _as_fast(fastest: Standing) -> str:
    ties = [one for one in fastest.ties if one not in fastest.unknown]
    return f"; {_names(ties)} may be as fast" if ties else ""


def _seconds(row: Row) -> float:
    times = seconds_by_seed(row)
    return math.fsum(times.values()) / len(times)


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def _names(ties: Sequence[Contender]) -> str:
    names = [named(one.row) for one in ties]
    if len(names) > MOST_TIES_NAMED + 1:
        return f"{', '.join(names[:MOST_TIES_NAMED])} and {len(names) - MOST_TIES_NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _unit(seconds: float) -> float:
    return next((size for size in (3600.0, 60.0) if seconds >= size), 1.0)
