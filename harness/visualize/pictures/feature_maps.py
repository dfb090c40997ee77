"""What the channels of a layer compute of an image."""

from __future__ import annotations

from harness.parameters import NonNegativeInt
from harness.registry import picture
from harness.visualize.grid import as_rgb, draw_grid, scale_of
from harness.visualize.hooks import chosen_channels, chosen_layers, feature_maps_of, image_names, some
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained


@picture("feature_maps")
def feature_maps(
    run: Trained,
    *,
    layer: str | None = None,
    images: tuple[NonNegativeInt, ...] = (0,),
    channels: tuple[NonNegativeInt, ...] = (),
) -> list[Picture]:
    """The feature maps of a layer, a picture for each image, with the image as its first cell.

    As in report 1, figures 7 and 10, report 2, figures 8.2 and 8.3, and report 5, figure 9.

    Args:
        layer: its dotted name; the first and the last convolution by default
        images: their numbers in the test split
        channels: which of the layer's; all by default

    Raises:
        HarnessError: there is no such layer, image or channel.
    """
    inputs, classes = run.test_images(images)
    pixels, names = as_rgb(run.pixels(inputs)), image_names(run, images, classes)
    pictures: list[Picture] = []
    for path in chosen_layers(run, layer):
        maps = feature_maps_of(run, path, inputs)
        count, height, width = maps.shape[1:]
        wanted = chosen_channels(maps, path, channels, None, otherwise=count, all_up_to=count)
        for number, name, image, values in zip(images, names, pixels, maps, strict=True):
            scale = scale_of(values[wanted], f"activation of {path}")
            drawn = draw_grid(
                [image, *scale.colour(values[wanted])],
                title=f"Feature maps of {path} for test image {name}",
                subtitle=run.title,
                labels=["raw", *map(str, wanted)],
                scale=scale,
            )
            around = "red is positive, blue negative, white zero" if scale.low < 0 else "dark is zero, bright large"
            caption = (
                f"Test image {number} ({name.partition(': ')[2]}) and {some(wanted, count, 'feature maps')} "
                f"({height}x{width}) that {path} of {run.title} computes of it; {around}, on one scale from "
                f"{scale.low:.3g} to {scale.high:.3g} for all maps."
            )
            pictures.append(Picture(f"feature_maps {path} image {number}", caption, drawn))
    return pictures
