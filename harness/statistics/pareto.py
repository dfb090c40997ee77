"""The Pareto front: what no other config beats in both accuracy and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Tells of each (accuracy, cost) whether it is on the front.

    A point is beaten by one that is at least as good in both and better in one; so equal points stay together.
    """
    front = [False] * len(points)
    best_accuracy = float("-inf")
    best_cost = float("nan")
    for index in sorted(range(len(points)), key=lambda at: (points[at][1], -points[at][0])):
        accuracy, cost = points[index]
        if accuracy > best_accuracy or (accuracy == best_accuracy and cost == best_cost):
            front[index] = True
            best_accuracy, best_cost = accuracy, cost
    return front


def pareto_fronts(accuracy: numpy.ndarray, cost: numpy.ndarray) -> numpy.ndarray:
    """Does the same for many samples at once.

    Args:
        accuracy, cost: [samples, configs].

    Returns:
        Whether each config is on the front of each sample, [samples, configs].
    """
    import numpy

    order = numpy.argsort(cost, axis=1)
    paid = numpy.take_along_axis(cost, order, axis=1)
    if (paid[:, 1:] == paid[:, :-1]).any():  # else it need not be sorted by both, which takes longer
        order = numpy.lexsort((-accuracy, cost), axis=1)
    accuracy, cost = (numpy.take_along_axis(values, order, axis=1) for values in (accuracy, cost))
    best = numpy.maximum.accumulate(accuracy, axis=1)
    ahead = numpy.full_like(accuracy, True, dtype=bool)
    ahead[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    twin = numpy.zeros_like(ahead)
    twin[:, 1:] = (accuracy[:, 1:] == accuracy[:, :-1]) & (cost[:, 1:] == cost[:, :-1])
    first = numpy.maximum.accumulate(numpy.where(twin, 0, numpy.arange(accuracy.shape[1])), axis=1)
    ahead = numpy.take_along_axis(ahead, first, axis=1)  # twins share the lot of the first of them
    front = numpy.empty_like(ahead)
    numpy.put_along_axis(front, order, ahead, axis=1)
    return front
