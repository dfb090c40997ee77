"""What the factors of a suite do to accuracy and train time on one system, and why an effect has no number."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.results.answers import Question
from harness.results.factors import Design
from harness.results.measured import MeasuredConfig, MeasuredRun, noise_of_images
from harness.statistics.designs import Term, term_name, untold
from harness.statistics.effects import (
    Contrast,
    contrasts_of,
    estimate,
)
from harness.statistics.intervals import CONFIDENCE, Summary
from harness.statistics.pairs import Pairs, Verdict, holm, verdict_of

if TYPE_CHECKING:
    import numpy as np

TOO_LARGE = "too many levels"
NO_RESULT = "no result"
NO_SEED = "no seed has all its configs"


@dataclass(frozen=True)
class Effect:
    """A contrast of one question.

    Attributes:
        summary: of accuracies as fractions, of times the natural logarithm of a ratio; None where it cannot be told.
        p: of no effect, by itself; None without noise, as of one seed.
        p_corrected, p_beyond: of no effect, and of one of the margin or more, by Holm's method over the table.
        verdict: better is more accurate, or faster.
        state: "ok", or why there is no number.
    """

    summary: Summary | None
    p: float | None = None
    p_corrected: float | None = None
    p_beyond: float | None = None
    verdict: Verdict | None = None
    state: str = "ok"

    @property
    def is_decided(self) -> bool:
        """Whether it is there."""
        return self.verdict in ("better", "worse")


class Effects:
    """The effects of a design on one number.

    Args:
        question: accuracy or time.
        configs: on one system, by config_id, as many as there are.
        margin: effects on accuracy below it do not matter, a fraction; None where all do.
        selected: whether the configs are those of a selection (`--only`).

    Attributes:
        seeds: how many there are.
        predictions_kept: whether all accuracies have the variance over the images of their stored predictions.
        is_complete: whether each combination of levels has each seed.
    """

    def __init__(
        self,
        question: Question,
        design: Design,
        configs: Mapping[str, MeasuredConfig],
        margin: float | None = None,
        *,
        selected: bool = False,
    ) -> None:
        import numpy as np

        self.question, self.design = question, design
        self.margin = margin if question == "accuracy" else None
        self._configs, self._selected = configs, selected
        self._model, self._cells = design.model, design.model.cells
        runs = [self._runs(config_id) for config_id in design.cells]
        seeds = sorted({seed for own in runs for seed in own})
        self._values = np.array([[self._value(own.get(seed)) for seed in seeds] for own in runs])
        self._values = self._values.reshape(len(runs), len(seeds))
        self.seeds, self.images, self.predictions_kept = len(seeds), 0, True
        noise, largest = None, None
        if question == "accuracy":
            noise, kept = noise_of_images(runs, seeds, self._values)
            self.images = noise.images
            means = np.array([np.mean([run.accuracy or 0.0 for run in own.values()] or [np.nan]) for own in runs])
            largest = np.where(kept, np.nan, means * (1 - means) / max(self.images, 1))
            self.predictions_kept = all(whole for whole, own in zip(kept, runs, strict=True) if own)
        self._estimate = functools.partial(estimate, values=self._values, noise=noise, largest=largest)
        self.is_complete = not np.isnan(self._values).any() and len(set(design.cells.values())) == math.prod(
            design.levels
        )
        self.contrasts = contrasts_of(design.levels)

    @functools.cached_property
    def effects(self) -> list[Effect]:
        """Each contrast's."""
        import numpy as np

        if not self.seeds or self._model.is_too_large:
            return [Effect(None, state=TOO_LARGE if self.seeds else NO_RESULT) for _ in self.contrasts]
        found = self._estimate(self._model, self._model.contrast_rows(self.contrasts))
        p = holm(found.p)
        beyond = np.full(len(p), np.nan) if self.margin is None else holm(found.p_beyond(self.margin))
        better = 1 if self.question == "accuracy" else -1
        return [
            Effect(
                summary=_summary(found, at),
                p=_known(found.p[at]),
                p_corrected=_known(p[at]),
                p_beyond=_known(beyond[at]),
                verdict=verdict_of(better * found.difference[at], p[at], beyond[at]),
                state="ok" if found.seeds[at] else self._why_not(contrast),
            )
            for at, contrast in enumerate(self.contrasts)
        ]

    def _runs(self, config_id: str) -> dict[int, MeasuredRun]:
        config = self._configs.get(config_id)
        own = config.runs if config else ()
        return {run.seed: run for run in own if not math.isnan(self._value(run))}

    def _value(self, run: MeasuredRun | None) -> float:
        if run is None:
            return math.nan
        if self.question == "accuracy":
            return math.nan if run.accuracy is None else run.accuracy
        return math.log(run.train_seconds) if run.train_seconds else math.nan

    def _why_not(self, contrast: Contrast) -> str:
        """Returns why a contrast cannot be told: the first combination that is missing and its cause, or an alias."""
        factors, (term, levels) = self.design.factors, contrast
        compared = dict(zip(term, levels, strict=True))
        pairs = [term] if len(term) == 2 else [(term[0], i) for i in range(len(factors)) if i != term[0]] or [term]
        for pair in pairs:
            ranges = [(0, compared[i]) if i in compared else range(len(factors[i].levels)) for i in pair]
            for chosen in itertools.product(*ranges):
                cause = self._hole(pair, chosen)
                if cause:
                    where = ", ".join(factors[i].at(level) for i, level in zip(pair, chosen, strict=True))
                    return f"{cause}: {where}"
        names = [factor.name for factor in factors]
        aliased = untold(list(self.design.cells.values()), self.design.levels, self._terms).get(term)
        return f"aliased with {', '.join(term_name(other, names) for other in aliased)}" if aliased else NO_SEED

    @property
    def _terms(self) -> list[Term]:
        return list(dict.fromkeys(contrast.term for contrast in self.contrasts))

    def _hole(self, term: Term, levels: Sequence[int]) -> str:
        """Returns why no config with these levels has the number; empty where one has."""
        import numpy as np

        here = (self._cells[:, list(term)] == levels).all(1)
        if not here.any():
            return "left out by --only" if self._selected else "not in the suite"
        if not np.isnan(self._values[here]).all():
            return ""
        configs = [self._configs.get(config_id) for config_id, own in zip(self.design.cells, here, strict=True) if own]
        if any(config and config.runs for config in configs):
            return "no time that counts" if self.question == "time" else "no accuracy"
        ended = [config.ended for config in configs if config and config.ended]
        return f"failed ({ended[0]})" if ended else "not run"


def _summary(found: Pairs, at: int) -> Summary | None:
    """Returns a mean with its interval; None where there is none."""
    n = int(found.seeds[at])
    if not n:
        return None
    over_seeds, of_images, rest = (float(part[at]) for part in (found.over_seeds, found.over_images, found.own))
    mean = float(found.difference[at])
    if math.isnan(over_seeds + of_images + found.p[at]):
        return Summary(mean, None, None, n)
    own = Summary(mean, None, None, n, of_images, found.images, over_seeds, float(found.freedom[at]), own=rest)
    return dataclasses.replace(own, ci95=own.half_width((1 - CONFIDENCE) / 2))


def _known(value: np.floating | float) -> float | None:
    return None if math.isnan(value) else float(value)
