"""Comparisons in a terminal: the answers first, then the table, then what to know of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.compare.compared import Compared
from harness.compare.comparison import ConfigPair
from harness.compare.extra_metrics import ComparedMetric
from harness.compare.sentences import amount, check_sentence, number, p_text, sentence, within
from harness.counted import counted
from harness.report.terminal import console_of, show_one
from harness.report.texts import NOTHING, TextColumn, TextTable, column_texts, listed, one_line, quoted, span, written
from harness.results.answers import Answer
from harness.results.columns import INTERVAL, Column, extra_column

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
    accuracy, time = [one.accuracy for one in comparisons], [one.time for one in comparisons]
    seeds = [str(max(len(found.pairs) for found in one.answers)) for one in comparisons]
    columns = (
        TextColumn("label", "config", [one_line(one.a.label) for one in comparisons]),
        TextColumn("accuracy", "accuracy, difference", list(map(_difference, accuracy)), 1, numeric=True),
        TextColumn("accuracy_verdict", "accuracy", list(map(_verdict, accuracy)), 1),
        TextColumn("accuracy_interval", "95 % interval", list(map(_interval, accuracy)), 4, numeric=True),
        TextColumn("accuracy_p", "p (Holm)", list(map(_p, accuracy)), 3, numeric=True),
        TextColumn("time", "train time, ratio", list(map(_difference, time)), 2, numeric=True),
        TextColumn("time_verdict", "train time", list(map(_verdict, time)), 2),
        TextColumn("time_interval", "95 % interval", list(map(_interval, time)), 6, numeric=True),
        TextColumn("time_p", "p (Holm)", list(map(_p, time)), 5, numeric=True),
        TextColumn("seeds", "seeds", seeds, 7, numeric=True),
        *_metric_columns(comparisons),
    )
    faint = tuple(all(found.verdict not in ("a", "b") for found in one.answers) for one in comparisons)
    return TextTable(title, columns, faint, (), tuple(_notes(comparisons)))


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


def _difference(found: Answer) -> str:
    return NOTHING if found.difference is None else amount(found, found.difference.mean)


def _interval(found: Answer) -> str:
    if found.difference is None or found.p is None or not found.difference.has_noise:
        return NOTHING
    return span(number(found, found.difference.low), number(found, found.difference.high))


def _p(found: Answer) -> str:
    p = found.p if found.p_corrected is None else found.p_corrected
    return NOTHING if p is None else p_text(p).removeprefix("p = ").removeprefix("p ")


def _verdict(found: Answer) -> str:
    if found.verdict in ("a", "b"):
        return BETTER[found.question][found.verdict == "b"]
    return f"equivalent within {within(found)}" if found.verdict == "equivalent" else found.verdict or NOTHING
