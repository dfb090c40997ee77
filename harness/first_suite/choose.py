"""What fits a folder of images: each choice with its reason. Rules of thumb, to begin with and to vary."""

from __future__ import annotations

from typing import NamedTuple

from harness.counted import counted
from harness.first_suite.look import Look

SIZES = (32, 48, 64, 96, 128)
SMALL = 64  # pixels up to which a network needs no strides at its entrance
BATCHES = (128, 64, 32, 16, 8, 4)
BATCHES_PER_EPOCH = 20
STEPS = 3000
EPOCHS = (10, 40)
FITS_BYTES = 4 * 2**30


class Choice(NamedTuple):
    """A value as YAML, and why it was taken."""

    value: str
    reason: str


class Choices(NamedTuple):
    """What the suite says of data and training; `models` stands in its matrix."""

    size: Choice
    channels: Choice
    unreadable: Choice | None
    crop: Choice
    flip: Choice
    loader: Choice
    models: list[Choice]
    batch_size: Choice
    epochs: Choice
    optimizer: Choice
    schedule: Choice


def choose(look: Look) -> Choices:
    """Returns what fits."""
    side, size = _size(look)
    batch = next((b for b in BATCHES if look.train_images >= BATCHES_PER_EPOCH * b), BATCHES[-1])
    steps = max(1, look.train_images // batch)
    epochs = min(EPOCHS[1], max(EPOCHS[0], round(STEPS / steps)))
    return Choices(
        size=size,
        channels=Choice("1", "no image has colours") if look.all_gray else Choice("3", "images have colours"),
        unreadable=_unreadable(look),
        crop=Choice(str(max(1, side // 8)), "an eighth of the size: each image is seen a little shifted"),
        flip=_flip(look),
        loader=_loader(look, side),
        models=_models(look, side),
        batch_size=Choice(str(batch), f"of {look.train_images:,} images to train on: about {steps} steps an epoch"),
        epochs=Choice(str(epochs), f"about {epochs * steps:,} steps in all"),
        optimizer=Choice(
            "{name: adamw, lr: 1e-3, weight_decay: 0.01}", "forgives a learning rate that does not fit better than sgd"
        ),
        schedule=Choice("one_cycle", "up, then down to nothing: good results in few epochs"),
    )


def _size(look: Look) -> tuple[int, Choice]:
    one, short = look.one_size, look.short_side
    if one and max(one) <= SIZES[-1]:
        return min(one), Choice("null", f"all images are {one[0]}x{one[1]}: they stay as they are")
    side = max((size for size in SIZES if size <= short), default=SIZES[0])
    what = f"the shorter side is {short} pixels in the middle"
    if short < SIZES[0]:
        reason = f"{what}: networks that halve an image several times want {SIZES[0]}"
    elif short > SIZES[-1]:
        reason = f"{what}; larger than {side} may be more accurate, and 224 takes three times as long"
    else:
        reason = f"{what}; the middle square is cut out and resized"
    return side, Choice(str(side), reason)


def _unreadable(look: Look) -> Choice | None:
    if look.unreadable:
        few = "" if look.looked_at_all else f" of the {look.opened:,} that were read"
        return Choice(
            "skip", f"{counted(len(look.unreadable), 'file')}{few} cannot be read as images; every run lists them"
        )
    if not look.looked_at_all:
        return Choice("fail", f"all of the {look.opened:,} that were read could be; skip leaves broken ones out")
    return None


def _flip(look: Look) -> Choice:
    if look.all_gray:
        return Choice("false", "gray images are often of digits or letters; true where a mirror image is one, too")
    return Choice("true", "mirror images; false for text, digits, road signs, where left and right matter")


def _loader(look: Look, side: int) -> Choice:
    decoded = look.images * side * side * (1 if look.all_gray else 3)
    told = f"{decoded / 2**30:.1f} GiB" if decoded >= 2**30 else f"{decoded / 2**20:.1f} MiB"
    if decoded <= FITS_BYTES:
        return Choice("resident", f"all images, decoded once, are {told}: they stay where the network is")
    return Choice("auto", f"all images, decoded, are {told}: the fastest of the loaders that can be had is taken")


def _models(look: Look, side: int) -> list[Choice]:
    first = Choice("{name: cnn3, padding: same, batch_norm: true, hidden_size: 128}", "small and fast: what to beat")
    width = 64 if look.train_images >= 10_000 else 32 if look.train_images >= 1000 else 16
    few = f"width {width} for {look.train_images:,} images"
    stem = "cifar" if side <= SMALL else "imagenet"
    entrance = "images are small: no strides at the entrance" if stem == "cifar" else "images are large: strides first"
    models = [first, Choice(f"{{name: resnet18, stem: {stem}, width: {width}}}", f"{few}; {entrance}")]
    if side > SMALL:
        models.append(Choice("torchvision/mobilenet_v3_small", "made for large images and little time"))
    return models
