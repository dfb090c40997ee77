"""The table "what mattered": what each factor of a suite does to accuracy and to train time on one system."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.counted import counted
from harness.report.texts import TextColumn, TextTable, judged, listed, one_line, quoted, ratio_of
from harness.results.effects import NO_RESULT, Effects
from harness.results.factors import Design, Level
from harness.results.measured import MeasuredConfig
from harness.statistics.effects import MOST_LEVELS

MOST_ROWS = 12


@dataclass(frozen=True)
class WhatMattered:
    """The effects of a design on accuracy and on train time.

    Attributes:
        rows: the contrasts by their place, those that are decided first, then the largest.
    """

    design: Design
    accuracy: Effects
    time: Effects

    @functools.cached_property
    def rows(self) -> list[int]:
        """The order in which contrasts are shown."""

        def place(at: int) -> tuple[Any, ...]:
            both = self.accuracy.effects[at], self.time.effects[at]
            sizes = [-abs(one.summary.mean) if one.summary else 1.0 for one in both]
            return *(not one.is_decided for one in both), *sizes

        return sorted(range(len(self.accuracy.contrasts)), key=place)

    def named(self, at: int) -> str:
        """Returns e.g. `lr: 0.1 -> 0.01`, or `lr x batch_norm: 0.1 -> 0.01, at yes beside no`."""
        levels = self.levels(at)
        name = " x ".join(level.name for level in levels)
        beside = "".join(f", at {level.text} beside {level.base}" for level in levels[1:])
        return one_line(f"{name}: {levels[0].base} -> {levels[0].text}{beside}")

    def levels(self, at: int) -> list[Level]:
        """Returns the level of each factor of a contrast."""
        term, levels = self.accuracy.contrasts[at]
        return [self.design.factors[index].levels[level] for index, level in zip(term, levels, strict=True)]


def what_mattered(
    design: Design | None, configs: Mapping[str, MeasuredConfig], margin: float | None, *, selected: bool
) -> WhatMattered | None:
    """Returns the effects of a design; None where there is no design, or nothing was measured.

    Args:
        configs: on one system, by config_id.
        margin: of the suite, a fraction.
        selected: whether they are those of a selection (`--only`).
    """
    if design is None:
        return None
    both = [Effects(question, design, configs, margin, selected=selected) for question in ("accuracy", "time")]
    return WhatMattered(design, *both) if any(one.seeds for one in both) and both[0].contrasts else None


def effect_table(title: str, found: WhatMattered, labels: Mapping[str, str]) -> TextTable:
    """Returns the table of the effects.

    Args:
        labels: of the planned configs, by config_id.
    """
    shown, both = found.rows[:MOST_ROWS], (found.accuracy, found.time)
    faint = tuple(not any(one.effects[at].is_decided for one in both) for at in shown)
    columns = [TextColumn("label", "effect", [found.named(at) for at in shown])]
    columns += [column for own in both for column in _columns(own, shown)]
    records = tuple(_record(found, own, at) for own in both for at in found.rows)
    return TextTable(title, tuple(columns), faint, records, tuple(_notes(found, labels)))


def _record(found: WhatMattered, own: Effects, at: int) -> dict[str, Any]:
    """Returns an effect on one number, as `what_mattered.csv` has it."""
    one, levels = own.effects[at], found.levels(at)
    beside = levels[1] if len(levels) > 1 else None
    scale = ratio_of if own.question == "time" else float
    interval = one.summary if one.summary and one.summary.ci95 is not None else None
    return {
        "metric": "train_seconds" if own.question == "time" else "test_accuracy",
        "effect": " x ".join(level.path for level in levels),
        "kind": "interaction" if beside else "main effect",
        "state": one.state,
        "from_level": levels[0].base,
        "to_level": levels[0].text,
        "beside_level": beside.base if beside else None,
        "at_level": beside.text if beside else None,
        "estimate": scale(one.summary.mean) if one.summary else None,
        "low": scale(interval.low) if interval else None,
        "high": scale(interval.high) if interval else None,
        "p": one.p,
        "p_holm": one.p_corrected,
        "p_beyond_margin": one.p_beyond,
        "verdict": one.verdict,
        "seeds": one.summary.n if one.summary else 0,
    }


def _columns(own: Effects, shown: Sequence[int]) -> list[TextColumn]:
    """Returns the columns of one number; none where no effect has a result."""
    effects = [own.effects[at] for at in shown]
    if all(one.state == NO_RESULT for one in effects):
        return []
    p = [one.p_beyond if one.verdict == "equivalent" else one.p_corrected for one in effects]
    verdicts, states = [one.verdict or "" for one in effects], [one.state for one in effects]
    return judged(own.question, [one.summary for one in effects], verdicts, p, states)


def _notes(found: WhatMattered, labels: Mapping[str, str]) -> Iterator[str]:
    factors, both = found.design.factors, (found.accuracy, found.time)
    seeds = sorted({effect.summary.n for one in both for effect in one.effects if effect.summary}) or [0]
    if len(factors) > 1:
        yield (
            "An effect: a level beside the first of its factor, averaged over the levels of the other factors. a x b: "
            "how much that difference, or ratio, changes from the first level of b to another."
        )
        if all(len(contrast.term) == 1 for contrast in found.accuracy.contrasts):
            yield "Interactions were not analysed: the factors have too many levels."
    for factor in (factor for factor in factors if len(factor.levels) > MOST_LEVELS):
        yield f"{factor.name} has {len(factor.levels)} levels: its effects are not listed, the ranking has them."
    if any(factor.is_star for factor in factors):
        yield (
            "Changes that were made one at a time are compared with the base. Their interactions were not measured: "
            "two changes together may have another effect."
        )
    if any(effect.verdict for one in both for effect in one.effects):
        images = f" and {found.accuracy.images:,} test images" if found.accuracy.images else ""
        over = f"{seeds[0]} to {seeds[-1]} seeds" if seeds[0] != seeds[-1] else counted(seeds[0], "seed")
        yield (
            f"95 % intervals over {over}{images}, not corrected. Verdicts and p: corrected for all "
            "effects of the table (Holm), for accuracy and time each; p of an equivalent effect is that of a larger "
            "one. Undecided: inside the noise, which does not prove that there is none."
        )
    elif seeds[-1] == 1:
        yield "One seed: no interval and no verdict. The order may be noise."
    for one in both:
        if not one.seeds:
            yield f"Effects on {one.question} are not shown: no {one.question} of these runs counts."
    if found.accuracy.margin is not None:
        yield f"Equivalent: smaller than the suite's margin of {100 * found.accuracy.margin:.2f} points."
    if not found.accuracy.predictions_kept:
        yield "Predictions were not kept: the variance over the test images is taken at its largest possible value."
    if any(not one.is_complete and any(effect.summary for effect in one.effects) for one in both) and len(factors) > 1:
        yield "Not every combination has every seed: least squares without interactions of three factors fill in."
    left = [label for config_id, label in labels.items() if config_id not in found.design.cells]
    if left:
        yield f"Left out, because they are not part of the design: {listed(list(map(quoted, left)))}."
    if len(found.accuracy.contrasts) > MOST_ROWS:
        yield f"{len(found.accuracy.contrasts) - MOST_ROWS} more effects are in what_mattered.csv."
