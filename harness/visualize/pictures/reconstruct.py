"""What of an image a feature map has seen, in pixel space."""

from __future__ import annotations

from typing import Literal

from harness.parameters import NonNegativeInt, PositiveInt
from harness.registry import picture
from harness.visualize.grid import around_grey, as_rgb, draw_grid
from harness.visualize.hooks import chosen_channels, chosen_layers, feature_maps_of, image_names, some
from harness.visualize.picture import Picture
from harness.visualize.project import NAMES, project
from harness.visualize.trained import Trained

ALL_UP_TO = 64  # channels of a layer that are drawn without being asked for; of more, the strongest OTHERWISE
OTHERWISE = 16
BESIDE_UP_TO = 8  # so many channels of several images stand in one picture
COLUMNS_UP_TO = 16


@picture("reconstruct")
def reconstruct(
    run: Trained,
    *,
    layer: str | None = None,
    images: tuple[NonNegativeInt, ...] = (0,),
    channels: tuple[NonNegativeInt, ...] = (),
    strongest: PositiveInt | None = None,
    method: Literal["deconvnet", "guided"] = "deconvnet",
    start: Literal["map", "maximum"] = "map",
) -> list[Picture]:
    """Images reconstructed from single feature maps, as in report 1, figures 8 to 10.

    A picture for each image; of up to 8 channels and several images, one picture with a column for each image.

    Args:
        layer: its dotted name; the first and the last convolution by default
        images: their numbers in the test split
        channels: which feature maps; by default all of up to 64, the 16 strongest of more
        strongest: the channels of largest mean activation over these images, so many, instead of `channels`
        method: 'deconvnet' (arXiv 1311.2901) or 'guided' backpropagation (arXiv 1412.6806)
        start: from the whole feature map, or from its 'maximum' alone

    Raises:
        HarnessError: there is no such layer, image or channel, or the network has activations other than ReLU.
    """
    inputs, classes = run.test_images(images)
    pixels, names = as_rgb(run.pixels(inputs)), image_names(run, images, classes)
    pictures: list[Picture] = []
    for path in chosen_layers(run, layer):
        maps = feature_maps_of(run, path, inputs)
        wanted = chosen_channels(maps, path, channels, strongest, otherwise=OTHERWISE, all_up_to=ALL_UP_TO)
        found = around_grey(project(run, path, inputs, wanted, method, start))
        order = "" if channels or wanted == sorted(wanted) else ", the largest mean activation first,"
        caption = (
            f"with reconstructions by {NAMES[method]} from {some(wanted, maps.shape[1], 'feature maps')}{order} "
            f"of {path} of {run.title}{', from the largest activation of each map' if start == 'maximum' else ''}; "
            "mid grey is zero, and each reconstruction is scaled to its own largest magnitude."
        )
        file = f"reconstruct {method} {path}{' maximum' if start == 'maximum' else ''}"
        title = f"Reconstructions by {NAMES[method]} from {path}"
        if len(images) > 1 and len(wanted) <= BESIDE_UP_TO:
            for first in range(0, len(images), COLUMNS_UP_TO):
                part = slice(first, first + COLUMNS_UP_TO)
                shown, few = names[part], len(names[part]) <= BESIDE_UP_TO
                drawn = draw_grid(
                    [*pixels[part], *(cell for row in found[part].transpose(0, 1) for cell in row)],
                    title=title,
                    subtitle=run.title,
                    columns=len(shown),
                    column_labels=shown if few else [name.partition(":")[0] for name in shown],
                    row_labels=["image", *(f"channel {channel}" for channel in wanted)],
                )
                numbers = ", ".join(map(str, images[part]))
                words = f"Test images {numbers} (columns) {caption}"
                pictures.append(Picture(f"{file} images {numbers}", words, drawn))
            continue
        for number, name, image, cells in zip(images, names, pixels, found, strict=True):
            drawn = draw_grid(
                [image, *cells],
                title=f"{title} for test image {name}",
                subtitle=run.title,
                labels=["raw", *map(str, wanted)],
            )
            words = f"Test image {number} ({name.partition(': ')[2]}) {caption}"
            pictures.append(Picture(f"{file} image {number}", words, drawn))
    return pictures
