"""From a feature map back to pixels: the deconvolutional network and guided backpropagation."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.visualize.hooks import output_of
from harness.visualize.trained import Trained

Method = Literal["deconvnet", "guided"]
Start = Literal["map", "maximum"]
NAMES: dict[Method, str] = {"deconvnet": "a deconvolutional network", "guided": "guided backpropagation"}
CHUNK = 32  # images in a pass
# Operations of an autograd graph that neither method has a rule for; their names go on with `Backward0`.
_OTHER_ACTIVATIONS = (
    *("LeakyRelu", "PreluKernel", "RreluWithNoise", "Elu", "Gelu", "Silu", "Mish", "Softplus", "Tanh", "Sigmoid"),
    *("Hardtanh", "Hardsigmoid", "Hardswish", "LogSigmoid", "Threshold", "Clamp", "Softmax"),
)


def project(run: Trained, layer: str, images: Tensor, channels: list[int], method: Method, start: Start) -> Tensor:
    """Returns what each feature map looks like in pixel space, float [N, len(channels), C, H, W].

    Everything but one channel of the layer is set to zero, and that channel, rectified, goes backward through the
    network: through the transposed convolutions, to the positions that max pools took their values from, and through
    a ReLU by the method's rule. `deconvnet` passes what is positive of the signal (Zeiler and Fergus, arXiv
    1311.2901); `guided` also stops it where the ReLU's input was negative (Springenberg et al., arXiv 1412.6806).
    Captum's `Deconvolution` and `GuidedBackprop` do it. Batch normalisation is its scale, as in the gradient.

    The values are in units of pixels: the signal at the normalised image times the standard deviation of its channel.

    Args:
        run: whose network.
        layer: one of `chosen_layers`.
        images: normalised, [N, C, H, W].
        channels: of the layer.
        method: the rule for a ReLU.
        start: the whole feature map, or its largest value alone (as in the figures of arXiv 1311.2901).

    Raises:
        HarnessError: captum is not installed, or the method has no rule for an activation before the layer.
    """
    try:
        from captum.attr import Deconvolution, GuidedBackprop
    except ImportError:
        raise HarnessError("pictures of 'reconstruct' need the package captum", "pip install captum") from None
    _check_activations(run, layer, images, method)
    rule = (Deconvolution if method == "deconvnet" else GuidedBackprop)(_Energy(run.network, layer, start))
    wanted = torch.tensor(channels).repeat(len(images))
    repeated = images.repeat_interleave(len(channels), dim=0)
    found: list[Tensor] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations")
        for part, target in zip(repeated.split(CHUNK), wanted.split(CHUNK), strict=True):
            found.append(rule.attribute(part.clone().requires_grad_(), target=target).detach())
    _, std = run.mean_and_std
    return (torch.cat(found) * std).unflatten(0, (len(images), len(channels)))


class _Energy(nn.Module):
    """Half the sum of squares of each rectified feature map, [N, channels]: its gradient by the map is the map."""

    def __init__(self, network: nn.Module, layer: str, start: Start) -> None:
        super().__init__()
        self.network, self._layer, self._start = network, layer, start

    def forward(self, images: Tensor) -> Tensor:
        maps = output_of(self.network, self._layer, images).clamp(min=0)
        squares = maps**2 / 2
        return squares.amax((2, 3)) if self._start == "maximum" else squares.sum((2, 3))


def _check_activations(run: Trained, layer: str, images: Tensor, method: Method) -> None:
    """Walks the autograd graph from a layer to the image: captum's hooks reach `nn.ReLU` modules alone, and replace
    the whole gradient of what such a module takes.

    Raises:
        HarnessError: there is another activation, or what a ReLU takes goes somewhere else too.
    """
    of_modules: set[object] = set()
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output: of_modules.add(output.grad_fn))
        for module in run.network.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        maps = output_of(run.network, layer, images[:1].clone().requires_grad_())
    finally:
        for handle in handles:
            handle.remove()

    waiting, seen, problems = [maps.grad_fn], set(), set()
    uses: dict[tuple[object, int], int] = {}
    taken_by_relu: list[tuple[object, int]] = []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().partition("Backward")[0]
        if name == "Relu" and node not in of_modules:
            problems.add("a ReLU that is no nn.ReLU module")
        elif name in _OTHER_ACTIVATIONS:
            problems.add(name)
        for source in node.next_functions:
            uses[source] = uses.get(source, 0) + 1
            waiting.append(source[0])
        if name == "Relu":
            taken_by_relu.append(node.next_functions[0])
    if any(uses[source] > 1 for source in taken_by_relu):
        problems.add("a ReLU whose input is used beside it")
    if problems:
        listed = ", ".join(sorted(problems))
        message = (
            f"{NAMES[method]} has no rule for what stands before layer '{layer}' of {run.spec.model.name}: {listed}"
        )
        hint = "choose a run with activation: relu, a layer before it, or --what maximize, which any network can do"
        raise HarnessError(message, hint)
