"""Why a number is missing."""

from __future__ import annotations

from harness.records.comparable import marks
from harness.report.tables import Table
from harness.report.texts import listed, one_line


def why_not(table: Table, name: str) -> str:
    """Returns the reasons that the runs of a system recorded.

    Args:
        name: dotted; a reason may stand under the name of its section.
    """
    runs = [run for row in table.rows for run in row.ok]
    counting = [run for row in table.rows for run in row.ok_for(name)]
    section = name.partition(".")[0]
    found = (run.unavailable.get(name) or run.unavailable.get(section) for run in runs)
    reasons = list(dict.fromkeys(one_line(reason).rstrip(".") for reason in found if reason))
    if reasons:
        return listed(reasons, 3)
    if runs and not counting:
        found_marks = ", ".join(dict.fromkeys(mark for run in runs for mark in marks(run)))
        return f"the runs are marked ({found_marks}), so theirs does not count"
    return "the records give no reason" if runs else "no run has ended ok"
