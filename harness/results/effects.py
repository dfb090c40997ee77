"""What the factors of a suite do to accuracy and train time on one system, and why an effect has no number."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.results.answers import Question, chosen_runs, values_of
from harness.results.factors import Design
from harness.results.measured import MeasuredConfig
from harness.statistics.designs import Term, term_name, untold
from harness.statistics.effects import Contrast, contrasts_of, estimate
from harness.statistics.intervals import Summary
from harness.statistics.pairs import Verdict, holm, verdict_of

if TYPE_CHECKING:
    import numpy as np

TOO_LARGE = "too many levels"
NO_RESULT = "no result"
NO_SEED = "no seed has all its configs"
MISSING = MeasuredConfig("", "", "", ())


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
        runs = chosen_runs([configs.get(one, MISSING) for one in design.cells], question)
        self._values, noise, kept = values_of(runs, question)
        self.seeds, self.images, self.predictions_kept = self._values.shape[1], 0, True
        largest = None
        if noise:
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
        # Of times the logarithm of a ratio is told, which is the larger the slower.
        sign = 1 if self.question == "accuracy" else -1
        means = zip(found.difference.tolist(), found.seeds.tolist(), strict=True)
        told = [Summary(sign * mean, None, None, seeds) if seeds else None for mean, seeds in means]
        return [
            Effect(
                summary=own if own is None or np.isnan(found.p[at]) else found.noise_of(own, at),
                p=_known(found.p[at]),
                p_corrected=_known(p[at]),
                p_beyond=_known(beyond[at]),
                verdict=verdict_of(found.difference[at], p[at], beyond[at]),
                state="ok" if own else self._why_not(contrast),
            )
            for at, (contrast, own) in enumerate(zip(self.contrasts, told, strict=True))
        ]

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
        names, terms = [factor.name for factor in factors], list(dict.fromkeys(one.term for one in self.contrasts))
        aliased = untold(list(self.design.cells.values()), self.design.levels, terms).get(term)
        return f"aliased with {', '.join(term_name(other, names) for other in aliased)}" if aliased else NO_SEED

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


def _known(value: np.floating | float) -> float | None:
    return None if math.isnan(value) else float(value)
