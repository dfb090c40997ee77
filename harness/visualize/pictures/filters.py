"""The weights of a convolution as images."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import HarnessError
from harness.parameters import NonNegativeInt
from harness.registry import picture
from harness.visualize.grid import draw_grid, symmetric_scale
from harness.visualize.hooks import some
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

UP_TO = 3  # input channels that are drawn without being asked for


@picture("filters")
def filters(
    run: Trained,
    *,
    layer: str | None = None,
    channels: tuple[NonNegativeInt, ...] = (),
    output_channels: tuple[NonNegativeInt, ...] = (),
) -> list[Picture]:
    """The filters of a convolution by input channel, as in report 1, figure 6, and in colour where images have three.

    All pictures of a layer share one scale, symmetric around zero.

    Args:
        layer: the convolution's dotted name; the first one by default
        channels: input channels, a picture each; by default all of up to three, the first three of more
        output_channels: which filters, by the channel that each computes; all by default

    Raises:
        HarnessError: there is no such convolution or channel.
    """
    name, convolution = run.convolution(layer)
    weight = convolution.weight.detach()
    wanted = _known(output_channels or range(weight.shape[0]), weight.shape[0], name, "output channel")
    inputs = _known(channels or range(min(UP_TO, weight.shape[1])), weight.shape[1], name, "input channel")

    height, width = weight.shape[2:]
    scale = symmetric_scale(weight, "weight")
    labels = [str(number) for number in wanted]
    what = f"{some(wanted, weight.shape[0], 'filters')} ({height}x{width}) of {name} of {run.title}"
    pictures: list[Picture] = []
    for channel in inputs:
        of = f"input channel {channel}{' of its group' if convolution.groups > 1 else ''}"
        drawn = draw_grid(
            list(scale.colour(weight[wanted, channel])),
            title=f"Weights of {name} for {of}",
            subtitle=run.title,
            labels=labels,
            scale=scale,
        )
        caption = (
            f"Weights for {of} (it has {weight.shape[1]}) in {what}: red is positive, blue negative, white zero, "
            f"on one scale of ±{scale.high:.3g} for all input channels."
        )
        pictures.append(Picture(f"filters {name} channel {channel}", caption, drawn))
    if weight.shape[1] == 3 and run.image_shape.channels == 3 and inputs == [0, 1, 2]:
        colours = (0.5 + 0.5 * weight / (scale.high or 1.0))[wanted]
        drawn = draw_grid(list(colours), title=f"Filters of {name} in colour", subtitle=run.title, labels=labels)
        caption = (
            f"Weights for the three input channels as red, green and blue in {what}: mid grey is zero, "
            f"a colour at its darkest and brightest is ±{scale.high:.3g} for all filters."
        )
        pictures.append(Picture(f"filters {name} colour", caption, drawn))
    return pictures


def _known(numbers: Iterable[int], count: int, layer: str, what: str) -> list[int]:
    known = list(numbers)
    for number in known:
        if number >= count:
            raise HarnessError(f"{layer} has no {what} {number}", f"it has {count}: 0 to {count - 1}")
    return known
