"""The weights that torchvision and timm publish, read from their sources: a plan imports neither of them, nor torch."""

from __future__ import annotations

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# torchvision's naming, which timm follows in part: the first digits of the file's SHA-256, as in vgg16-397923af.pth.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
_COMMENT = re.compile(r"(?m)^\s*#.*\n|[ ]+#[ ].*$")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # which timm looks for, in this order


@dataclass(frozen=True)
class Published:
    """Weights of one architecture that its package names.

    Attributes:
        url: of the file.
        repository: at the Hugging Face Hub; empty for a file that lies in torch.hub's folder once it is fetched.
        files: the names that the file may have there, the first one preferred.
    """

    url: str
    repository: str = ""
    files: tuple[str, ...] = ()

    @property
    def hash_prefix(self) -> str:
        """The first hex digits of the file's SHA-256, where its name holds them; else empty."""
        return hash_in(self.files[0])


def hash_in(name: str) -> str:
    """Returns the first hex digits of a file's SHA-256 that its name holds; else an empty text."""
    found = _HASH_IN_NAME.search(name)
    return found[1] if found else ""


@functools.cache
def published_weights(package: str, architecture: str) -> dict[str, Published]:
    """Returns the weights of an architecture by their names, the package's default first; empty where there are none.

    Args:
        package: `torchvision` or `timm`; for any other there are none.
        architecture: as the package calls it.
    """
    read = {"torchvision": _of_torchvision, "timm": _of_timm}.get(package)
    spec = importlib.util.find_spec(package) if read else None
    if read is None or spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    for path in sorted(folder.glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        if f"\ndef {architecture}(" in source:
            return read(architecture, _COMMENT.sub("", source))
    return {}


def _of_torchvision(architecture: str, source: str) -> dict[str, Published]:
    """Reads `class ResNet18_Weights(WeightsEnum)`, which the builder of the architecture names."""
    named = re.search(rf"^def {architecture}\(\s*\*,\s*weights: Optional\[(\w+)\]", source, re.MULTILINE)
    body = re.search(rf"^class {named[1]}\(WeightsEnum\):\n((?: .*\n|\n)+)", source, re.MULTILINE) if named else None
    if not body:
        return {}
    urls = dict(re.findall(r'^    (\w+) = Weights\(\s*url="([^"]+)"', body[1], re.MULTILINE))
    default = re.search(r"^    DEFAULT = (\w+)", body[1], re.MULTILINE)
    names = sorted(urls, key=lambda name: not default or name != default[1])
    return {name: _in_torch_hub(urls[name]) for name in names}


def _of_timm(architecture: str, source: str) -> dict[str, Published]:
    """Reads the entries `'resnet18.a1_in1k': _cfg(hf_hub_id='timm/', url='...')` of an architecture."""
    found: dict[str, Published] = {}
    key = r"""^[ ]+['"]([\w.]+?)(\*?)['"][ ]*:"""
    entries = re.split(key, source, flags=re.MULTILINE)[1:]
    for name, star, text in zip(entries[::3], entries[1::3], entries[2::3], strict=True):
        own, _, tag = name.partition(".")
        if own != architecture:
            continue
        text = re.split(r"^\S", text, maxsplit=1, flags=re.MULTILINE)[0]  # the last entry ends with its dictionary
        given = dict(re.findall(r"""\b(url|hf_hub_id|hf_hub_filename)=['"]([^'"]+)['"]""", text))
        repository = given.get("hf_hub_id", "")
        if repository.endswith("/"):
            repository += name
        if repository:
            files = (given["hf_hub_filename"],) if "hf_hub_filename" in given else _HUB_FILES
            url = f"https://huggingface.co/{repository}/resolve/main/{files[0]}"
            one = Published(url, repository, files)
        elif "url" in given:
            one = _in_torch_hub(given["url"])
        else:
            continue
        found = {tag: one, **found} if star or not tag else {**found, tag: one}
    return found


def _in_torch_hub(url: str) -> Published:
    return Published(url, files=(PurePosixPath(url).name,))
