"""The tables "what mattered": main effects and two-way interactions on accuracy and train time, the largest first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.factorial.aliasing import term_name, untold
from harness.factorial.effects import Term
from harness.factorial.words import alias_notes
from harness.report.factors.crossing import Crossing
from harness.report.factors.effects import DIFFERENCE, accuracy_by_seed, exp, ratio_text, seconds_by_seed
from harness.report.factors.estimates import Estimate, Estimates, estimate
from harness.report.numbers.rows import Row
from harness.report.texts import NOTHING, Beside, Written, column_texts, listed, one_line
from harness.statistics.intervals import Summary
from harness.statistics.significance import holm

Metric = Literal["test_accuracy", "train_seconds"]
METRICS: tuple[Metric, ...] = ("test_accuracy", "train_seconds")
MOST_ROWS = 12
DECIDED = 0.05
_TITLES = {"test_accuracy": "test accuracy", "train_seconds": "train time"}


@dataclass(frozen=True)
class Mattered:
    """An effect on one number, on one system.

    Attributes:
        estimate: of accuracies as fractions, of times as natural logarithms.
        p: corrected for the number of effects in its table; None where there is none.
        state: "ok", or why there is no number.
        seeds: how many the estimate is from.
    """

    crossing: Crossing
    estimate: Estimate
    p: float | None
    state: str
    seeds: int

    @property
    def name(self) -> str:
        """Returns e.g. `lr x batch_norm`."""
        return term_name(self.estimate.term, self.crossing.names())

    @property
    def summary(self) -> Summary | None:
        """The difference with its interval."""
        one = self.estimate
        return None if one.value is None else Summary(one.value, None, one.half_width, self.seeds)

    def change(self) -> str:
        """Returns e.g. `0.1 -> 0.01, at yes beside no`."""
        contrast, term = self.estimate.contrast, self.estimate.term
        if contrast is None:
            return ""
        first = self.crossing.factors[term[0]].levels
        text = f"{first[contrast.change[0]]} -> {first[contrast.change[1]]}"
        if contrast.beside is None:
            return text
        second = self.crossing.factors[term[1]].levels
        return f"{text}, at {second[contrast.beside[1]]} beside {second[contrast.beside[0]]}"


@dataclass(frozen=True)
class WhatMattered:
    """All effects on one number, on one system, the largest first."""

    metric: Metric
    effects: tuple[Mattered, ...]
    estimates: tuple[Estimates, ...]


def what_mattered(rows: Sequence[Row], crossings: Sequence[Crossing]) -> list[WhatMattered]:
    """Returns the effects on test accuracy and on train time, where a suite crosses factors and has the numbers.

    Args:
        rows: of one system.
    """
    by_config = {row.config_id: row for row in rows}
    readable = [crossing.readable() for crossing in crossings]
    found = [_on(metric, by_config, readable) for metric in METRICS]
    return [one for one in found if one.effects or any(part.refused for part in one.estimates)]


def mattered_table(title: str, system_id: str, system: str, found: WhatMattered) -> Beside:
    """Returns the table of one number.

    Args:
        title: e.g. `in SUITE on SYSTEM`.
    """
    shown = found.effects[:MOST_ROWS]
    return Beside(
        f"What mattered for {_TITLES[found.metric]} {title}",
        tuple(_columns(found.metric, shown)),
        tuple(one.p is None or one.p >= DECIDED for one in shown),
        tuple(_record(one, found.metric, system_id, system) for one in found.effects),
        tuple(_notes(found)),
    )


def _on(metric: Metric, rows: Mapping[str, Row], crossings: Sequence[Crossing]) -> WhatMattered:
    value_of = accuracy_by_seed if metric == "test_accuracy" else _log_seconds
    effects: list[Mattered] = []
    parts = []
    for crossing in crossings:
        cells, values = _data(crossing, rows, value_of)
        made = estimate(cells, values, crossing.levels, crossing.terms(), crossing.wanted())
        parts.append(made)
        lost = [one.term for one in made.effects if one.value is None]
        states = _states(crossing, lost, cells, values) if lost else {}
        effects += [Mattered(crossing, one, None, states.get(one.term, "ok"), made.seeds) for one in made.effects]
    if all(one.estimate.value is None for one in effects):
        effects = [] if not any(part.configs for part in parts) else effects
    tested = [at for at, one in enumerate(effects) if one.estimate.p is not None]
    for at, p in zip(tested, holm([effects[at].estimate.p or 0.0 for at in tested]), strict=True):
        one = effects[at]
        effects[at] = Mattered(one.crossing, one.estimate, p, one.state, one.seeds)
    return WhatMattered(metric, tuple(sorted(effects, key=_place)), tuple(parts))


def _place(one: Mattered) -> tuple[float, float]:
    share = None if one.crossing.factor is not None else one.estimate.share
    if one.estimate.value is None:
        return 2.0, 0.0
    return -share if share is not None else 1.0, -abs(one.estimate.value)


def _data(crossing: Crossing, rows: Mapping[str, Row], value_of: Callable[[Row | None], dict[int, float]]) -> Any:
    """Returns the cells, an array [configs, factors], and the values, [configs, seeds], of all planned configs."""
    import numpy

    found = {config_id: value_of(rows.get(config_id)) for config_id in crossing.cells}
    seeds = sorted({seed for own in found.values() for seed in own})
    cells = numpy.array(list(crossing.cells.values()), dtype=int).reshape(len(found), len(crossing.factors))
    values = [[own.get(seed, math.nan) for seed in seeds] for own in found.values()]
    return cells, numpy.array(values, dtype=float).reshape(len(found), len(seeds))


def _log_seconds(row: Row | None) -> dict[int, float]:
    return {seed: math.log(seconds) for seed, seconds in seconds_by_seed(row).items()}


def _states(crossing: Crossing, lost: Sequence[Term], cells: Any, values: Any) -> dict[Term, str]:
    """Returns why each of these effects has no number.

    Args:
        cells: of all configs, an array [configs, factors].
        values: of all configs, an array [configs, seeds].
    """
    import numpy

    aliases = untold(list(crossing.cells.values()), crossing.levels, crossing.terms())
    names = crossing.names()
    results = (~numpy.isnan(values)).sum(1)
    states = {}
    for term in lost:
        if aliases.get(term):
            states[term] = f"aliased with {listed([term_name(other, names) for other in aliases[term]], 1)}"
            continue
        none = _hole(term, cells[results > 0], crossing.levels)
        hole = none or _hole(term, cells[results > 1], crossing.levels)
        where = ", ".join(f"{names[index]}={crossing.factors[index].levels[level]}" for index, level in hole)
        planned = "planned" if term in aliases else "no result" if none else "no result in two seeds"
        states[term] = f"{'not ' * (term in aliases)}{planned} at {where}" if where else "too few results"
    return states


def _hole(term: Term, present: Any, levels: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the first combination of an effect's levels that no cell has, as (factor, level)."""
    there = {tuple(cell) for cell in present[:, list(term)].tolist()}
    every = itertools.product(*(range(levels[index]) for index in term))
    hole = next((cell for cell in every if cell not in there), None)
    return list(zip(term, hole, strict=True)) if hole else []


def _columns(metric: Metric, shown: Sequence[Mattered]) -> Iterator[Written]:
    summaries = [one.summary for one in shown]
    if metric == "test_accuracy":
        texts = column_texts(DIFFERENCE, summaries)
    else:
        texts = [ratio_text(summary) for summary in summaries]
    texts = [text if one.state == "ok" else one.state for one, text in zip(shown, texts, strict=True)]
    labels = [one_line(f"{one.name}: {change}" if (change := one.change()) else one.name) for one in shown]
    yield Written("label", "effect", labels)
    title = "difference" if metric == "test_accuracy" else "ratio"
    yield Written("effect", title, texts, 1, numeric=True)
    if any(one.p is not None for one in shown):
        yield Written("p", "p (Holm)", [_p_text(one.p) for one in shown], 2, numeric=True)
    if any(_share(one) is not None for one in shown):
        yield Written("share", "share", [_share_text(_share(one)) for one in shown], 3, numeric=True)


def _share(one: Mattered) -> float | None:
    """Shares of different crossings are parts of different wholes."""
    return None if one.crossing.factor is not None else one.estimate.share


def _share_text(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _p_text(p: float | None) -> str:
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _record(one: Mattered, metric: Metric, system_id: str, system: str) -> dict[str, Any]:
    summary, contrast = one.summary, one.estimate.contrast
    has_interval = summary is not None and summary.ci95 is not None
    ends = (summary.mean, summary.low, summary.high) if summary else (None, None, None)
    estimate_, low, high = ends if metric == "test_accuracy" else (None if end is None else exp(end) for end in ends)
    levels = [one.crossing.factors[index].levels for index in one.estimate.term]
    change, beside = (contrast.change, contrast.beside) if contrast else (None, None)
    return {
        "system_id": system_id,
        "system": system,
        "metric": metric,
        "effect": " x ".join(", ".join(one.crossing.factors[index].paths) for index in one.estimate.term),
        "kind": "main effect" if len(one.estimate.term) == 1 else "interaction",
        "state": one.state,
        "from_level": levels[0][change[0]] if change else None,
        "to_level": levels[0][change[1]] if change else None,
        "beside_level": levels[1][beside[0]] if beside else None,
        "at_level": levels[1][beside[1]] if beside else None,
        "estimate": estimate_,
        "low": low if has_interval else None,
        "high": high if has_interval else None,
        "p": one.estimate.p,
        "p_holm": one.p,
        "share": _share(one),
        "differences_lost": one.estimate.lost,
        "seeds": one.seeds,
    }


def _notes(found: WhatMattered) -> Iterator[str]:
    effects, parts = found.effects, found.estimates
    what = "difference" if found.metric == "test_accuracy" else "ratio"
    if any(one.summary for one in effects):
        yield (
            f"A factor: the {what} between the two of its levels that lie furthest apart, averaged over all levels of "
            f"the others. a x b: how much a's {what} changes from one level of b to another; the largest there is."
        )
    tested = sum(one.p is not None for one in effects)
    seeds = max((part.seeds for part in parts), default=0)
    if tested:
        yield (
            f"95 % intervals over {seeds} seeds as blocks, corrected for the choice of the levels, not for the number "
            f"of rows. p is, for {tested} effects (Holm): below {DECIDED} the effect is there, else undecided."
        )
    elif any(one.summary for one in effects):
        yield "One seed: no interval and no p. The order below may be noise."
    if seeds == 2:
        yield "Two seeds: an interval is 12.7 standard errors to either side; a third seed makes that 4.3."
    if any(_share(one) is not None for one in effects):
        yield "Share: of the variance between the configs' means; noise is in it, too."
    yield from dict.fromkeys(note for one in effects for note in one.crossing.notes)
    if any(part.fitted and any(one.value is not None for one in part.effects) for part in parts):
        yield "Not every combination has every seed: a model without interactions of three factors fills in."
    for reason in dict.fromkeys(part.refused for part in parts if part.refused):
        yield f"Not looked at: not every combination has every seed, and no model could fill in: {reason}."
    if any(one.estimate.lost and one.summary for one in effects):
        names = [one.name for one in effects if one.summary and one.estimate.lost]
        yield f"Some differences cannot be told for want of results: {listed(names)}."
    yield from _aliased(effects)
    if len(effects) > MOST_ROWS:
        yield f"{len(effects) - MOST_ROWS} more effects, none larger, are in what_mattered.csv."


def _aliased(effects: Sequence[Mattered]) -> Iterator[str]:
    crossings = {id(one.crossing): one.crossing for one in effects if one.state.startswith("aliased")}
    for crossing in crossings.values():
        aliases = untold(list(crossing.cells.values()), crossing.levels, crossing.terms())
        yield from alias_notes({term: others for term, others in aliases.items() if others}, crossing.names())
