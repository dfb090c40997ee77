"""Would these very networks differ on other test images? It is no verdict on the configs: other seeds are not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.results.answers import Pair
from harness.statistics.intervals import Summary, chance_above, summarise

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Networks:
    """Two sets of networks on the same test images; or why they were not compared.

    Attributes:
        difference: the share of A's networks that recognise an image minus that of B's, averaged over the images.
        p: of no difference, two-sided; None where there is no test.
        seeds: how many networks each set has.
        images: how many there are.
    """

    difference: Summary | None = None
    p: float | None = None
    seeds: int = 0
    images: int = 0
    reason: str = ""
    hint: str = ""


def compare_networks(pairs: Sequence[Pair]) -> Networks:
    """Compares the networks of A with those of B by the stored predictions of the seeds that both have.

    What keeps it from being made stands in the result.
    """
    try:
        return over_images([_difference(pair) for pair in pairs])
    except HarnessError as error:
        return Networks(reason=error.message, hint=error.hint)


def over_images(differences: Sequence[np.ndarray]) -> Networks:
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
    above = chance_above(summary)
    p = float(summary.mean == 0) if above is None else 2 * min(above, 1 - above)
    return Networks(summary, p, len(differences), len(averaged))


def _difference(pair: Pair) -> np.ndarray:
    """Returns what A's network recognised minus what B's did, of each image."""
    a, b = pair.a.outcomes(), pair.b.outcomes()
    count, samples = len(a.correct), pair.a.images.samples
    if count != len(b.correct):
        message = f"the predictions of seed {pair.seed} are of {count:,} and of {len(b.correct):,} test images"
        raise HarnessError(message, "compare configs with the same test images")
    if count != samples:
        message = f"stored predictions of seed {pair.seed}: {count:,}, of {samples:,} test images"
        raise HarnessError(message, "run it again, or restore its predictions.npz")
    if a.labels_sha256 != b.labels_sha256:
        message = f"the predictions of seed {pair.seed} are of test images with other labels, or in another order"
        raise HarnessError(message, "run one of them again")
    return a.correct.astype(float) - b.correct
