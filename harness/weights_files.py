"""Files of pretrained weights: where one lies, and what identifies its content. Imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from harness.cache import remember
from harness.errors import HarnessError, nearest
from harness.paths import user_path
from harness.published_weights import Published, hash_in, published_weights

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar")


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights, here or not.

    Attributes:
        title: how people call them.
        path: where the file lies; where it is not here, where it is looked for.
        published: what the architecture's package says of it; None for a file that the suite names by its path.
        name: that the package gives it; empty for a file.
        known: the first hex digits of the SHA-256 of each file that the package publishes of the architecture.
    """

    title: str
    path: Path
    published: Published | None = None
    name: str = ""
    known: tuple[str, ...] = ()

    def is_here(self) -> bool:
        """Tells whether the file is on this machine."""
        with contextlib.suppress(OSError):  # a name that is too long, a folder that is closed
            return self.path.is_file()
        return False

    def identity(self) -> str:
        """Returns what identifies the content: the file's SHA-256, or, of published weights, the digits in their name.

        So weights have one identity, whether a suite asks for them by name or names a copy of the file, and those whose
        name has the digits have it before they are fetched.

        Raises:
            MissingWeights: the file is not here, and its name does not have the digits.
        """
        if self.published and self.published.hash_prefix:
            return self.published.hash_prefix
        digest = _identified[self.path] = self.sha256()
        return next((digits for digits in self.known if digest.startswith(digits)), digest)

    def sha256(self) -> str:
        """Returns the SHA-256 of the file; it is kept until size or time of the file change.

        Raises:
            MissingWeights: the file is not here.
            HarnessError: it cannot be read, or changes meanwhile.
        """
        if not self.is_here():
            raise MissingWeights(self)
        try:
            stamp = _stamp(self.path)
            key = hashlib.sha256(json.dumps([str(self.path.absolute()), *stamp]).encode()).hexdigest()
            digest = remember("weights", key, lambda: _sha256(self.path))
            if _stamp(self.path) != stamp:
                raise HarnessError(f"{self.path} changes while it is read", "wait until it is complete")
        except OSError as error:
            raise HarnessError(
                f"{self.path} cannot be read: {error.strerror}", "check the file's permissions"
            ) from None
        return digest

    def require_same(self) -> None:
        """Checks that the file is what its name says, and what it was when this process identified its runs.

        Raises:
            HarnessError: it is not, or it is not here.
        """
        digest, digits = self.sha256(), hash_in(self.path.name)
        if not digest.startswith(digits):
            raise HarnessError(
                f"{self.path} is damaged or another version: its sha256 starts with {digest[:8]}, not {digits}",
                "remove it and fetch it again, or rename it where its name holds no hash",
            )
        if _identified.get(self.path, digest) != digest:
            raise HarnessError(
                f"{self.path} has changed since the runs were planned",
                "the same `harness run` or `harness submit` again plans them with it as it is now",
            )


class MissingWeights(HarnessError):
    """Pretrained weights that are not on this machine; `weights` says which."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        if weights.published:
            message = f"the weights of {weights.title} are not here: there is no {weights.path}"
            hint = f"`harness run SUITE --download` fetches them; or {by_hand(weights.published)}"
        else:
            message = f"there is no file of weights {weights.path}"
            hint = "check the path; that of a suite begins at the suite's folder"
        super().__init__(message, hint)

    def __reduce__(self) -> tuple[type[MissingWeights], tuple[Weights]]:
        return type(self), (self.weights,)  # it is sent from rank to rank


def by_hand(published: Published) -> str:
    """Returns what a person can do about published weights where there is no network."""
    there = "" if published.repository else "put it there, or "
    return f"get {published.url} on a machine with a network and {there}name the file: `pretrained: PATH`"


def names_a_file(pretrained: str) -> bool:
    """Tells a path from the name of published weights."""
    return "/" in pretrained or pretrained.endswith(SUFFIXES)


def loads_weights(architecture: str) -> bool:
    """Tells whether the harness finds what `pretrained` of an architecture stands for; else a plug-in reads it."""
    return architecture.partition("/")[0] in ("torchvision", "timm")


def find_weights(architecture: str, pretrained: bool | str) -> Weights | None:
    """Returns the file that a suite's `pretrained` stands for, here or not.

    Args:
        architecture: as a suite names it, e.g. `torchvision/resnet18`.
        pretrained: true for the default weights that the package publishes, a name of others, or the path of a file.

    Returns:
        None where new weights are asked for, or where the architecture is neither torchvision's nor timm's.

    Raises:
        HarnessError: the package publishes no such weights.
    """
    package, _, name = architecture.partition("/")
    if pretrained is False or not loads_weights(architecture):
        return None
    published = published_weights(package, name)
    if isinstance(pretrained, str) and names_a_file(pretrained):
        known = tuple(one.hash_prefix for one in published.values() if one.hash_prefix)
        return Weights(pretrained, user_path(pretrained), known=known)
    if not published:
        raise HarnessError(f"{package} is not known to publish weights of {name}", "name a file: `pretrained: PATH`")
    default = next(iter(published))
    wanted = default if pretrained is True else pretrained
    if wanted not in published:
        message = f"{architecture} has no weights '{wanted}'"
        raise HarnessError(message, f"{nearest(str(wanted), published)} (true stands for {default}, a path for a file)")
    one = published[wanted]
    path = _in_hub(one) if one.repository else _torch_hub() / one.files[0]
    return Weights(f"{architecture} ({wanted})" if wanted else architecture, path, one, wanted)


_identified: dict[Path, str] = {}  # the SHA-256 of files, as they are part of the identity of runs in this process


def _torch_hub() -> Path:
    """Returns the folder of torch.hub's files, see `torch.hub.get_dir`."""
    home = os.environ.get("TORCH_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/torch"
    return user_path(home) / "hub" / "checkpoints"


def _in_hub(published: Published) -> Path:
    """Returns where a file lies in the cache of the Hugging Face Hub; where it does not, the folder and its name."""
    from huggingface_hub import constants, try_to_load_from_cache

    for name in published.files:
        if isinstance(found := try_to_load_from_cache(published.repository, name), str):
            return Path(found)
    folder = f"models--{published.repository.replace('/', '--')}"
    return Path(constants.HF_HUB_CACHE) / folder / published.files[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
