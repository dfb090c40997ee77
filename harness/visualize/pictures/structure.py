"""The network as a column of its layers, with what goes out of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair
import torch
from torch import Tensor, nn

from harness.registry import picture
from harness.report.charts.theme import INK, MUTED
from harness.visualize.charts import finished
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

ROW = 22  # pixels
KINDS = {
    "convolution": ("#2563eb", (nn.modules.conv._ConvNd,)),
    "normalisation": ("#7c3aed", (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)),
    "linear": ("#059669", (nn.Linear,)),
    "pooling": ("#d97706", (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)),
}


@dataclass(frozen=True)
class Layer:
    """One layer as the image passes it.

    Attributes:
        name: its dotted name.
        described: what it is, e.g. `Conv2d 3 -> 64, 3x3`.
        shape: of what goes out for one image.
        parameters: its own.
        kind: one of `KINDS`, or other.
    """

    name: str
    described: str
    shape: tuple[int, ...]
    parameters: int
    kind: str


@picture("structure")
def structure(run: Trained, *, activations: bool = False) -> list[Picture]:
    """The layers of the network from top to bottom, with the shape that goes out of each and its parameters.

    Args:
        activations: show layers without parameters that keep the shape, such as activations, too
    """
    layers = layers_of(run.network, torch.zeros(1, *run.image_shape))
    shown = [
        layer for before, layer in zip([None, *layers], layers, strict=False) if activations or _tells(before, layer)
    ]
    total = sum(parameter.numel() for parameter in run.network.parameters())
    image = " x ".join(map(str, run.image_shape))
    title = f"Structure of {run.spec.model.name}, {run.title}"
    subtitle = (
        f"image {image} (channels x height x width); {total:,} parameters; what goes out of each layer on the right"
    )
    caption = f"The {len(shown)} layers of {run.spec.model.name} in the order in which an image of {image} passes them."
    return [Picture("structure", caption, finished(_chart(shown), title, [subtitle]))]


def layers_of(network: nn.Module, image: Tensor) -> list[Layer]:
    """Returns the innermost layers in the order in which an image [1, C, H, W] passes them.

    A layer that is passed twice stands there twice, with its parameters at the first time only.
    """
    found: list[Layer] = []
    seen: set[int] = set()

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                own = 0 if id(module) in seen else sum(parameter.numel() for parameter in module.parameters())
                seen.add(id(module))
                found.append(Layer(name, describe(module), tuple(output.shape[1:]), own, _kind(module)))

        return hook

    innermost = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(note(name)) for name, module in innermost]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def describe(module: nn.Module) -> str:
    """Returns what a layer is, in a few words."""
    name = type(module).__name__
    if isinstance(module, nn.Conv2d):
        size = "x".join(map(str, module.kernel_size))
        stride = f", stride {module.stride[0]}" if max(module.stride) > 1 else ""
        groups = f", {module.groups} groups" if module.groups > 1 else ""
        return f"{name} {module.in_channels} → {module.out_channels}, {size}{stride}{groups}"
    if isinstance(module, nn.Linear):
        return f"{name} {module.in_features} → {module.out_features}"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return f"{name} {module.kernel_size}"
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return f"{name} {module.p:g}"
    return name


def _tells(before: Layer | None, layer: Layer) -> bool:
    return bool(layer.parameters) or before is None or layer.shape != before.shape


def _kind(module: nn.Module) -> str:
    return next((kind for kind, (_, types) in KINDS.items() if isinstance(module, types)), "other")


def _chart(layers: list[Layer]) -> altair.LayerChart:
    rows = [
        {
            "row": number,
            "name": layer.name,
            "described": layer.described,
            "shape": " x ".join(map(str, layer.shape)),
            "parameters": f"{layer.parameters:,}" if layer.parameters else "",
            "kind": layer.kind,
        }
        for number, layer in enumerate(layers)
    ]
    kinds = [kind for kind in [*KINDS, "other"] if any(layer.kind == kind for layer in layers)]
    shades = [KINDS[kind][0] if kind in KINDS else MUTED for kind in kinds]
    heads = [{"row": -1, "name": "layer", "described": "what it is", "shape": "output", "parameters": "parameters"}]
    y = altair.Y("row:Q", axis=None, scale=altair.Scale(domain=[len(rows), -1.6], nice=False, zero=False))
    colour = altair.Color("kind:N", title=None, scale=altair.Scale(domain=kinds, range=shades))
    base = altair.Chart(altair.InlineData(values=rows)).encode(y=y)
    boxes = base.transform_calculate(top="datum.row - 0.42", bottom="datum.row + 0.42").encode(
        x=altair.datum(150, type="quantitative", scale=altair.Scale(domain=[0, 640], nice=False), axis=None),
        x2=altair.datum(400),
        y=altair.Y("top:Q", axis=None),
        y2="bottom:Q",
        color=colour,
    )
    columns: tuple[tuple[str, int, Any, str], ...] = (
        ("name", 140, "right", INK),
        ("described", 275, "center", INK),
        ("shape", 515, "right", INK),
        ("parameters", 630, "right", MUTED),
    )
    parts: list[altair.Chart] = [boxes.mark_rect(opacity=0.22, cornerRadius=3)]
    for field, x, align, shade in columns:
        at = altair.datum(x, type="quantitative")
        parts.append(base.mark_text(align=align, color=shade, fontSize=12).encode(x=at, text=f"{field}:N"))
        head = altair.Chart(altair.InlineData(values=heads)).encode(y=y, x=at, text=f"{field}:N")
        parts.append(head.mark_text(align=align, color=MUTED, fontSize=12, fontWeight="bold"))
    return altair.LayerChart(layer=parts, width=640, height=ROW * (len(rows) + 1.6))
