"""Pretrained weights: read from a file, checked, and loaded into a network; the head that does not fit stays new."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.weights_files import MissingWeights, Weights, find_weights

# Outputs that GoogLeNet and Inception v3 have in training only; the harness builds both without them.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Names of layers in DenseNet's files, from before module names could hold no dot: norm.1 is norm1 now.
OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
MARK = "harness_loaded_weights"  # the attribute of a network that says what it began with
HEAD_NEW = "new: {wanted} classes, and the file has {given}"

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Read:
    """Weights as a file has them, on the CPU."""

    weights: Weights
    state: StateDict


@dataclass(frozen=True)
class Loaded:
    """What a network began with.

    Attributes:
        file: its name.
        sha256: of its content.
        head: what became of the last layer, in words.
    """

    file: str
    sha256: str
    head: str


_loads: ContextVar[bool] = ContextVar("_loads", default=True)


@contextlib.contextmanager
def leaving_out_weights() -> Iterator[None]:
    """Lets networks be built as their specs say, but reads no pretrained weights: others will take their place."""
    before = _loads.set(False)
    try:
        yield
    finally:
        _loads.reset(before)


def read_weights(architecture: str, pretrained: bool | str) -> Read | None:
    """Returns the weights that a suite asks for; None where it asks for none, or others will take their place.

    Args:
        architecture: as a suite names it, e.g. `torchvision/resnet18`.
        pretrained: see `harness.weights_files.find_weights`.

    Raises:
        HarnessError: there are no such weights, the file is not here, is damaged or holds no state_dict, or it has
            changed since this process identified its runs by it.
    """
    weights = find_weights(architecture, pretrained) if _loads.get() else None
    if weights is None:
        return None
    if not weights.is_here():
        raise MissingWeights(weights)
    weights.require_same()
    return Read(weights, _read(weights.path))


def load_weights(name: str, network: nn.Module, read: Read, last: str) -> None:
    """Loads weights into one of torchvision's networks, in place; the last layer only where its classes are as many.

    A network of one input channel gets the sum of the first convolution's kernels over red, green and blue: what it
    computes of a grey image is what the pretrained one computes of that image in all three channels.

    Args:
        name: the architecture, as torchvision calls it.
        network: with its first convolution adapted to the images' channels.
        read: of the same architecture, with any number of classes; changed.
        last: the name of the last layer in the network.

    Raises:
        HarnessError: the weights are those of another network.
    """
    state, expected = read.state, dict(network.state_dict())
    for key in list(state):  # in place: its metadata tell versions of layers apart
        value = state.pop(key)
        if not key.startswith(AUXILIARY):
            state[OLD_DENSE_LAYER.sub(r"\1\2", key)] = value
    head = _leave_head(state, expected, (last,))

    first = next(key for key, module in network.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"
    if first in state and expected[first].shape[1] == 1:
        state[first] = state[first].sum(1, keepdim=True)

    problem = _first_difference(state, expected)
    if not problem:
        try:
            network.load_state_dict(state, strict=False)  # all but a head that stays new, as just compared
        except (RuntimeError, ValueError) as error:  # MNASNet knows versions of itself
            problem = " ".join(str(error).split())
    if problem:
        raise _do_not_fit(f"torchvision/{name}", problem)
    _mark(network, read.weights, head)


def load_into(name: str, network: nn.Module, donor: nn.Module, heads: Collection[str], weights: Weights) -> None:
    """Gives a network all weights of another one of the same architecture but those of heads of other shapes.

    Args:
        name: the architecture, for messages.
        network: takes them, in place.
        donor: with as many classes as the file has.
        heads: the names of the layers that return logits.
        weights: that the donor was given.

    Raises:
        HarnessError: the two differ in more than the heads.
    """
    state, expected = dict(donor.state_dict()), dict(network.state_dict())
    head = _leave_head(state, expected, heads)
    if problem := _first_difference(state, expected):
        raise _do_not_fit(name, problem)
    network.load_state_dict(state, strict=False)
    _mark(network, weights, head)


def hand_on(loaded: Loaded | None, network: nn.Module) -> None:
    """Marks a network that was cut out of one with pretrained weights; its head is new."""
    if loaded:
        vars(network)[MARK] = Loaded(loaded.file, loaded.sha256, "new: it stands behind `features_after`")


def loaded_weights(network: nn.Module) -> Loaded | None:
    """Returns what pretrained weights a network, or a part of it, began with."""
    return next((vars(module)[MARK] for module in network.modules() if MARK in vars(module)), None)


def require_numbers(name: str, network: nn.Module) -> None:
    """Checks that all weights are finite.

    Raises:
        HarnessError: one is not, as in the part of VGG16's IMAGENET1K_FEATURES behind the convolutions.
    """
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise HarnessError(
                f"model.pretrained: the weights of {name} are not all numbers: see {key}",
                "use other weights, or model.features_after to leave that part out",
            )


def _mark(network: nn.Module, weights: Weights, head: str) -> None:
    vars(network)[MARK] = Loaded(weights.path.name, weights.sha256(), head)


def _leave_head(state: StateDict, expected: StateDict, heads: Collection[str]) -> str:
    """Takes the weights of heads of another size out of both, or of heads that the file lacks; says what it found."""
    told = "the file's"
    for head in heads:
        of_head = [key for key in expected if key.startswith(f"{head}.")]
        given = [key for key in state if key.startswith(f"{head}.")]
        if all(key in state and state[key].shape == expected[key].shape for key in of_head):
            continue
        weight = f"{head}.weight"
        wanted = expected[weight].shape[0] if weight in expected else "other"
        told = HEAD_NEW.format(wanted=wanted, given=state[weight].shape[0] if weight in state else "none")
        for key in of_head:
            del expected[key]
        for key in given:
            del state[key]
    return told


def _read(path: Path) -> StateDict:
    # Of a damaged file torch raises anything, from UnpicklingError to RuntimeError, EOFError and KeyError.
    read: Callable[[], Any] = (
        (lambda: load_file(path))
        if path.suffix == ".safetensors"
        else (lambda: torch.load(path, map_location="cpu", weights_only=True))
    )
    try:
        state = read()
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise HarnessError(
            f"{path} cannot be read as weights: {reason}",
            "fetch it again, or write it with torch.save(network.state_dict(), PATH), not with the whole network",
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise HarnessError(
            f"{path} holds no state_dict: names and tensors, nothing else",
            "write it with torch.save(network.state_dict(), PATH)",
        )
    return state


def _first_difference(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    for key, value in expected.items():
        if key not in state:
            if key.endswith(".num_batches_tracked"):  # files from before torch 0.4.1 have none
                continue
            return f"they have no {key}"
        if state[key].shape != value.shape:
            return f"{key} is {_shape(state[key])}, and {_shape(value)} in the network"
    return next((f"the network has no {key}" for key in state if key not in expected), None)


def _do_not_fit(name: str, problem: str) -> HarnessError:
    return HarnessError(
        f"model.pretrained: the weights do not fit {name}: {problem}",
        "use weights of this architecture, with the kwargs and channels (for a transformer the size) of its images",
    )


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"
