"""Would these very networks differ on other test images? It is no verdict on the configs: other seeds are not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.results.answers import Pair
from harness.results.outcomes import Outcomes
from harness.statistics.intervals import Summary, chance_above, summarise

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class OnImages:
    """Two sets of networks on the same test images; or why they were not compared.

    Attributes:
        difference: the share of A's networks that recognise an image minus that of B's, averaged over the images.
        p: of no difference, two-sided; None where there is no test.
        seeds: how many networks each set has.
        images: how many there are.
    """

    difference: Summary | None
    p: float | None
    seeds: int = 0
    images: int = 0
    reason: str = ""
    hint: str = ""


def on_images(pairs: Sequence[Pair]) -> OnImages:
    """Compares the networks of A with those of B by the stored predictions of the seeds that both have.

    What keeps it from being made stands in the result.
    """
    try:
        return over_images([_difference(pair) for pair in pairs])
    except HarnessError as error:
        return OnImages(None, None, reason=error.message, hint=error.hint)


def over_images(differences: Sequence[np.ndarray]) -> OnImages:
    """Tests the mean difference of an image over the seeds, with the images as the sample; its power grows with the
    seeds. With one seed it is McNemar's test but for the reference distribution.

    Source: Q. McNemar, Psychometrika 12 (1947) 153; T. G. Dietterich, Neural Computation 10 (1998) 1895.

    Args:
        differences: of each seed what A's network recognised minus what B's did, [images].
    """
    import numpy as np

    averaged = np.mean(differences, axis=0)
    summary = summarise(averaged.tolist())
    assert summary
    return OnImages(summary, _p(summary), len(differences), len(averaged))


def _p(summary: Summary) -> float:
    above = chance_above(summary)
    if above is None:
        return 1.0 if summary.mean == 0 else 0.0
    return 2 * min(above, 1 - above)


def _difference(pair: Pair) -> np.ndarray:
    """Returns what A's network recognised minus what B's did, of each image."""
    a, b = pair.a.outcomes(), pair.b.outcomes()
    if len(a.correct) != len(b.correct):
        message = f"the predictions of seed {pair.seed} are of {len(a.correct):,} and of {len(b.correct):,} test images"
        raise HarnessError(message, "compare configs with the same test images")
    _require_own(a, pair.a.images.samples, pair.seed)
    if a.labels_sha256 != b.labels_sha256:
        message = f"the predictions of seed {pair.seed} are of test images with other labels, or in another order"
        raise HarnessError(message, "run one of them again")
    return a.correct.astype(float) - b.correct


def _require_own(outcomes: Outcomes, samples: int, seed: int) -> None:
    if len(outcomes.correct) != samples:
        message = f"stored predictions of seed {seed}: {len(outcomes.correct):,}, of {samples:,} test images"
        raise HarnessError(message, "run it again, or restore its predictions.npz")
