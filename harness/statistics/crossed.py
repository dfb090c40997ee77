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


def half_width(tail: Any, over_seeds: Any, freedom: Any, over_images: Any = 0.0, images: int = 0) -> Any:
    """Returns half of the interval that leaves out `tail` at each end; numbers or arrays.

    Args:
        over_seeds: s²_seed / n.
        freedom: degrees of freedom of s²_seed, n - 1 or more.
        over_images: s²_image / m; 0 for what is not measured on images.
        images: m.
    """
    import numpy as np
    from scipy.special import stdtrit

    of_seeds = stdtrit(freedom, tail) ** 2 * over_seeds
    if not np.any(over_images):
        return np.sqrt(of_seeds)
    return np.sqrt(of_seeds + stdtrit(float(max(images - 1, 1)), tail) ** 2 * over_images)


def tail_beyond(distance: Any, over_seeds: Any, freedom: Any, over_images: Any = 0.0, images: int = 0) -> np.ndarray:
    """Returns the `tail` whose interval reaches just so far: the one-sided p-value; numbers or arrays.

    Args:
        distance: of the mean from what it is tested against, positive in the direction of the test.
    """
    import numpy as np
    from scipy.special import ndtr, stdtr

    parts = (distance, over_seeds, freedom, over_images)
    far, of_seeds, df, of_images = np.broadcast_arrays(*(np.asarray(part, float) for part in parts))
    error = np.sqrt(of_seeds + of_images)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.asarray(stdtr(df, -far / error))
    crossed = (of_images > 0) & (error > 0) & (df > 0)
    if not crossed.any():
        return found
    from scipy.optimize import elementwise  # half a second to import

    far, of_seeds, df, of_images, error = (part[crossed] for part in (far, of_seeds, df, of_images, error))

    def beyond(z: np.ndarray, far: np.ndarray, of_seeds: np.ndarray, df: np.ndarray, of_images: np.ndarray) -> Any:
        return half_width(ndtr(-z), of_seeds, df, of_images, images) - far

    # By the normal distribution's quantile z, which has digits where tails have none; Student's are no smaller.
    most = np.minimum(np.abs(far) / error + 1e-9, FARTHEST)
    with np.errstate(over="ignore", invalid="ignore"):
        root = elementwise.find_root(beyond, (np.zeros_like(most), most), args=(np.abs(far), of_seeds, df, of_images))
    z = np.where(np.isnan(root.x), np.inf, root.x)  # beyond the farthest
    found = found.copy()
    found[crossed] = np.where(far > 0, ndtr(-z), ndtr(z))
    return found
