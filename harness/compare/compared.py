"""What a call of `harness compare` finds: two configs, a whole table, or a suite beside its baseline."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.compare.baseline import Baseline
from harness.compare.comparison import ConfigPair, compare, one_of
from harness.compare.gate import Check, Limit, check
from harness.compare.of_suite import MeasuredSuite
from harness.compare.sides import Side, find
from harness.counted import counted
from harness.errors import HarnessError
from harness.report.texts import listed, quoted
from harness.results.answers import Family, as_one_family
from harness.results.measured import MeasuredConfig, round_seconds
from harness.statistics.pairs import LEVEL


@dataclass(frozen=True)
class Compared:
    """The comparisons of one call.

    Attributes:
        to: what each is compared with, in a word or two.
        correction: over what p-values are corrected; None where there is one comparison.
    """

    suite: str
    to: str
    comparisons: tuple[ConfigPair, ...]
    correction: str | None
    notes: tuple[str, ...]
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a gate fails."""
        return any(one.state != "passes" for one in self.checks)


def compare_two(suites: dict[Path, MeasuredSuite], sides: Sequence[Side], limits: Sequence[Limit]) -> Compared:
    """Compares two configs.

    Raises:
        HarnessError: one is not there, they are the same, or neither question can be answered.
    """
    a, b = (find(side, suites[side.suite].configs, suites[side.suite].name) for side in sides)
    if (a.suite, a.config_id) == (b.suite, b.config_id):
        raise HarnessError(f"'{a.label}' is compared with itself", "name two configs")
    margin = suites[sides[0].suite].margin
    found = compare(a, b, sum(suite.round_seconds for suite in suites.values()), margin=margin)
    _require_answer([found])
    notes = [note for suite in suites.values() for note in suite.notes]
    return Compared(a.suite, "B", (found,), None, tuple(notes), _checks([found], limits))


def compare_table(suite: MeasuredSuite, to: str, limits: Sequence[Limit]) -> Compared:
    """Compares each config of a suite with one that is named, or with the best.

    Args:
        to: a label or a config_id; empty for the best.

    Raises:
        HarnessError: there is nothing to compare, or a gate is asked for, which has no old and no new here.
    """
    if limits:
        message = "a gate compares two configs, or a suite with its baseline"
        raise HarnessError(message, "name two configs, the new one first, or give --baseline FILE")
    with_runs = [config for config in suite.configs if config.runs]
    notes = list(suite.notes)
    if missing := [config.label for config in suite.configs if not config.runs]:
        notes.append(f"No result yet: {listed(list(map(quoted, missing)))}.")
    if len(with_runs) < 2:
        odd = [note for note in suite.notes if note.startswith("Unreadable")]
        of = "one config only" if with_runs else "no config"
        raise HarnessError(
            f"{suite.name} has results of {of}: nothing to compare", " ".join(["run more of it", *odd[:3]])
        )
    place = with_runs.index(find(Side(Path(), to), with_runs, suite.name)) if to else None
    accuracy = Family("accuracy", with_runs, suite.margin, to=place)
    if place is None:
        first = accuracy.tests.best
        if first is None:
            reason = accuracy.answer(0, 1).reason
            raise HarnessError(f"no config is the best in accuracy: {reason}", "name one with --to LABEL")
        place = first.index
    time = Family("time", with_runs, beside=place, to=place if to else None)
    named, together, over = with_runs[place], suite.round_seconds, ""
    if len(with_runs) == 2:
        found = [compare(with_runs[1 - place], named, together, margin=suite.margin)]
    else:
        others = [other for other in range(len(with_runs)) if other != place]
        found = [one_of(accuracy, time, other, place, together) for other in others]
        over = f"all {math.comb(len(with_runs), 2)} pairs of the table"
        if to:
            over = f"{counted(len(found), 'comparison')} with {quoted(named.label)}"
        else:
            notes.append(
                f"{quoted(named.label)} has the highest mean accuracy. The same data chose it, so the correction "
                f"is over {over}. `--to LABEL` names a config beforehand."
            )
    _require_answer(found)
    notes += _lost(found)
    return Compared(suite.name, named.label, tuple(found), _correction(over), tuple(notes))


def compare_with_baseline(
    suite: MeasuredSuite, wanted: Sequence[MeasuredConfig], baseline: Baseline, limits: Sequence[Limit]
) -> Compared:
    """Compares configs of a suite, as they are now, with what a baseline file has of them.

    Args:
        wanted: those that are asked for.

    Raises:
        HarnessError: the baseline has none of them, or no question can be answered.
    """
    old = baseline.measured()
    by_id, by_label = {one.config_id: one for one in old}, {one.label: one for one in old}
    couples, unknown, notes = [], [], list(suite.notes)
    for config in wanted:
        before = by_id.get(config.config_id) or by_label.get(config.label)
        if before is None:
            unknown.append(config.label)
            continue
        if before.config_id != config.config_id:
            notes.append(f"{quoted(config.label)}: its config has changed since the baseline.")
        couples.append((config, before))
    if not couples:
        message = f"the baseline has none of: {listed(list(map(quoted, unknown)))}"
        raise HarnessError(message, f"it has: {listed([quoted(one.label) for one in old])}")
    if unknown:
        notes.append(f"Not in the baseline: {listed(list(map(quoted, unknown)))}.")
    together = round_seconds(config for config, _ in couples)
    found = [compare(config, before, together, margin=suite.margin) for config, before in couples]
    over = f"{len(found)} configs" if len(found) > 1 else ""
    if over:
        found = _corrected(found)
    _require_answer(found)
    notes += _lost(found)
    return Compared(suite.name, "the baseline", tuple(found), _correction(over), tuple(notes), _checks(found, limits))


def _corrected(comparisons: Sequence[ConfigPair]) -> list[ConfigPair]:
    """Returns comparisons of separate pairs as one family."""
    accuracy = as_one_family([one.accuracy for one in comparisons])
    time = as_one_family([one.time for one in comparisons])
    return [
        dataclasses.replace(one, accuracy=judged, time=timed)
        for one, judged, timed in zip(comparisons, accuracy, time, strict=True)
    ]


def _correction(over: str) -> str | None:
    return f"Holm's method over {over}, for accuracy and for time each" if over else None


def _lost(comparisons: Sequence[ConfigPair]) -> Iterator[str]:
    """Says how many verdicts the correction alone took away."""
    answers = [found for one in comparisons for found in one.answers if found.verdict == "undecided"]
    lost = [found.question for found in answers if found.p is not None and found.p < LEVEL]
    if lost:
        counts = " and ".join(f"{count} in {question}" for question, count in Counter(lost).items())
        yield (
            f"Undecided by the correction alone: {counts}. By themselves they would be decided, but that is no proof "
            "where so many were looked at."
        )


def _checks(comparisons: Sequence[ConfigPair], limits: Sequence[Limit]) -> tuple[Check, ...]:
    return tuple(one for limit in limits for one in check(comparisons, limit))


def _require_answer(comparisons: Sequence[ConfigPair]) -> None:
    """Refuses a call of which neither question can be answered for any pair."""
    answers = [found for one in comparisons for found in one.answers]
    if answers and not any(found.pairs for found in answers):
        reasons = dict.fromkeys(found.reason for found in answers)
        raise HarnessError("; ".join(list(reasons)[:2]), answers[0].hint)
