"""The accuracy on the class that is recognised least."""

from __future__ import annotations

from harness.metric import Predictions
from harness.registry import metric


@metric("worst_class_accuracy", unit="fraction", title="worst-class test accuracy", better="higher")
def worst_class_accuracy(test: Predictions) -> float:
    """Smallest share of the images of a class whose prediction is right, over the classes that have images."""
    images = test.confusion.sum(1)
    there = images > 0
    return (test.confusion.diagonal()[there] / images[there]).min()
