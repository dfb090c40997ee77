"""The mean of a number over seeds and over test images, both of which are samples: its interval and its p-value.

Other seeds give other networks, other images another accuracy. So the variance of the mean over n seeds and m images is
s²_seed / n + s²_image / m + s²_rest / (n m): of the seeds, of what an image contributes in every seed, and of what one
network does on one image. The variance that is measured between the seeds is that of the first and the last together,
so s²_image is taken without the last: as the covariance, over the images, of two different seeds.

Half of the interval is the root of the sum of squares of t(n - 1) s_seed / √n and t(m - 1) s_image / √m: each part has
the quantile of its own degrees of freedom. Few seeds that agree by luck leave at least t(m - 1) s_rest / √(n m).
Satterthwaite's degrees of freedom for the sum look like the obvious choice,
and are wrong here: where few seeds agree by luck, they turn three seeds into hundreds of degrees of freedom, and among
the comparisons of a table, tails are ten times as heavy as they promise (docs/method.md).

Sources: A. B. Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007) 386, for seeds and images crossed; W. G. Howe,
Approximate confidence limits on the mean of X + Y, J. Am. Stat. Assoc. 69 (1974) 789, for the interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

FARTHEST = 37.0  # in normal deviations: a tail of 1e-300
MOST_STEPS = 30  # Newton's method takes two to five


class ImageNoise(NamedTuple):
    """What other test images would change in the difference of each pair of configs; arrays [configs, configs].

    Attributes:
        shared: s²_image / m, of what the seeds have in common; NaN for a pair that was tested on different images.
        own: s²_rest / (n m), of what each network does by itself, which the variance between the seeds holds already.
        images: m.
    """

    shared: np.ndarray
    own: np.ndarray
    images: int


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
        error = np.sqrt(of_seeds + of_images)
        found = np.where(error == 0, 0.0, stdtr(df, -far / error))
        crossed = (of_images > 0) & (of_seeds >= 0) & (df > 0) & ~np.isnan(far)
        if crossed.any():
            parts = (far[crossed], of_seeds[crossed], df[crossed], of_images[crossed])
            found[crossed] = _crossed_tail(*parts, np.array(last))
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


def image_noise(right: np.ndarray, there: np.ndarray | None = None) -> ImageNoise:
    """Returns the noise of the test images, by which image was recognised by which network.

    What an image contributes in two different seeds has a covariance: that is of the image. The rest of the variance
    between the images is of the networks. Of two configs with different seeds, all of it is taken for the image's.

    Args:
        right: whether it was recognised, [configs, seeds, images].
        there: which runs there are, [configs, seeds]; by default all.
    """
    import numpy as np

    configs, _, images = right.shape
    there = np.ones(right.shape[:2], bool) if there is None else there
    seeds, chance = np.maximum(there.sum(1), 1), right.mean(2, keepdims=True, dtype=np.float32)
    of_mean, of_each = np.zeros((2, configs, configs))
    step = max(1, 2**23 // there.size)
    for start in range(0, images, step):
        part = (right[:, :, start : start + step] - chance) * there[:, :, None]
        of_mean += _gram(part.sum(1) / seeds[:, None].astype(np.float32))
        of_each += _gram(part.reshape(configs, -1))
    of_mean, of_each = (_of_differences(gram) / (images - 1) for gram in (of_mean, of_each / seeds[:, None] ** 2))
    same = (there[:, None] == there).all(2) & (seeds > 1)
    of_images = np.maximum(of_mean - of_each, 0.0) * seeds / np.maximum(seeds - 1, 1)
    shared = np.where(same, np.minimum(of_images, of_mean), of_mean)
    return ImageNoise(shared / images, (of_mean - shared) / images, images)


def _gram(rows: np.ndarray) -> np.ndarray:
    return rows @ rows.T


def _of_differences(gram: np.ndarray) -> np.ndarray:
    """Returns the sum of the squares of the difference of each pair of rows, from their products."""
    import numpy as np

    own = np.diag(gram)
    return np.maximum(own[:, None] + own - 2 * gram, 0.0)


def largest_image_noise(accuracies: np.ndarray, images: int) -> ImageNoise:
    """Returns what `image_noise` is at most, where predictions were not kept.

    That of networks whose errors have nothing to do with each other: those of networks that learn from the same images
    fall on the same test images more often than that.

    Args:
        accuracies: [configs].
    """
    import numpy as np

    own = np.asarray(accuracies) * (1 - np.asarray(accuracies))
    found = (own[:, None] + own) / max(images, 1)
    np.fill_diagonal(found, 0.0)
    return ImageNoise(found, np.zeros_like(found), images)
