"""The Pareto front: what no other config beats in both accuracy and time."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Tells of each (accuracy, seconds) whether it is on the front.

    A point is beaten by one that is at least as good in both and better in one; so equal points stay together.
    """
    front = [False] * len(points)
    best_accuracy = float("-inf")
    best_seconds = float("nan")
    for index in sorted(range(len(points)), key=lambda at: (points[at][1], -points[at][0])):
        accuracy, seconds = points[index]
        if accuracy > best_accuracy or (accuracy == best_accuracy and seconds == best_seconds):
            front[index] = True
            best_accuracy, best_seconds = accuracy, seconds
    return front
