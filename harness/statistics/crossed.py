"""The mean of a number over seeds and over test images, both of which are samples: its interval and its p-value.

Other seeds give other networks, other images another accuracy. So the variance of the mean over n seeds and m images is
s²_seed / n + s²_image / m, where s²_seed is the variance between the seeds, and s²_image that between the images of
what an image contributes on average over the seeds. What neither seed nor image explains is in both terms, which errs
on the safe side.

Half of the interval is the root of the sum of squares of t(n - 1) s_seed / √n and t(m - 1) s_image / √m: each part has
the quantile of its own degrees of freedom. Satterthwaite's degrees of freedom for the sum look like the obvious choice,
and are wrong here: where few seeds agree by luck, they turn three seeds into hundreds of degrees of freedom, and among
the comparisons of a table, tails are ten times as heavy as they promise (docs/method.md).

Sources: A. B. Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007) 386, for seeds and images crossed; W. G. Howe,
Approximate confidence limits on the mean of X + Y, J. Am. Stat. Assoc. 69 (1974) 789, for the interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FARTHEST = 37.0  # in normal deviations: a tail of 1e-300
MOST_STEPS = 30  # Newton's method takes two to five


def half_width(
    tail: Any, over_seeds: Any, freedom: Any, over_images: Any = 0.0, images: int = 0, own: Any = 0.0
) -> Any:
    """Returns half of the interval that leaves out `tail` at each end; numbers or arrays.

    Args:
        over_seeds: s²_seed / n.
        freedom: degrees of freedom of s²_seed, n - 1 or more.
        over_images: s²_image / m; 0 for what is not measured on images.
        images: m.
        own: s²_rest / (n m).
    """
    import numpy as np
    from scipy.special import stdtrit

    of_seeds = stdtrit(freedom, tail) ** 2 * over_seeds
    if not (np.any(over_images) or np.any(own)):
        return np.sqrt(of_seeds)
    of_image = stdtrit(float(max(images - 1, 1)), tail) ** 2
    return np.sqrt(np.maximum(of_seeds, of_image * own) + of_image * over_images)


def tail_beyond(
    distance: Any, over_seeds: Any, freedom: Any, over_images: Any = 0.0, images: int = 0, own: Any = 0.0
) -> np.ndarray:
    """Returns the `tail` whose interval reaches just so far: the one-sided p-value; numbers or arrays.

    Args:
        distance: of the mean from what it is tested against, positive in the direction of the test.
    """
    import numpy as np
    from scipy.special import stdtr

    given = (np.abs(distance), over_seeds, freedom, over_images, own)
    far, of_seeds, df, of_images, own = np.broadcast_arrays(*(np.asarray(part, float) for part in given))
    last = float(max(images - 1, 1))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found = np.array(stdtr(df, -far / np.sqrt(of_seeds + of_images)))
        crossed = (of_images > 0) & (of_seeds >= 0) & (df > 0) & ~np.isnan(far)
        if crossed.any():
            found[crossed] = _crossed_tail(*(part[crossed] for part in (far, of_seeds, df, of_images)), np.array(last))
        if own.any():
            found = np.maximum(found, stdtr(last, -far / np.sqrt(of_images + own)))
    return np.where(np.asarray(distance) > 0, found, 1 - found)


def _crossed_tail(
    far: np.ndarray, of_seeds: np.ndarray, df: np.ndarray, of_images: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """Returns `tail_beyond` of both parts, by Newton's method on the square of the interval, which is convex in z.

    z is the quantile of the normal distribution, which has digits where tails have none. Each part alone bounds it.
    """
    import numpy as np
    from scipy.special import gammaln, ndtr, ndtri, stdtr, stdtrit

    by_seeds = np.where(of_seeds > 0, stdtr(df, -far / np.sqrt(of_seeds)), 0.0)
    z = np.minimum(-ndtri(np.maximum(by_seeds, stdtr(last, -far / np.sqrt(of_images)))), FARTHEST)
    parts = [
        (part, n, gammaln((n + 1) / 2) - gammaln(n / 2) - np.log(n * np.pi) / 2)
        for part, n in ((of_seeds, df), (of_images, last))
    ]
    for _ in range(MOST_STEPS):
        tail, log_normal = ndtr(-z), -(z**2) / 2 - np.log(2 * np.pi) / 2
        excess, slope = -(far**2), np.zeros_like(z)
        for part, n, scale in parts:
            quantile = -stdtrit(n, tail)
            log_density = scale - (n + 1) / 2 * np.log1p(quantile**2 / n)
            excess += part * quantile**2
            slope += 2 * part * quantile * np.exp(log_normal - log_density)
        step = np.where(slope > 0, excess / slope, 0.0)
        z = np.minimum(z - step, FARTHEST)
        if np.all(np.abs(step) <= 1e-6 * z):  # squared by the next step
            break
    return ndtr(-z)
