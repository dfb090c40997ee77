"""The answer: what is most accurate, what is fastest within the noise, what to take for a budget; and in words.

Every output shows these sentences. The verdicts in them are those of `harness compare SUITE`: a family over all pairs
of the table.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.durations import duration_text
from harness.report.fronts import known
from harness.report.rows import Row
from harness.report.texts import quoted
from harness.results.all_systems import ALL_SYSTEMS
from harness.results.answers import Family
from harness.results.measured import MeasuredRun
from harness.statistics.crossed import largest_image_noise
from harness.statistics.intervals import Summary, flattery_of_best
from harness.statistics.pairs import PairwiseTests

if TYPE_CHECKING:
    from harness.report.tables import Table

MOST_NAMED = 3
NO_TEST = "with too few seeds in common or other test images"
TOGETHER = "One run of each config and seed counts, whichever system it ran on; times are in the tables of the systems."


@dataclass(frozen=True)
class Contender:
    """A config and one number of its runs.

    Attributes:
        by_seed: the number, as it was measured.
    """

    row: Row
    by_seed: Mapping[Any, float]

    @functools.cached_property
    def summary(self) -> Summary:
        """Mean and interval."""
        return known(self.by_seed)


@dataclass(frozen=True)
class Standing:
    """What is known of the first place.

    Attributes:
        best: by its mean.
        equivalent: the others that are as good within the suite's margin.
        undecided: those that may well be as good.
        unknown: of these, the ones with less than two seeds in common with the best: nothing can be said of them.
        others: how many others there are.
        flattery: by how much the best's mean is too high at the most, on average, for having been chosen of these; see
            `harness.statistics.intervals`. None where it was not chosen of several, or the noise is not known.
    """

    best: Contender
    equivalent: tuple[Contender, ...]
    undecided: tuple[Contender, ...]
    unknown: tuple[Contender, ...]
    others: int
    flattery: float | None = None

    @property
    def known(self) -> bool:
        """Whether the noise is known at all."""
        return len(self.best.by_seed) > 1

    @property
    def one_run_each(self) -> bool:
        """Whether neither the best nor any that may be as good has a second run."""
        return all(len(one.by_seed) < 2 for one in self.as_good)

    @property
    def as_good(self) -> tuple[Contender, ...]:
        """The best, and all that may well be as good."""
        return self.best, *self.equivalent, *self.undecided


def most_accurate(table: Table) -> Standing | None:
    """Returns who is first by test accuracy; None where nobody stands."""
    return _first(table, table.compared)


def fastest(table: Table, among: Sequence[Contender]) -> Standing | None:
    """Returns which of some configs trains fastest; None where no time of them counts."""
    wanted = {one.row.config_id for one in among}
    here = [one for one in table.compared.configs if one.config_id in wanted]
    return _first(table, Family("time", [one for one in here if any(run.train_seconds for run in one.runs)]))


def _first(table: Table, compared: Family) -> Standing | None:
    def number(run: MeasuredRun) -> float | None:
        return run.accuracy if compared.question == "accuracy" else run.train_seconds or None

    rows = {row.config_id: row for row in table.rows}
    contenders = [
        Contender(rows[one.config_id], {run.seed: value for run in one.runs if (value := number(run)) is not None})
        for one in compared.configs
    ]
    return _standing(contenders, compared.tests)


def standing_by(contenders: Sequence[Contender], images: int, margin: float | None) -> Standing | None:
    """Returns who is first by an accuracy of which no predictions are kept, as that at a budget.

    Nothing is said of configs that were tested on different images.

    Args:
        images: that it is a mean over.
    """
    import numpy as np

    seeds = sorted({seed for one in contenders for seed in one.by_seed}, key=str)
    rows = [[one.by_seed.get(seed, math.nan) for seed in seeds] for one in contenders]
    values = np.array(rows, dtype=float).reshape(len(contenders), len(seeds))
    noise = largest_image_noise(np.array([one.summary.mean for one in contenders]), images)
    tested = [{(run.data.fingerprint, run.data.test_samples) for run in one.row.ok if run.data} for one in contenders]
    noise.shared[[[own != other for other in tested] for own in tested]] = math.nan
    return _standing(contenders, PairwiseTests(values, noise, margin=margin))


def _standing(contenders: Sequence[Contender], tests: PairwiseTests) -> Standing | None:
    found = tests.best
    if found is None:
        return None
    equivalent, undecided, unknown = (
        tuple(contenders[place] for place in places) for places in (found.equivalent, found.undecided, found.unknown)
    )
    known = [place for place in (*found.equivalent, *found.undecided) if place not in found.unknown]
    flattery = flattery_of_best(tests.values[[found.index, *known]])
    return Standing(contenders[found.index], equivalent, undecided, unknown, len(contenders) - 1, flattery)


def answer(table: Table) -> list[str]:
    """Returns two sentences on the whole runs of one system; one where there is nothing to rank."""
    first = table.first
    if first is None:
        if any(row.ok for row in table.rows):
            return ["There is no answer here: accuracy on synthetic data means nothing, so nothing is ranked."]
        return ["There is no answer yet: no run has ended ok."]
    fast = TOGETHER if table.system_id == ALL_SYSTEMS else _fastest(first, table)
    return [_most_accurate(first, table.compared.margin), fast]


def chosen_notes(first: Standing | None) -> tuple[str, ...]:
    """Returns by how much the best is flattered for having been chosen, where others may be as good."""
    if first is None or not first.flattery:
        return ()
    many = len(first.as_good) - len(first.unknown)
    return (
        f"The highest mean of {many} configs that may be equally good is biased upwards by the selection: by up to "
        f"{_points(first.flattery)} points on average. With new seeds, expect less of {named(first.best.row)}.",
    )


def named(row: Row) -> str:
    """Returns the config's label in quotes; the page sets it in bold type."""
    return quoted(row.label)


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
        return "one seed: the uncertainty is not known"
    if not first.as_good[1:]:
        return "better than all others"
    unknown = f" (some {NO_TEST})" if first.unknown else ""
    told = [f"equivalent to {_names(first.equivalent)}"] if first.equivalent else []
    told += [f"undecided beside {_names(first.undecided)}{unknown}"] if first.undecided else []
    return ", ".join(told)


def _most_accurate(first: Standing, margin: float | None) -> str:
    name, summary = named(first.best.row), first.best.summary
    said = f"{name} is the most accurate, with {accuracy_text(summary)} of the test images right"
    if not first.others:
        return f"{name} reaches {accuracy_text(summary)} of the test images; there is nothing to compare it with."
    if first.one_run_each:
        return f"{said}, by one run each, so the uncertainty is not known."
    if not first.known:
        return f"{said}, by one run, so nothing is known of it beside the others."
    if not first.as_good[1:]:
        return f"{said}: better than {'the other' if first.others == 1 else f'all {first.others} others'}."
    told = []
    if first.equivalent:
        told.append(f"equivalent within {100 * (margin or 0.0):g} points to {_names(first.equivalent)}")
    if tested := [one for one in first.undecided if one not in first.unknown]:
        common = sorted({len(first.best.by_seed.keys() & one.by_seed.keys()) for one in tested})
        seeds = f"{common[0]} to {common[-1]}" if len(common) > 1 else common[0]
        told.append(f"{seeds} seeds leave undecided whether it is better than {_names(tested)}")
    if first.unknown:
        told.append(f"it is not known whether it is better than {_names(first.unknown)}, {NO_TEST}")
    if first.flattery and margin and first.flattery > margin:  # by more than what matters
        told.append(f"as the best of these, its mean is too high by up to {_points(first.flattery)} points on average")
    return f"{said}; {', and '.join(told)}."


def _fastest(first: Standing, table: Table) -> str:
    """Among those that may well be the most accurate, the one that trains fastest."""
    if first.one_run_each and first.others:
        return "One seed does not show the noise: set `seeds: 3` in the suite and run it again."
    if not first.known and first.others:
        return f"More seeds of {named(first.best.row)} that end ok would tell."
    equal = first.as_good
    quickest = fastest(table, equal)
    if quickest is None:
        return "None of their train times counts, so it is not known which is the fastest."
    name, seconds = named(quickest.best.row), quickest.best.summary.mean
    if quickest.best.row is first.best.row:
        beyond = "" if len(equal) == 1 else f" and is the fastest of {_those(equal)}"
        return f"It takes {seconds_text(seconds)} of training{beyond}{_as_fast(quickest)}."
    takes = f"{seconds_text(seconds)} of training, "
    if slowest := first.best.row.values["train_seconds"]:
        ratio = slowest.mean / seconds
        takes += f"{ratio:.{int(ratio < 10)}f} times as fast as {named(first.best.row)}, "
    takes += f"with {accuracy_text(quickest.best.row.values['test_accuracy'])}{_as_fast(quickest)}"
    return f"{name} is the fastest of {_those(equal)}: {takes}."


def _those(equal: Sequence[Contender]) -> str:
    return "these" if all(one.row.values["train_seconds"] for one in equal) else "those whose times count"


def advice(first: Standing) -> str:
    """Returns what to take for a budget, and how sure that is, in a sentence."""
    return f"Take {named(first.best.row)}: {accuracy_text(first.best.summary)} by then, {how_sure(first)}."


def _as_fast(quickest: Standing) -> str:
    others = [one for one in quickest.undecided if one not in quickest.unknown]
    return f"; {_names(others)} may be as fast" if others else ""


def _names(contenders: Sequence[Contender]) -> str:
    names = [named(one.row) for one in contenders]
    if len(names) > MOST_NAMED + 1:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} others"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2g}"


def _unit(seconds: float) -> float:
    return next((size for size in (3600.0, 60.0) if seconds >= size), 1.0)
