"""What a network computes on its way: the outputs of its layers, and which channels to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.visualize.trained import Trained


class _Reached(Exception):
    """A layer has given its output; what comes after it is not wanted."""


def output_of(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Returns a layer's output; layers after it are not run, so that images may be of any size that it takes.

    Args:
        network: in evaluation mode.
        layer: its dotted name; it is called once in a pass, see `chosen_layers`.
        images: normalised, [N, C, H, W].
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept.append(output)
        raise _Reached  # also before an in-place activation changes what was kept

    handle = network.get_submodule(layer).register_forward_hook(keep)
    try:
        network(images)
    except _Reached:
        pass
    finally:
        handle.remove()
    return kept[0]


@torch.no_grad()
def _one_pass(run: Trained) -> tuple[list[str], Counter[str]]:
    """Returns the layers that give feature maps, in the order of a pass, and how often each layer is called."""
    with_maps: dict[str, None] = {}
    calls: Counter[str] = Counter()

    def note(name: str, output: object) -> None:
        calls[name] += 1
        if isinstance(output, Tensor) and output.dim() == 4:
            with_maps[name] = None

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in run.network.named_modules()
        if name
    ]
    try:
        run.network(run.test_images((0,))[0])
    finally:
        for handle in handles:
            handle.remove()
    return list(with_maps), calls


def chosen_layers(run: Trained, layer: str | None) -> list[str]:
    """Returns the layer that is asked for, or by default the first and the last convolution.

    It gives feature maps [N, channels, height, width] and is called once in a pass: of one module that stands in
    several places it is not clear whose maps are meant.

    Raises:
        HarnessError: there is no such layer, or it gives no feature maps, or those of several places.
    """
    with_maps, calls = _one_pass(run)
    found = [name for name in with_maps if calls[name] == 1]
    hint = f"layers with feature maps of their own: {', '.join(found) or 'none'}"
    if layer is None:
        convolutions = [name for name in run.convolutions() if name in found]
        if not convolutions:
            raise HarnessError(f"no convolution of {run.spec.model.name} is called once in a pass", hint)
        return list(dict.fromkeys([convolutions[0], convolutions[-1]]))
    run.layer(layer)
    if layer not in found:
        why = f"is called {calls[layer]} times in a pass" if calls[layer] > 1 else "gives no feature maps"
        raise HarnessError(f"layer '{layer}' of {run.spec.model.name} {why}", hint)
    return [layer]


@torch.no_grad()
def feature_maps_of(run: Trained, layer: str, images: Tensor) -> Tensor:
    """Returns the feature maps of images, float [N, channels, height, width].

    Args:
        run: whose network.
        layer: one of `chosen_layers`.
        images: normalised, [N, C, H, W].
    """
    return output_of(run.network, layer, images)


def mean_activations(maps: Tensor) -> Tensor:
    """Returns the mean of each channel over images and positions: [N, C, H, W] to [C]."""
    return maps.mean((0, 2, 3))


def chosen_channels(
    maps: Tensor, layer: str, channels: Sequence[int], strongest: int | None, *, otherwise: int, all_up_to: int
) -> list[int]:
    """Returns the channels that are asked for: named ones in their order, or the strongest, the strongest first.

    Strong is a channel whose mean activation over images and positions is large.

    Args:
        maps: of the layer, [N, C, H, W].
        layer: its name, for errors.
        channels: their numbers; none to choose by strength.
        strongest: how many.
        otherwise: how many where neither is said and the layer has more than `all_up_to`.
        all_up_to: a layer of so many channels is taken as a whole, in order, where neither is said.

    Raises:
        HarnessError: both are said, or the layer has no such channel, or not so many.
    """
    count = maps.shape[1]
    if channels and strongest:
        raise HarnessError("--set channels and --set strongest exclude each other", "name one of them")
    for channel in channels:
        if channel >= count:
            raise HarnessError(f"layer '{layer}' has no channel {channel}", f"it has {count}: 0 to {count - 1}")
    if strongest and strongest > count:
        raise HarnessError(f"layer '{layer}' has no {strongest} channels", f"it has {count}: --set strongest={count}")
    if channels:
        return list(channels)
    if not strongest and count <= all_up_to:
        return list(range(count))
    return mean_activations(maps).topk(min(count, strongest or otherwise)).indices.tolist()


def image_names(run: Trained, numbers: Sequence[int], labels: Tensor) -> list[str]:
    """Returns `3: cat` for each image: its number in the test split and its class."""
    names = run.splits.class_names
    return [f"{number}: {names[label]}" for number, label in zip(numbers, labels.tolist(), strict=True)]


def some(numbers: Sequence[int], total: int, what: str) -> str:
    """Returns `all 64 channels`, or `channels 3, 5 of 64`, for a caption."""
    if list(numbers) == list(range(total)):
        return f"all {total} {what}" if total > 1 else f"its one {what.removesuffix('s')}"
    listed = ", ".join(map(str, numbers)) if len(numbers) <= 8 else f"{len(numbers)}"
    return f"{what} {listed} of {total}" if len(numbers) <= 8 else f"{listed} {what} of {total}"
