"""The image that excites a channel most."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.parameters import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from harness.registry import picture
from harness.visualize.grid import as_rgb, draw_grid
from harness.visualize.hooks import chosen_channels, chosen_layers, feature_maps_of, output_of, some
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

OTHERWISE = 8  # channels that are drawn without being asked for


@picture("maximize")
def maximize(
    run: Trained,
    *,
    layer: str | None = None,
    channels: tuple[NonNegativeInt, ...] = (),
    strongest: PositiveInt | None = None,
    images: tuple[NonNegativeInt, ...] = (0,),
    steps: PositiveInt = 30,
    lr: PositiveFloat = 0.1,
    noise: NonNegativeFloat = 0.1,
    smooth: NonNegativeFloat = 0.0,
    objective: Literal["mean", "centre"] = "mean",
) -> list[Picture]:
    """Patterns that raise the activation of a channel, found from noise, as in report 2, figure 8.5.

    Activation maximisation (Erhan et al., 2009): Adam changes the image, not the weights; steps and learning rate are
    those of report 2's code. Here the pixels stay in their valid range, so that the activation reached is that of the
    pattern that is seen.

    Args:
        layer: its dotted name; the first and the last convolution by default
        channels: of the layer; by default the 8 strongest for `images`
        strongest: the channels of largest mean activation for `images`, so many, instead of `channels`
        images: numbers in the test split; they only tell which channels are strong
        steps: of Adam
        lr: Adam's learning rate, for the normalised image
        noise: the start is uniform noise, mid grey plus or minus this share of the range of pixels (at most 0.5)
        smooth: weight of the mean difference of neighbouring pixels, which is subtracted from the activation
        objective: the mean over the channel's map (report 2), or its position at the 'centre'

    Raises:
        HarnessError: there is no such layer, channel or image, or the noise is too large.
    """
    if noise > 0.5:
        raise HarnessError(f"noise of {noise:g} around mid grey leaves the range of pixels", "--set noise: 0 to 0.5")
    inputs, _ = run.test_images(images)
    pictures: list[Picture] = []
    for path in chosen_layers(run, layer):
        maps = feature_maps_of(run, path, inputs)
        wanted = chosen_channels(maps, path, channels, strongest, otherwise=OTHERWISE, all_up_to=0)
        grey = torch.rand(inputs.shape[1:], generator=torch.Generator().manual_seed(0)) - 0.5
        start = (0.5 + 2 * noise * grey).expand(len(wanted), -1, -1, -1)
        patterns, before, after = climb(
            run, path, wanted, start, steps=steps, lr=lr, smooth=smooth, objective=objective
        )
        stuck = [str(channel) for channel, low, high in zip(wanted, before, after, strict=True) if low == high]
        same = ", ".join(stuck)
        reached = zip(wanted, before.tolist(), after.tolist(), strict=True)
        listed = ", ".join(f"{channel}: {low:.3g} to {high:.3g}" for channel, low, high in reached)
        measure = "mean activation" if objective == "mean" else "activation at the centre"
        drawn = draw_grid(
            list(as_rgb(patterns)),
            title=f"Patterns that excite channels of {path}",
            subtitle=f"{run.title}; number of the channel, and the {measure} reached",
            labels=[f"{channel} ({high:.3g})" for channel, high in zip(wanted, after.tolist(), strict=True)],
        )
        caption = (
            f"Patterns from noise that raise the {measure} of {some(wanted, maps.shape[1], 'channels')} of "
            f"{path} of {run.title}: {steps} steps of Adam with learning rate {lr:g}"
            f"{f', smoothed with weight {smooth:g}' if smooth else ''}; {measure} before and after: {listed}"
            f"{f'; without a gradient at this noise, unchanged: {same}' if stuck else ''}."
        )
        pictures.append(Picture(f"maximize {path}{' centre' if objective == 'centre' else ''}", caption, drawn))
    return pictures


def climb(
    run: Trained,
    layer: str,
    channels: list[int],
    start: Tensor,
    *,
    steps: int,
    lr: float,
    smooth: float = 0.0,
    objective: Literal["mean", "centre"] = "mean",
) -> tuple[Tensor, Tensor, Tensor]:
    """Raises the activation of channels, each with an image of its own.

    Args:
        run: whose network.
        layer: one of `chosen_layers`.
        channels: of the layer.
        start: pixel values in [0, 1], float [len(channels), C, H, W].
        steps, lr: of Adam, on the normalised images.
        smooth: weight of the total variation, the mean difference of neighbouring pixels.
        objective: the mean over the map, or the position at its centre.

    Returns:
        The patterns, pixel values in [0, 1], and the activations before and after, each float [len(channels)].
    """
    mean, std = run.mean_and_std
    darkest, brightest = (0 - mean) / std, (1 - mean) / std
    each = torch.arange(len(channels)), torch.tensor(channels)

    def activation(images: Tensor) -> Tensor:
        maps = output_of(run.network, layer, images)[each]
        return maps[:, maps.shape[1] // 2, maps.shape[2] // 2] if objective == "centre" else maps.mean((1, 2))

    images = ((start - mean) / std).requires_grad_()
    adam = torch.optim.Adam([images], lr=lr)
    with torch.no_grad():
        before = activation(images)
    for _ in range(steps):
        score = activation(images)
        if smooth:
            rows, columns = images.diff(dim=2).abs().mean((1, 2, 3)), images.diff(dim=3).abs().mean((1, 2, 3))
            score = score - smooth * (rows + columns)
        (images.grad,) = torch.autograd.grad(-score.sum(), images)
        adam.step()
        with torch.no_grad():
            images.copy_(images.clamp(darkest, brightest))
    with torch.no_grad():
        return run.pixels(images), before, activation(images)
