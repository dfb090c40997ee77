"""Pretrained weights for torchvision's networks: found by name or read from a file, checked, and loaded."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import re
from pathlib import Path
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from harness.errors import HarnessError
from harness.paths import user_path

SUFFIXES = (".pth", ".pt")
# torchvision's naming: the first digits of the file's SHA-256 before the suffix, as in vgg16-397923af.pth.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
# Outputs that GoogLeNet and Inception v3 have in training only; the harness builds both without them.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Names of layers in DenseNet's files, from before module names could hold no dot: norm.1 is norm1 now.
OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")

StateDict = dict[str, Tensor]


def read_weights(name: str, weights: str) -> StateDict:
    """Returns the weights that a suite asks for, on the CPU.

    Args:
        name: the architecture, as torchvision calls it.
        weights: a name of torchvision's weights API, e.g. IMAGENET1K_V1, fetched once into torch.hub's folder; or,
            with a slash or ending in .pth or .pt, the path of a file that holds a state_dict.

    Raises:
        HarnessError: no such name or file, no network, or a file that is damaged or no state_dict.
    """
    if _is_file(weights):
        path = user_path(weights)
        if not path.is_file():
            raise HarnessError(
                f"model.weights: there is no file {path}",
                "check the path; a relative one starts where the harness was called",
            )
        return _read(path)
    named = torchvision.models.get_model_weights(name).__members__
    if weights not in named:
        raise HarnessError(
            f"torchvision/{name} has no weights '{weights}'",
            f"valid: {', '.join(named)}, or the path of a .pth file",
        )
    return _read(_fetch(named[weights]))


def will_be_fetched(name: str, weights: str) -> str:
    """Returns the address that a run fetches weights from, as `read_weights` does; empty where they are here."""
    named = None if _is_file(weights) else torchvision.models.get_model_weights(name).__members__.get(weights)
    return named.url if named and not _place(named).is_file() else ""


def load_weights(name: str, network: nn.Module, state: StateDict, last: str) -> None:
    """Loads all weights but those of the last layer, in place; the last layer stays as it was drawn.

    A network of one input channel gets the sum of the first convolution's kernels over red, green and blue: what it
    computes of a grey image is what the pretrained one computes of that image in all three channels.

    Args:
        name: the architecture, for messages.
        network: with its first convolution adapted to the images' channels.
        state: of the same architecture, with any number of classes; changed.
        last: the name of the last layer in the network.

    Raises:
        HarnessError: the weights are those of another network, or are not all numbers.
    """
    expected = {key: value for key, value in network.state_dict().items() if not key.startswith(f"{last}.")}
    for key in list(state):  # in place: its metadata tell versions of layers apart
        value = state.pop(key)
        if not key.startswith((f"{last}.", *AUXILIARY)):
            state[OLD_DENSE_LAYER.sub(r"\1\2", key)] = value

    first = next(key for key, module in network.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"
    if first in state and expected[first].shape[1] == 1:
        state[first] = state[first].sum(1, keepdim=True)

    problem = _first_difference(state, expected)
    if not problem:
        try:
            network.load_state_dict(state, strict=False)  # all but the last layer, as just compared
        except (RuntimeError, ValueError) as error:  # MNASNet knows versions of itself
            problem = " ".join(str(error).split())
    if problem:
        raise HarnessError(
            f"model.weights do not fit torchvision/{name}: {problem}",
            "use weights of this architecture, with the kwargs and channels (for a transformer the size) of its images",
        )


def require_numbers(name: str, network: nn.Module) -> None:
    """Checks that all weights are finite.

    Raises:
        HarnessError: one is not, as in the part of VGG16's IMAGENET1K_FEATURES behind the convolutions.
    """
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise HarnessError(
                f"model.weights of torchvision/{name} are not all numbers: see {key}",
                "use other weights, or model.features_after to leave that part out",
            )


def _fetch(weights: WeightsEnum) -> Path:
    """Returns the file of published weights in torch.hub's folder (TORCH_HOME), downloaded where it is not there."""
    path = _place(weights)
    folder = path.parent
    if path.is_file():
        return path
    found = HASH_IN_NAME.search(path.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process of a machine downloads, the others wait for its file
            if not path.is_file():
                prefix = found.group(1) if found else None
                torch.hub.download_url_to_file(weights.url, str(path), prefix, progress=False)
    except (OSError, RuntimeError, http.client.HTTPException) as error:  # RuntimeError: the hash is another
        reason = getattr(error, "reason", None) or error
        raise HarnessError(
            f"the weights {weights} cannot be downloaded: {reason}",
            f"on a machine with a network fetch {weights.url}, then set `model.weights: PATH` to the file here",
        ) from None
    return path


def _is_file(weights: str) -> bool:
    return "/" in weights or weights.endswith(SUFFIXES)


def _place(weights: WeightsEnum) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name


def _read(path: Path) -> StateDict:
    _check_hash(path)
    # Of a damaged file torch raises anything, from UnpicklingError to RuntimeError, EOFError and KeyError.
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
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


def _check_hash(path: Path) -> None:
    found = HASH_IN_NAME.search(path.name)
    if not found:
        return
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}", "check the file's permissions") from None
    if not digest.startswith(found.group(1)):
        raise HarnessError(
            f"{path} is damaged or another version: its sha256 starts with {digest[:8]}, not {found.group(1)}",
            "remove it and fetch it again, or rename it where its name holds no hash",
        )


def _first_difference(state: StateDict, expected: StateDict) -> str | None:
    for key, value in expected.items():
        if key not in state:
            if key.endswith(".num_batches_tracked"):  # files from before torch 0.4.1 have none
                continue
            return f"they have no {key}"
        if state[key].shape != value.shape:
            return f"{key} is {_shape(state[key])}, and {_shape(value)} in the network"
    return next((f"the network has no {key}" for key in state if key not in expected), None)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"
