"""Comparisons in a terminal: the answers first, then the table, then what to know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.compare.compared import Compared
from harness.compare.comparison import ConfigPair
from harness.compare.sentences import (
    accuracy_sentence,
    check_sentence,
    images_sentence,
    p_text,
    points,
    time_sentence,
    times,
    within,
)
from harness.counted import counted
from harness.report.formats.terminal import console_of, show_one
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line, quoted, span
from harness.results.answers import Answer
from harness.results.columns import INTERVAL, Column
from harness.statistics.intervals import Summary

_MEANS = {"accuracy": Column("", "", "percent", over=INTERVAL), "time": Column("", "", "seconds", over=INTERVAL)}
BETTER = {"accuracy": ("more accurate", "better", "worse"), "time": ("faster", "faster", "slower")}


def show(found: Compared, console: Console | None = None) -> None:
    """Writes what was found to stdout, as wide as the terminal is; NO_COLOR is respected."""
    console = console or console_of()
    notes = [f"Corrected by {found.correction}."] if found.correction else []
    if len(found.comparisons) == 1:
        [one] = found.comparisons
        for answer, sentence in zip(one.answers, (accuracy_sentence(one), time_sentence(one)), strict=True):
            console.print(Text(sentence, style="bold" if answer.verdict in ("a", "b") else ""))
        if one.networks and one.accuracy.pairs:
            console.print(Text(images_sentence(one)))
        console.print()
        table = pair_table(one)
    else:
        to = "its baseline" if found.comparisons[0].b.from_baseline else found.to
        table = many_table(f"{found.suite}: each config against {to}", found.comparisons, to)
    show_one(table, [*notes, *found.notes], console, "--json")
    for one in found.checks:
        if one.state != "passes":
            console.print(Text(check_sentence(one), style="bold red"))
    passing = [one for one in found.checks if one.state == "passes"]
    sentences = [check_sentence(one) for one in passing]
    if len(found.comparisons) > 1 and passing:
        counts = Counter(one.limit.question for one in passing)
        told = " and ".join(f"{question} of {counted(count, 'config')}" for question, count in counts.items())
        sentences = [f"passes: {told}; --json tells of each what it could have missed."]
    for sentence in sentences:
        console.print(Text(sentence, style="bold green"))


def pair_table(one: ConfigPair) -> Beside:
    """Returns the table of two configs: a row for each question."""
    answers = one.answers
    columns = (
        Written("label", "", ["test accuracy", "train time"]),
        Written("a", "A", [_mean(found, found.a) for found in answers], 1, numeric=True),
        Written("b", "B", [_mean(found, found.b) for found in answers], 2, numeric=True),
        Written("difference", "A - B, A / B", [_difference(found) for found in answers], 2, numeric=True),
        Written("interval", "95 % interval", [_interval(found) for found in answers], 3, numeric=True),
        Written("p", "p", [_p(found) for found in answers], 4, numeric=True),
        Written("seeds", "seeds", [str(len(found.pairs)) for found in answers], 5, numeric=True),
        Written("verdict", "verdict", [_verdict(found, "A is {}", "B is {}") for found in answers], 2),
        Written("effect", "effect size", [_effect(found) for found in answers], 6, numeric=True),
    )
    title = "A = {}, B = {}".format(*one.names)
    return Beside(title, columns, tuple(found.verdict is None for found in answers), (), tuple(_notes([one])))


def many_table(title: str, comparisons: Sequence[ConfigPair], to: str) -> Beside:
    """Returns the table of many comparisons, a row each.

    Args:
        to: what each is compared with, in a word or two.
    """
    accuracy, time = [one.accuracy for one in comparisons], [one.time for one in comparisons]
    seeds = [str(max(len(found.pairs) for found in one.answers)) for one in comparisons]
    columns = (
        Written("label", "config", [one_line(one.a.label) for one in comparisons]),
        Written("accuracy", f"accuracy, difference to {to}", [_difference(one) for one in accuracy], 1, numeric=True),
        Written("accuracy_verdict", "accuracy", [_verdict(one) for one in accuracy], 1),
        Written("accuracy_interval", "95 % interval", [_interval(one) for one in accuracy], 4, numeric=True),
        Written("accuracy_p", "p (Holm)", [_p(one) for one in accuracy], 3, numeric=True),
        Written("time", f"train time, ratio to {to}", [_difference(one) for one in time], 2, numeric=True),
        Written("time_verdict", "train time", [_verdict(one) for one in time], 2),
        Written("time_interval", "95 % interval", [_interval(one) for one in time], 6, numeric=True),
        Written("time_p", "p (Holm)", [_p(one) for one in time], 5, numeric=True),
        Written("seeds", "seeds", seeds, 7, numeric=True),
        Written("decide", "seeds to decide accuracy", [_would_decide(one) for one in accuracy], 8, numeric=True),
    )
    faint = tuple(all(found.verdict not in ("a", "b") for found in one.answers) for one in comparisons)
    return Beside(title, columns, faint, (), tuple(_notes(comparisons)))


def _notes(comparisons: Sequence[ConfigPair]) -> Iterator[str]:
    answers = [found for one in comparisons for found in one.answers if found.pairs]
    if any(found.verdict for found in answers):
        yield (
            "Paired over the seeds; 95 % Student-t intervals, of accuracy over seeds and test images, of the ratio on "
            "its logarithm. Undecided: inside the noise, which is no proof that there is no difference."
        )
    if any(found.p_corrected is not None for found in answers):
        yield "p and the verdicts are corrected for the number of comparisons, the intervals are not."
    if len(comparisons) == 1:
        yield from filter(None, map(_not_seen, answers))
        if any(found.effect_size is not None for found in answers):
            yield "Effect size: Hedges' g_z, the mean of the differences in their own standard deviations."
    of: dict[str, list[str]] = {}  # each caution is said once, with the configs that it is of
    for one in comparisons:
        reasons = [f"{reason}." for reason in dict.fromkeys(found.reason for found in one.answers) if reason]
        for caution in [*one.cautions, *(reasons if len(comparisons) > 1 else [])]:
            of.setdefault(caution, []).append(one.a.label)
    for caution, labels in of.items():
        yield caution if len(labels) == len(comparisons) else f"{listed(list(map(quoted, labels)))}: {caution}"


def _not_seen(found: Answer) -> str:
    """Returns which difference would have been decided, where this one is not."""
    size = found.detectable
    if found.verdict != "undecided" or found.difference is None or size is None:
        return ""
    of = f"{points(size, found.difference, signed=False)} points of accuracy"
    text = of if found.question == "accuracy" else f"x {times(size)} in train time"
    return f"These {len(found.pairs)} seeds would show a difference of {text} 8 times of 10."


def _mean(found: Answer, summary: Summary | None) -> str:
    return column_texts(_MEANS[found.question], [summary])[0]


def _difference(found: Answer) -> str:
    if found.difference is None:
        return NOTHING
    mean = found.difference.mean
    return f"{points(mean, found.difference)} points" if found.question == "accuracy" else f"x {times(mean)}"


def _interval(found: Answer) -> str:
    summary = found.difference
    if summary is None or found.p is None or not summary.has_noise:
        return NOTHING
    if found.question == "accuracy":
        return span(points(summary.low, summary), points(summary.high, summary))
    return span(times(summary.low), times(summary.high))


def _p(found: Answer) -> str:
    p = found.p if found.p_corrected is None else found.p_corrected
    return NOTHING if p is None else p_text(p).removeprefix("p = ").removeprefix("p ")


def _effect(found: Answer) -> str:
    return NOTHING if found.effect_size is None else f"{found.effect_size:+.2f}"


def _verdict(found: Answer, a: str = "", b: str = "") -> str:
    """Returns the verdict: on A alone, or with the names of both as `A is {}`."""
    more, better, worse = BETTER[found.question]
    if found.verdict == "equivalent":
        return f"equivalent within {within(found)}"
    if found.verdict in ("a", "b"):
        named = (a if found.verdict == "a" else b).format(more)
        return named or (better if found.verdict == "a" else worse)
    return found.verdict or NOTHING


def _would_decide(found: Answer) -> str:
    return str(found.seeds_for_power or NOTHING) if found.verdict == "undecided" else NOTHING
