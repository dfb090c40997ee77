"""The one definition of augmentation; `harness.data.augment` executes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.errors import HarnessError
from harness.parameters import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt
from harness.spec.section import Range, Section


class RandomResizedCrop(Section):
    """A box of random area and shape, brought to one size (arXiv 1409.4842); evaluation sees the whole image."""

    size: PositiveInt = Field(description="height and width of the result, in pixels")
    scale: Range = Field(default=(0.08, 1.0), description="area of the box, as a share of the image's")
    ratio: Range = Field(default=(3 / 4, 4 / 3), description="width of the box over its height")


class ColorJitter(Section):
    """Random brightness, contrast about mid-gray, saturation and hue: each by up to so much, as one colour matrix."""

    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=180)] = Field(default=0.0, description="degrees")


class Erase(Section):
    """A random box set to the mean colour (arXiv 1708.04896)."""

    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    scale: Range = Field(default=(0.02, 0.33), description="area of the box, as a share of the image's")
    ratio: Range = Field(default=(0.3, 3.3), description="height of the box over its width")


class Evaluate(Section):
    """What evaluation sees of an image of any size: its shorter side is resized, the middle square cut out.

    Training sees the box of `random_resized_crop`, a share of each image, or without it the same square.
    """

    resize: PositiveInt = Field(default=256, description="the shorter side, in pixels; `resident` stores such squares")
    crop: PositiveInt = Field(default=224, description="height and width of the middle, in pixels")


class Augment(Section):
    """What is done to the images, in the order of the fields; all off by default.

    Only `resize` is done to evaluated images too, and the size of `random_resized_crop` is theirs as well.
    """

    resize: PositiveInt | None = Field(default=None, description="height and width in pixels; bilinear, antialiased")
    random_resized_crop: RandomResizedCrop | None = None
    crop: NonNegativeInt = Field(default=0, description="pad by this many pixels, then crop at random")
    crop_border: Literal["black", "reflect"] = Field(
        default="black", description="what `crop` pads with: black, or the image mirrored about its border pixels"
    )
    flip: bool | Literal["alternating"] = Field(
        default=False,
        description="mirror left and right with probability one half; alternating: each image every other epoch",
    )
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(default=0.0, description="rotate by up to this many degrees")
    color_jitter: ColorJitter | None = None
    trivial_augment: bool = Field(
        default=False, description="one of 14 operations, at random and of random strength (arXiv 2103.10158)"
    )
    cutout: NonNegativeInt = Field(default=0, description="erase a square of this side (arXiv 1708.04552)")
    erase: Erase | None = None
    mixup: NonNegativeFloat = Field(
        default=0.0,
        description="alpha of the Beta distribution: mix each image and its label with another's (arXiv 1710.09412)",
    )
    cutmix: NonNegativeFloat = Field(
        default=0.0,
        description="alpha: take a box from another image (arXiv 1905.04899); with mixup, each batch has one of them",
    )

    @property
    def mixes(self) -> bool:
        """Whether images and labels of a batch are mixed."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def reflects(self) -> bool:
        """Whether a crop sees the image mirrored beyond its border."""
        return self.crop > 0 and self.crop_border == "reflect"

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the height and width that the network sees of images of the given ones.

        Raises:
            HarnessError: `crop` is wider than what an image can be mirrored by.
        """
        size = self.random_resized_crop.size if self.random_resized_crop else self.resize
        height, width = (size, size) if size else (height, width)
        if self.reflects and self.crop >= min(height, width):
            raise HarnessError(
                f"data.augment.crop {self.crop} is too wide to reflect images of {height}x{width}",
                f"use a crop of less than {min(height, width)}, or crop_border: black",
            )
        return height, width
