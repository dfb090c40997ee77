"""The models of timm (https://huggingface.co/docs/timm), with new weights."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from harness.models.foreign import build_and_try
from harness.registry import architecture
from harness.spec import ImageShape


@architecture("timm/*", names_in=("models/*.py", r"^@register_model\n(?:(?!def ).*\n)*def (\w+)\("))
def timm_model(
    name: str,
    image: ImageShape,
    num_classes: int,
    *,
    kwargs: dict[str, Any] = {},  # noqa: B006 - never changed, and read as a literal
) -> nn.Module:
    """A model of timm (https://huggingface.co/docs/timm), with new weights.

    Takes images [N, channels, height, width], returns logits [N, num_classes]. Models of a fixed image size,
    such as vision transformers, are built for the size of the dataset's images.

    Args:
        kwargs: handed to timm.create_model, e.g. drop_path_rate, or patch_size for a vision transformer

    Raises:
        HarnessError: the model does not take these kwargs, or images of this size.
    """
    published = timm.get_pretrained_cfg(name)
    size = {"img_size": (image.height, image.width)} if published and published.fixed_input_size else {}

    def build() -> nn.Module:
        return timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=image.channels, **size, **kwargs
        )

    return build_and_try(f"timm/{name}", image, num_classes, build)
