"""Comparisons as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.compare.comparison import Comparison
from harness.compare.sentences import p_text, points, times
from harness.results.columns import INTERVAL, Column
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line, span
from harness.results.answers import Answer

_ACCURACY = Column("", "", "percent", over=INTERVAL)
_SECONDS = Column("", "", "seconds", over=INTERVAL)
UNDECIDED = ("undecided", "equivalent", None)


def pair_table(one: Comparison) -> Beside:
    """Returns the table of two configs: a row for each question."""
    answers = one.answers
    columns = (
        Written("label", "", ["test accuracy", "train time"]),
        Written("a", "A", _means([found.a for found in answers]), 1, numeric=True),
        Written("b", "B", _means([found.b for found in answers]), 2, numeric=True),
        Written("difference", "A - B, A / B", [_mean(found) for found in answers], 2, numeric=True),
        Written("interval", "95 % interval", [_interval(found) for found in answers], 3, numeric=True),
        Written("p", "p", [_p(found) for found in answers], 4, numeric=True),
        Written("seeds", "seeds", [str(len(found.pairs)) for found in answers], 5, numeric=True),
        Written("verdict", "verdict", [_verdict(found, "A", "B") for found in answers], 2),
        Written("effect", "effect size", [_effect(found) for found in answers], 6, numeric=True),
    )
    title = "A = {}, B = {}".format(*one.names)
    return Beside(title, columns, tuple(found.verdict is None for found in answers), (), tuple(_notes([one])))


def many_table(title: str, comparisons: Sequence[Comparison], to: str) -> Beside:
    """Returns the table of many comparisons, a row each.

    Args:
        to: what each is compared with, in a word or two.
    """
    accuracy = [one.accuracy for one in comparisons]
    time = [one.time for one in comparisons]
    columns = (
        Written("label", "config", [one_line(one.a.label) for one in comparisons]),
        Written("accuracy", f"accuracy, difference to {to}", [_mean(one) for one in accuracy], 1, numeric=True),
        Written("accuracy_verdict", "accuracy", [_worded(one, "better", "worse") for one in accuracy], 1),
        Written("accuracy_interval", "95 % interval", [_interval(one) for one in accuracy], 4, numeric=True),
        Written("accuracy_p", "p (Holm)", [_p(one) for one in accuracy], 3, numeric=True),
        Written("time", f"train time, ratio to {to}", [_mean(one) for one in time], 2, numeric=True),
        Written("time_verdict", "train time", [_worded(one, "faster", "slower") for one in time], 2),
        Written("time_interval", "95 % interval", [_interval(one) for one in time], 6, numeric=True),
        Written("time_p", "p (Holm)", [_p(one) for one in time], 5, numeric=True),
        Written("seeds", "seeds", [_seeds(one) for one in comparisons], 7, numeric=True),
        Written("decide", "seeds to decide accuracy", [_would_decide(one) for one in accuracy], 8, numeric=True),
    )
    faint = tuple(all(one.verdict in UNDECIDED for one in c.answers) for c in comparisons)
    return Beside(title, columns, faint, (), tuple(_notes(comparisons)))


def _notes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    answers = [found for one in comparisons for found in one.answers if found.pairs]
    if any(found.verdict for found in answers):
        yield (
            "Paired over the seeds; 95 % Student-t intervals, of accuracy over seeds and test images, of the ratio on "
            "its logarithm. Undecided: inside the noise, which is no proof that there is no difference."
        )
    if any(found.p_corrected is not None for found in answers):
        yield "p and the verdicts are corrected for the number of comparisons, the intervals are not."
    if len(comparisons) == 1:
        yield from _not_seen(comparisons[0])
        if any(found.differences and found.differences.effect_size is not None for found in answers):
            yield "Effect size: Hedges' g_z, the mean of the differences in their own standard deviations."
    yield from _cautions(comparisons)


def _not_seen(one: Comparison) -> Iterator[str]:
    """Says where nothing was decided which difference would have been."""
    for found in one.answers:
        if found.verdict == "undecided" and found.differences and found.detectable is not None:
            size, what = found.detectable, "points of accuracy"
            if found.question == "accuracy":
                text = points(size, found.differences.summary, signed=False)
            else:
                text, what = f"x {times(size)}", "in train time"
            yield f"These {len(found.pairs)} seeds would show a difference of {text} {what} 8 times of 10."


def _cautions(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Says each caution once, and of which configs it is."""
    of: dict[str, list[str]] = {}
    for one in comparisons:
        reasons = [f"{reason}." for reason in dict.fromkeys(found.reason for found in one.answers) if reason]
        for caution in [*one.cautions, *(reasons if len(comparisons) > 1 else [])]:
            of.setdefault(caution, []).append(one.a.label)
    for caution, labels in of.items():
        yield caution if len(labels) == len(comparisons) else f"{listed(labels)}: {caution}"


def _seeds(one: Comparison) -> str:
    return str(max(len(found.pairs) for found in one.answers))


def _means(summaries: Sequence[object]) -> list[str]:
    accuracy, seconds = summaries
    return [*column_texts(_ACCURACY, [accuracy]), *column_texts(_SECONDS, [seconds])]


def _mean(found: Answer) -> str:
    if found.differences is None:
        return NOTHING
    summary = found.differences.summary
    return f"{points(summary.mean, summary)} points" if found.question == "accuracy" else f"x {times(summary.mean)}"


def _interval(found: Answer) -> str:
    if found.differences is None or found.differences.summary.ci95 is None or not found.differences.summary.has_noise:
        return NOTHING
    summary = found.differences.summary
    if found.question == "accuracy":
        return span(points(summary.low, summary), points(summary.high, summary))
    return span(times(summary.low), times(summary.high))


def _p(found: Answer) -> str:
    p = found.p if found.p_corrected is None else found.p_corrected
    return NOTHING if p is None else p_text(p).removeprefix("p = ").removeprefix("p ")


def _effect(found: Answer) -> str:
    if found.differences is None or found.differences.effect_size is None:
        return NOTHING
    return f"{found.differences.effect_size:+.2f}"


def _verdict(found: Answer, a: str, b: str) -> str:
    if found.verdict in UNDECIDED:
        return _open(found)
    better = "more accurate" if found.question == "accuracy" else "faster"
    return f"{a if found.verdict == 'a' else b} is {better}"


def _open(found: Answer) -> str:
    if found.verdict == "equivalent":
        return f"equivalent within {100 * (found.margin or 0.0):g} points"
    return found.verdict or NOTHING


def _worded(found: Answer, better: str, worse: str) -> str:
    if found.verdict in UNDECIDED:
        return _open(found)
    return better if found.verdict == "a" else worse


def _would_decide(found: Answer) -> str:
    low, high = found.seeds_for_power or (None, None)
    if found.verdict != "undecided" or low is None:
        return NOTHING
    return f"at least {low}" if high is None else f"{low} to {high}"
