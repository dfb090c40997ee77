"""The models of timm (https://huggingface.co/docs/timm), with new weights or pretrained ones."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from harness.errors import HarnessError
from harness.models.foreign import build_and_try
from harness.models.pretrained import Read, load_into, read_weights, require_numbers
from harness.registry import architecture
from harness.spec import ImageShape


@architecture("timm/*", names_in=("models/*.py", r"^@register_model\n(?:(?!def ).*\n)*def (\w+)\("))
def timm_model(
    name: str,
    image: ImageShape,
    num_classes: int,
    *,
    kwargs: dict[str, Any] = {},  # noqa: B006 - never changed, and read as a literal
    pretrained: bool | str = False,
) -> nn.Module:
    """A model of timm (https://huggingface.co/docs/timm), new or pretrained.

    Takes images [N, channels, height, width], returns logits [N, num_classes]. Models of a fixed image size,
    such as vision transformers, are built for the size of the dataset's images.

    Pretrained weights are converted by timm: names of old files, position embeddings of another image size, and, on
    grey images (1 channel), the first convolution. The last layer is new where the file has other classes, and the
    record says so. Images should be normalised as in their training, often by `data.normalize: imagenet` or `half`.

    Args:
        kwargs: handed to timm.create_model, e.g. drop_path_rate, or patch_size for a vision transformer
        pretrained: true for timm's default weights, a tag (a1_in1k of resnet18.a1_in1k), or a path (.safetensors, .pth)

    Raises:
        HarnessError: the model does not take these kwargs, weights, or images of this size; or the weights are not
            here.
    """
    read = read_weights(f"timm/{name}", pretrained)
    published = timm.get_pretrained_cfg(name)
    size = {"img_size": (image.height, image.width)} if published and published.fixed_input_size else {}

    def build(classes: int, overlay: dict[str, Any] | None = None) -> nn.Module:
        return timm.create_model(
            name,
            pretrained=overlay is not None,
            pretrained_cfg_overlay=overlay,
            num_classes=classes,
            in_chans=image.channels,
            **size,
            **kwargs,
        )

    network = build_and_try(f"timm/{name}", image, num_classes, lambda: build(num_classes))
    if read:
        facts = _facts(name, read, image)
        try:
            donor = build(facts["num_classes"], facts)
        except Exception as error:  # of a file that does not fit, timm raises many kinds
            problem = " ".join(str(error).split())[:300]
            raise HarnessError(
                f"model.pretrained: the weights do not fit timm/{name}: {problem}",
                "use weights of this architecture, with the kwargs of its network",
            ) from None
        heads = facts["classifier"] or ()
        load_into(f"timm/{name}", network, donor, (heads,) if isinstance(heads, str) else heads, read.weights)
        require_numbers(f"timm/{name}", network)
    return network


def _facts(name: str, read: Read, image: ImageShape) -> dict[str, Any]:
    """Returns what timm is to know of a file: its weights, and how many channels and classes they are for.

    Raises:
        HarnessError: timm publishes other weights under the name than this file, or the images have other channels.
    """
    published, tag = read.weights.published, read.weights.name
    try:
        cfg = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
    except RuntimeError:  # no such tag
        cfg = None
    if published and (cfg is None or published.repository != (cfg.hf_hub_id or "")):
        place = published.repository or published.url
        raise HarnessError(
            f"timm does not say that {place} has weights of {name}, as its source was read", "name a file of weights"
        )
    if cfg is None:
        raise HarnessError(f"timm does not say how weights of {name} are loaded", "use another architecture")
    state = read.state
    heads = (cfg.classifier,) if isinstance(cfg.classifier, str) else cfg.classifier or ()
    classes = next((len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state), cfg.num_classes)
    if classes == cfg.num_classes + (cfg.label_offset or 0):
        classes = cfg.num_classes  # timm leaves out the class of the background
    firsts = (cfg.first_conv,) if isinstance(cfg.first_conv, str) else cfg.first_conv or ()
    kernels = next((state[f"{first}.weight"] for first in firsts if f"{first}.weight" in state), None)
    channels = kernels.shape[1] if kernels is not None and kernels.shape[1] in (1, 3) else cfg.input_size[0]
    if image.channels not in (1, channels):
        raise HarnessError(
            f"the weights of timm/{name} take images of {channels} channels, not {image.channels}",
            "use weights or images with other channels",
        )
    return {
        "state_dict": state,
        "custom_load": False,
        "num_classes": classes,
        "classifier": cfg.classifier,
        "input_size": (channels, *cfg.input_size[1:]),
    }
