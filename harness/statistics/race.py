"""A race between configs: which of them leave at a look, and whether it is over.

Each look spends a share of alpha that was fixed before the first run, and the shares add up to alpha, so no look can
find too much because there are several. At a look all pairs of those in the race are tested, paired by seed, each
two-sidedly at the share over the number of pairs. Those that are beaten leave, and the rest is tested again as a
smaller family: a config that is no longer in the race can beat no other, and what is said of it is said already.
docs/method.md has the error rates that this leaves, and what other rules need.

Sources: K. Kim, D. L. DeMets, Design and analysis of group sequential tests based on the type I error spending rate
function, Biometrika 74 (1987) 149, for the spending; P. R. Hansen, A. Lunde, J. M. Nason, The model confidence set,
Econometrica 79 (2011) 453, for those that leave in turn; R. L. Berger, Multiparameter hypothesis testing, Technometrics
24 (1982) 295, for what must hold at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.statistics.moderated import ALIKE, moderated_variances

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["best", "front", "fastest"]
Ending = Literal["decided", "equivalent", "budget spent"]
Why = Literal["worse", "better", "equivalent", "no value"]
METHOD = "all pairs, step-down, linear spending"
"""Is hashed into the id of a race: another rule is another race."""


@dataclass(frozen=True)
class Leaving:
    """A config that leaves.

    Attributes:
        config: its place.
        why: `worse` than another that was in the race; beside a config that was named beforehand also what else was
            decided of it; `no value` where no run of it has one.
        beside: the place of that other config; None where it has no value.
        p: of that, corrected over the family of the look: below the look's share of alpha.
    """

    config: int
    why: Why
    beside: int | None = None
    p: float | None = None


@dataclass(frozen=True)
class Decision:
    """What a look decides.

    Attributes:
        leaving: in the order in which they leave.
        staying: the places of the others.
        ended: None where the race goes on.
    """

    leaving: tuple[Leaving, ...]
    staying: tuple[int, ...]
    ended: Ending | None


def spending(looks: Sequence[int], alpha: float) -> tuple[float, ...]:
    """Returns the share of alpha that each look spends: in proportion to the seeds since the look before.

    Args:
        looks: seeds at each, growing.
    """
    spent = [alpha * look / looks[-1] for look in looks]
    return tuple(now - before for now, before in zip(spent, [0.0, *spent], strict=False))


def decide(
    kind: Kind,
    accuracy: np.ndarray,
    staying: Collection[int],
    alpha: float,
    *,
    margin: float | None = None,
    seconds: np.ndarray | None = None,
    against: int | None = None,
    last: bool = False,
) -> Decision:
    """Returns what a look decides.

    Args:
        kind: `best`: who is beaten in accuracy leaves. `front`: in accuracy and in time. `fastest`: who is less
            accurate than another by more than the margin leaves, and who is slower than one that is shown to be
            within the margin of all others.
        accuracy: [configs, seeds], of all configs, for those that left earlier tell of the noise; NaN where a value is
            missing; a run that diverged counts as 0.
        staying: places of the configs in the race before the look.
        alpha: what the look spends.
        margin: differences of accuracy below it do not matter; None: none is called equivalent.
        seconds: train times, as `accuracy`; NaN where they do not count. `best` needs none.
        against: the place of a config that all others are compared with, and only with that.
        last: whether this is the last look.
    """
    import numpy as np

    there = np.any(~np.isnan(accuracy), axis=1)
    left = [Leaving(one, "no value") for one in sorted(staying) if not there[one]]
    inside = np.array([one for one in sorted(staying) if there[one]], dtype=int)
    tests = PairTests(accuracy, inside, moderated=against is None)
    if against is not None:
        return _against(tests, left, against, alpha, margin, last)
    times = None if seconds is None else PairTests(-np.log(seconds), inside)
    beaten = _rule(kind, tests, times, margin)
    rest = np.arange(len(inside))
    while len(rest) > 1:
        p: Any = beaten(rest) * len(rest) * (len(rest) - 1)
        by = np.argmin(p, 0)
        least = p[by, np.arange(len(rest))]
        [out] = np.nonzero(least < alpha)
        if len(out) in (0, len(rest)):  # seeds that are missing can make a circle
            break
        found = sorted((float(least[one]), int(rest[one]), int(rest[by[one]])) for one in out)
        left += [Leaving(int(inside[one]), "worse", int(inside[other]), own) for own, one, other in found]
        rest = np.delete(rest, out)
    ended: Ending | None = None
    if len(rest) < 2:
        ended = "decided"
    elif margin is not None and kind != "fastest" and tests.beyond(margin, rest).max() < alpha:
        ended = "equivalent"
    elif kind == "front" and times and _front_is_known(tests, times, rest, margin, alpha):
        ended = "decided"
    elif last:
        ended = "budget spent"
    return Decision(tuple(left), tuple(int(one) for one in inside[rest]), ended)


class PairTests:
    """One-sided p-values of all pairs, [configs, configs]; 1 where nothing can be said or where it is
    above a half, and on the diagonal; of `beyond` 0 there.

    The same numbers as those of `harness.statistics.pairs`, by products of matrices: a look may have 500,000 pairs.
    """

    def __init__(self, values: np.ndarray, inside: np.ndarray, *, moderated: bool = True) -> None:
        import numpy as np

        variances, borrowed = moderated_variances(values) if moderated else (np.array([]), 0.0)
        self.inside, values = inside, values[inside]
        there = ~np.isnan(values)
        known = there.astype(float)
        seeds = known @ known.T
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(there, values, 0.0).sum(1) / known.sum(1)
            about = np.where(there, values - means[:, None], 0.0)
            sums, squares = about @ known.T, about**2 @ known.T
            shift = (sums - sums.T) / seeds
            self.difference = means[:, None] - means + shift
            both = squares + squares.T
            variance = (both - 2 * about @ about.T - seeds * shift**2) / (seeds - 1)
            variance = np.where(variance < np.maximum(ALIKE**2, 1e-14 * both), 0.0, variance) / seeds
            freedom = seeds - 1
            if borrowed:
                shared = (variances[inside][:, None] + variances[inside]) / seeds
                freedom = np.where(np.isnan(shared), freedom, freedom + borrowed)
                variance = np.where(shared > variance, shared, variance)
        self.variance = np.where(seeds > 1, variance, np.nan)
        self.freedom = freedom

    @functools.cached_property
    def better(self) -> np.ndarray:
        """Of one not being better than the other, [one, other]."""
        return self.better_by(0.0)

    def better_by(self, margin: float) -> np.ndarray:
        """Returns p of one not being better than the other by more than a margin, which may be negative."""
        return self._tail(lambda difference: difference - margin, slice(None))

    def beyond(self, margin: float, rest: np.ndarray) -> np.ndarray:
        """Returns p of a difference of the margin or more, of some: the larger one of two one-sided tests."""
        import numpy as np

        found = self._tail(lambda difference: margin - abs(difference), rest)
        np.fill_diagonal(found, 0.0)
        return found

    def _tail(self, distance: Callable[[Any], Any], rest: np.ndarray | slice) -> np.ndarray:
        import numpy as np
        from scipy.special import stdtr

        at = np.arange(len(self.inside))[rest]
        difference, variance, freedom = (
            part[np.ix_(at, at)] for part in (self.difference, self.variance, self.freedom)
        )
        far, found = distance(difference), np.ones(difference.shape)
        some = (far > 0) & (variance > 0)  # of the others it is a half or more, which nobody asks for
        found[some] = stdtr(freedom[some], -far[some] / np.sqrt(variance[some]))
        found[(variance == 0) & (far > 0) & (abs(difference) < ALIKE)] = 0.0
        np.fill_diagonal(found, 1.0)
        return found


def _rule(
    kind: Kind, tests: PairTests, times: PairTests | None, margin: float | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what gives the p of the first not beating the second, [one, other], of those that are still there."""
    import numpy as np

    better = tests.better
    if kind == "best":
        return lambda rest: better[np.ix_(rest, rest)]
    assert times
    faster = times.better
    if kind == "front":
        dominates = np.maximum(better, faster)
        return lambda rest: dominates[np.ix_(rest, rest)]
    assert margin is not None
    beyond, within = tests.better_by(margin), tests.better_by(-margin)
    np.fill_diagonal(within, 0.0)

    def beats(rest: np.ndarray) -> np.ndarray:
        some = np.ix_(rest, rest)
        quicker = np.maximum(faster[some], within[some].max(1)[:, None])
        return np.minimum(1.0, 2 * np.minimum(beyond[some], quicker))  # two ways of being beaten

    return beats


def _front_is_known(tests: PairTests, times: PairTests, rest: np.ndarray, margin: float | None, alpha: float) -> bool:
    """Tells whether of each pair the one is more accurate and the other faster, or they are equivalent in accuracy."""
    import numpy as np

    some = np.ix_(rest, rest)
    either = np.maximum(tests.better[some], times.better[some].T)
    known = 2 * np.minimum(either, either.T)
    if margin is not None:
        known = np.minimum(known, tests.beyond(margin, rest))
    np.fill_diagonal(known, 0.0)
    return bool(known.max() < alpha)


def _against(
    tests: PairTests, left: list[Leaving], against: int, alpha: float, margin: float | None, last: bool
) -> Decision:
    """Compares with one config: Holm's method over those of which nothing was decided; they leave when something is."""
    import numpy as np

    inside = tests.inside.tolist()
    if against not in inside:
        return Decision(tuple(left), tuple(inside), "decided")  # there is nothing to compare with
    at = inside.index(against)
    p, beyond = tests.better, np.ones(len(inside))
    if margin is not None:
        beyond = tests.beyond(margin, np.arange(len(inside)))[at]
    others = [one for one in range(len(inside)) if one != at]
    while others:
        of: dict[Why, np.ndarray] = {
            "worse": 2 * p[at, others],
            "better": 2 * p[others, at],
            "equivalent": beyond[others],
        }
        found: list[tuple[float, int, Why]] = [
            (float(own[place]) * len(others), one, why)
            for why, own in of.items()
            for place, one in enumerate(others)
            if own[place] * len(others) < alpha
        ]
        if not found:
            break
        own, one, why = min(found)
        left.append(Leaving(inside[one], why, against, own))
        others.remove(one)
    staying = tuple(one for place, one in enumerate(inside) if place in {at, *others})
    return Decision(tuple(left), staying, "decided" if not others else "budget spent" if last else None)
