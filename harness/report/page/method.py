"""What the numbers are, in short, and what was said under the tables."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.page.parts import Heading, Part, Says
from harness.report.page.source import Source
from harness.report.texts import notes_under, one_line

NUMBERS = (
    "Train time is every step of every epoch: waiting for data, augmentation, forward, backward, step. Building, "
    "compiling, evaluation and checkpoints are on clocks of their own.",
    "Test accuracy is that of the last epoch, every test image counted once. ± is half of the 95 % t interval of the "
    "mean over the seeds.",
    "Two configs are told apart where the paired t test over their common seeds, corrected by Holm's method for the "
    "number of comparisons, does so at 5 %. Those that are not may differ all the same: more seeds may tell.",
    "For a budget, a config counts with its last evaluation within so much train time, once all its seeds have been "
    "evaluated. A schedule made for that budget may do better.",
)


def method(source: Source) -> Iterator[Part]:
    """Yields what holds for all suites, and the notes of this one."""
    yield Says(NUMBERS)
    tables = source.report.tables
    for table in tables:
        if len(tables) > 1:
            yield Heading(one_line(table.system))
        yield Says(tuple(one_line(note) for note in notes_under(table.written(), table.every_note)), as_list=True)
    if source.report.notes:
        yield Says(tuple(one_line(note) for note in source.report.notes), as_list=True)
