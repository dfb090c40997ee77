"""What every metric promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness.contracts.promise import Promise, require
from harness.metric import Declaration, Predictions
from harness.records.extra_metrics import number

MOST_SECONDS = 10.0

Compute = Callable[[Predictions], Any]


def promises(compute: Compute, declared: Declaration) -> Iterator[Promise]:
    """Yields what is promised of predictions of two and of ten classes, some without an image, and of many images."""
    for title, test in cases():
        yield f"it is one number, {title}", lambda test=test: is_a_number(compute, declared, test)
    yield "it is the same again", lambda: is_the_same_again(compute, declared)
    yield f"right predictions are not worse: {declared.better} is better", lambda: right_is_not_worse(compute, declared)
    yield f"50,000 images of 1,000 classes take less than {MOST_SECONDS:g} s", lambda: is_soon_there(compute)


def drawn(images: int, num_classes: int, *, right: float = 0.5) -> Predictions:
    """Returns predictions of which about a share `right` is right, the same each time; each class has an image."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(images) % num_classes)
    others = random.integers(0, num_classes, images)
    return Predictions.of(labels, np.where(random.random(images) < right, labels, others), num_classes)


def cases() -> Iterator[tuple[str, Predictions]]:
    """Yields predictions as networks make them: good ones, and those of a network that has collapsed."""
    usual = drawn(200, 10)
    yield "of ten classes", usual
    yield "of two classes", drawn(50, 2)
    yield "where all are right", Predictions.of(usual.labels, usual.labels, 10)
    yield "where none is right", Predictions.of(usual.labels, (usual.labels + 1) % 10, 10)
    yield "where one class is predicted throughout", Predictions.of(usual.labels, 0 * usual.labels, 10)
    yield "where a class has no image and is not predicted", Predictions.of(usual.labels, usual.predictions, 11)
    yield "of one image", Predictions.of(np.array([1]), np.array([0]), 2)


def is_a_number(compute: Compute, declared: Declaration, test: Predictions) -> float:
    """Its value is one finite number, in the range of its unit."""
    value, problem = number(declared, compute(test))
    require(not problem, f"it returns {problem}")
    return value


def is_the_same_again(compute: Compute, declared: Declaration) -> None:
    """It has no state, and draws nothing at random."""
    first, other = drawn(200, 10), drawn(100, 10, right=0.9)
    found = [is_a_number(compute, declared, test) for test in (first, other, first)]
    require(found[0] == found[2], f"of the same predictions it is {found[0]:g} first and {found[2]:g} later")


def right_is_not_worse(compute: Compute, declared: Declaration) -> None:
    """Where all predictions are right, its value is no worse than where a tenth is, as it says which is better."""
    right = is_a_number(compute, declared, drawn(200, 10, right=1.0))
    wrong = is_a_number(compute, declared, drawn(200, 10, right=0.0))
    better = right >= wrong if declared.better == "higher" else right <= wrong
    require(better, f"it is {right:g} where all are right, {wrong:g} where a tenth is, and {declared.better} is better")


def is_soon_there(compute: Compute) -> None:
    """All ranks of a run wait for it."""
    test = drawn(50_000, 1_000)
    began = time.thread_time()
    compute(test)
    seconds = time.thread_time() - began
    require(seconds < MOST_SECONDS, f"it takes {seconds:.0f} s")
