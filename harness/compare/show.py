"""Comparisons in a terminal: the answers first, then the table, then what to know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from harness.compare.compared import Compared
from harness.compare.comparison import Comparison
from harness.compare.sentences import accuracy_sentence, check_sentence, images_sentence, time_sentence
from harness.compare.tables import many_table, pair_table
from harness.counted import counted
from harness.report.formats.terminal import console_of, show_one


def show(found: Compared, console: Console | None = None) -> None:
    """Writes what was found to stdout, as wide as the terminal is; NO_COLOR is respected."""
    console = console or console_of()
    notes = [f"Corrected by {found.correction}."] if found.correction else []
    if len(found.comparisons) == 1:
        [one] = found.comparisons
        for sentence, decided in _sentences(one):
            console.print(Text(sentence, style="bold" if decided else ""))
        console.print()
        table = pair_table(one)
    else:
        to = "its baseline" if found.comparisons[0].b.from_baseline else found.to
        table = many_table(f"{found.suite}: each config against {to}", found.comparisons, to)
    show_one(table, [*notes, *found.notes], console, "--json")
    failing = [one for one in found.checks if one.state != "passes"]
    passing = [one for one in found.checks if one.state == "passes"]
    for one in failing:
        console.print(Text(check_sentence(one), style="bold red"))
    for one in passing if len(found.comparisons) == 1 else []:
        console.print(Text(check_sentence(one), style="bold green"))
    if len(found.comparisons) > 1 and passing:
        counts = Counter(one.limit.question for one in passing)
        told = " and ".join(f"{question} of {counted(count, 'config')}" for question, count in counts.items())
        text = f"passes: {told}; --json tells of each what it could have missed."
        console.print(Text(text, style="bold green"))


def _sentences(one: Comparison) -> Iterator[tuple[str, bool]]:
    yield accuracy_sentence(one), one.accuracy.verdict in ("a", "b")
    yield time_sentence(one), one.time.verdict in ("a", "b")
    if one.networks and one.accuracy.pairs:
        yield images_sentence(one, one.networks), False
