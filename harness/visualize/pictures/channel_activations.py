"""How strongly each channel of a layer answers to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.parameters import NonNegativeInt
from harness.registry import picture
from harness.visualize.hooks import chosen_layers, feature_maps_of, image_names, mean_activations
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT = 760, 300


@picture("channel_activations")
def channel_activations(
    run: Trained,
    *,
    layer: str | None = None,
    images: tuple[NonNegativeInt, ...] = (0,),
    labelled: NonNegativeInt = 3,
) -> list[Picture]:
    """The mean activation of every channel of a layer as columns, as in report 2, figure 8.4.

    Args:
        layer: its dotted name; the first and the last convolution by default
        images: their numbers in the test split, a picture each
        labelled: how many of the strongest channels bear their number

    Raises:
        HarnessError: there is no such layer or image.
    """
    inputs, classes = run.test_images(images)
    pictures: list[Picture] = []
    for path in chosen_layers(run, layer):
        maps = feature_maps_of(run, path, inputs)
        for number, name, values in zip(images, image_names(run, images, classes), maps, strict=True):
            means = mean_activations(values[None])
            strongest = int(means.argmax())
            title = f"Mean activation of the channels of {path} for test image {name}"
            caption = (
                f"Mean over the {values.shape[1]}x{values.shape[2]} positions of each of the {len(means)} feature maps "
                f"of {path} of {run.title}, for test image {number} ({name.partition(': ')[2]}); "
                f"the strongest is channel {strongest} with {float(means[strongest]):.3g}."
            )
            drawn = _columns(means, title, run.title, path, labelled)
            pictures.append(Picture(f"channel_activations {path} image {number}", caption, drawn))
    return pictures


def _columns(means: Tensor, title: str, subtitle: str, layer: str, labelled: int) -> altair.LayerChart:
    import altair

    from harness.report.charts.theme import MUTED, PALETTE
    from harness.visualize.charts import finished, table

    strong = set(means.topk(min(labelled, len(means))).indices.tolist())
    rows: list[dict[str, Any]] = [
        {"channel": channel, "left": channel - 0.42, "right": channel + 0.42, "mean": mean, "strong": channel in strong}
        for channel, mean in enumerate(means.tolist())
    ]
    low, high = min(0.0, float(means.min())), max(0.0, float(means.max()))
    room = 0.08 * (high - low) or 1.0
    across = altair.X("left:Q", title=f"channel of {layer}", axis=altair.Axis(grid=False, format="d", tickMinStep=1))
    across = across.scale(domain=[-1, len(means)], nice=False)
    up = altair.Y("mean:Q", title="mean activation").scale(domain=[low - (room if low < 0 else 0), high + room])
    base = altair.Chart(table(rows)).encode(y=up)
    columns = base.mark_bar().encode(
        x=across,
        x2="right:Q",
        y2=altair.datum(0),
        color=altair.condition("datum.strong", altair.value(PALETTE[0]), altair.value(MUTED)),
    )
    numbers = base.transform_filter("datum.strong").encode(x=altair.X("channel:Q"), text="channel:Q")
    above = numbers.transform_filter("datum.mean >= 0").mark_text(dy=-8, fontSize=13, fontWeight="bold")
    below = numbers.transform_filter("datum.mean < 0").mark_text(dy=9, fontSize=13, fontWeight="bold")
    chart = altair.LayerChart(layer=[columns, above, below], width=WIDTH, height=HEIGHT)
    return finished(chart, title, [subtitle])
