"""The test images that a trained network gets wrong with the greatest confidence."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.errors import HarnessError
from harness.parameters import PositiveInt
from harness.registry import picture
from harness.report.texts import one_line, shortened
from harness.visualize.grid import as_rgb, draw_grid
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

BATCH = 250
MOST_COLUMNS = 4  # so that both classes stand above an image
LONGEST_NAME = 11


@dataclass(frozen=True)
class Mistake:
    """A test image by its number, its label, what was predicted instead, and with what probability."""

    number: int
    label: int
    prediction: int
    probability: float


@picture("mistakes")
def mistakes(run: Trained, *, count: PositiveInt = 16) -> list[Picture]:
    """The most confident mistakes: test images with their true class, the predicted one, and its probability.

    Args:
        count: images; fewer where the network makes fewer mistakes

    Raises:
        HarnessError: the network makes no mistake on the test split.
    """
    found = most_confident(run)
    shown = found[:count]
    if not shown:
        message = f"{run.title} makes no mistake on its {len(run.splits.test.labels)} test images"
        raise HarnessError(message, "choose another run; --what confusion shows what it gets right")
    images, _ = run.test_images([each.number for each in shown])
    names = [shortened(one_line(name), LONGEST_NAME) for name in run.splits.class_names]
    drawn = draw_grid(
        list(as_rgb(run.pixels(images))),
        title="Most confident mistakes: true class > predicted class, probability",
        subtitle=f"{run.title}; {len(shown)} of {len(found)} mistakes on {len(run.splits.test.labels)} test images",
        columns=min(MOST_COLUMNS, len(shown)),
        labels=[f"{names[each.label]} > {names[each.prediction]}, {_percent(each.probability)}" for each in shown],
    )
    total = len(run.splits.test.labels)
    numbers = ", ".join(str(each.number) for each in shown)
    caption = (
        f"The {len(shown)} most confident of {len(found)} mistakes of {run.title} on {total} test images: "
        f" true class, predicted class and its probability (softmax). Test images {numbers}."
    )
    return [Picture("mistakes", caption, drawn)]


@torch.no_grad()
def most_confident(run: Trained) -> list[Mistake]:
    """Returns all mistakes on the test split, by the probability of the prediction, the greatest first."""
    total = len(run.splits.test.labels)
    found: list[Mistake] = []
    for start in range(0, total, BATCH):
        numbers = range(start, min(start + BATCH, total))
        images, labels = run.test_images(numbers)
        probabilities, predictions = run.network(images).softmax(1).max(1)
        for place in (predictions != labels).nonzero().flatten().tolist():
            prediction, probability = int(predictions[place]), float(probabilities[place])
            found.append(Mistake(numbers[place], int(labels[place]), prediction, probability))
    return sorted(found, key=lambda mistake: -mistake.probability)


def _percent(probability: float) -> str:
    """Returns a probability with whole percents; one that rounds to 100 with more digits, for none of them is 1."""
    return f"{probability:.0%}" if probability < 0.995 else f"{min(probability, 0.9999):.2%}"
