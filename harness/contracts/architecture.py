"""What every architecture promises."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.contracts.promise import Promise, require
from harness.errors import HarnessError
from harness.spec import ImageShape

Build = Callable[[ImageShape], nn.Module]
"""Builds the network for images of a shape and ten classes."""

CLASSES = 10
SIZES = (ImageShape(1, 8, 8), ImageShape(3, 32, 32))
LARGE = ImageShape(3, 224, 224)
# Whose CUDA kernels raise under `deterministic: true`; see torch.use_deterministic_algorithms. On a CPU none does.
REFUSED = {
    "adaptive_max_pool2d_backward",
    "_adaptive_avg_pool2d_backward",
    "max_pool3d_with_indices_backward",
    "avg_pool3d_backward",
    "reflection_pad2d_backward",
    "replication_pad2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_nearest2d_backward",
    "upsample_bicubic2d_backward",
    "grid_sampler_2d_backward",
    "max_unpool2d",
    "cumsum",
    "kthvalue",
    "median",
    "histc",
    "scatter_reduce",
}
# Their gradient goes where a value equals the largest one. A compiled backward pass may compute the values anew, in
# float32, where the largest was rounded to bfloat16: none is equal, and the gradient is 0 / 0. `max(dim=...)` keeps the
# place instead.
NOT_A_NUMBER_COMPILED = {"amax", "amin"}


def promises(build: Build) -> Iterator[Promise]:
    """Yields what is promised of images of the sizes that the architecture takes.

    Raises:
        HarnessError: it refuses them all.
    """
    sizes = [image for image in SIZES if _takes(build, image)]
    if not sizes:
        build(LARGE)  # raises what it has against it
        sizes = [LARGE]
    for image in sizes:
        of = f", of images {'x'.join(map(str, image))}"
        for promise, holds in (
            ("a training step gives logits, and a gradient to every weight", training_reaches_every_weight),
            ("in evaluation an image is judged alone", evaluation_judges_an_image_alone),
            ("channels_last changes the layout and nothing else", channels_last_changes_the_layout_alone),
            ("the seed decides the weights", the_seed_decides_the_weights),
            (
                "no operation is one that train.compile spoils or deterministic: true refuses on CUDA",
                operations_of_a_training_step,
            ),
        ):
            yield promise + of, functools.partial(holds, build, image)


def _takes(build: Build, image: ImageShape) -> bool:
    try:
        build(image)
    except HarnessError:
        return False
    return True


def random_images(image: ImageShape, count: int = 4) -> Tensor:
    """Returns images of noise, float [count, C, H, W], the same each time."""
    return torch.randn(count, *image, generator=torch.Generator().manual_seed(1))


def seeded(build: Build, image: ImageShape, seed: int = 0) -> nn.Module:
    """Returns the network with the weights of a seed."""
    torch.manual_seed(seed)
    return build(image)


def training_reaches_every_weight(build: Build, image: ImageShape) -> None:
    """A new network is in training mode, gives finite float32 logits, and a gradient reaches what is to be trained."""
    network = seeded(build, image)
    require(isinstance(network, nn.Module), f"it returns no module, but a {type(network).__name__}")
    require(network.training, "it is built in evaluation mode")
    logits = network(random_images(image))
    require(isinstance(logits, Tensor), f"it returns no tensor of logits, but a {type(logits).__name__}")
    shape = list(logits.shape)
    require(shape == [4, CLASSES], f"the logits of 4 images and {CLASSES} classes have the shape {shape}")
    require(logits.dtype == torch.float32, f"the logits are {logits.dtype}, not float32")
    require(logits.isfinite().all(), "the logits are not all finite")
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            require(parameter.grad is not None, f"no gradient reaches {name}")
            require(parameter.grad is not None and parameter.grad.isfinite().all(), f"the gradient of {name} is NaN")


def evaluation_judges_an_image_alone(build: Build, image: ImageShape, *, differ: bool = True) -> None:
    """In evaluation the logits of an image do not depend on the others of its batch, but on the image they do.

    Args:
        differ: False for a network whose new weights are so small that all images give the same logits.
    """
    network = seeded(build, image).eval()
    images = random_images(image)
    with torch.no_grad():
        together, alone = network(images), network(images[:1])
    _require_close(together[:1], alone, "in a batch the logits of an image are others than alone")
    require(not differ or not torch.equal(together[0], together[1]), "two images have the same logits")


def channels_last_changes_the_layout_alone(build: Build, image: ImageShape) -> None:
    """A network and images in channels-last memory give the same logits."""
    network = seeded(build, image).eval()
    images = random_images(image)
    with torch.no_grad():
        expected = network(images)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = network(images.to(memory_format=torch.channels_last))
    _require_close(found, expected, "in channels-last memory the logits are others")


def the_seed_decides_the_weights(build: Build, image: ImageShape) -> None:
    """The weights are those of torch's seed: the same seed draws the same, another one others."""
    first, same, other = (seeded(build, image, seed).state_dict() for seed in (3, 3, 4))
    different = [key for key in first if not torch.equal(first[key], same[key])]
    require(not different, f"twice with one seed, and {', '.join(different[:3])} differ")
    require(any(not torch.equal(first[key], other[key]) for key in first), "two seeds give the same weights")


def operations_of_a_training_step(build: Build, image: ImageShape) -> set[str]:
    """No operation of a training step is one whose CUDA kernel is not deterministic, or whose compiled gradient is NaN.

    Returns:
        torch's names of the operations.
    """
    seen: set[str] = set()

    class Noting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(str(func.overloadpacket.__name__))
            return func(*args, **(kwargs or {}))

    network = seeded(build, image)
    with Noting():
        nn.functional.cross_entropy(network(random_images(image)), torch.tensor([0, 1, 2, 3])).backward()
    require(not seen & REFUSED, f"it calls {', '.join(sorted(seen & REFUSED))}")
    spoiled = ", ".join(sorted(seen & NOT_A_NUMBER_COMPILED))
    require(not spoiled, f"it calls {spoiled}, whose compiled gradient in bf16 is NaN: call max or min of a dimension")
    return seen


def _require_close(found: Tensor, expected: Tensor, instead: str) -> None:
    most = float((found - expected).abs().max())
    require(torch.allclose(found, expected, rtol=1e-3, atol=1e-4), f"{instead}, by up to {most:.2g}")
