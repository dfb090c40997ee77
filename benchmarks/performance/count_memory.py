"""What every suite that ships would take of a GPU's memory, counted on a CPU: no image is seen and nothing is computed.

    python benchmarks/performance/count_memory.py [--json] [--gib 6 3] [--suites NAME ...]

Of each suite the configs that differ in network, image, batch or precision take two optimizer steps and an evaluation
batch in float32, which is what `auto` means on a GTX card, with tensors that have shapes and no content. Peak is the
most bytes that tensors had at once, and the training and test images where the loader keeps them on the GPU. From
each card `RESERVED` is taken off: CUDA's context, the workspaces of cuDNN, a desktop. That is an assumption, and what
the allocator wastes is not counted. Micro-batches are halved until they fit, as `harness run --local` would; so are
batches of evaluation, which take a `--set train.eval_batch_size`.

For each suite the config that takes most is shown. `benchmarks/performance/gtx.py` tries the same on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from gtx import GIB, SUITES, different_specs
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from harness.models.network import build_network
from harness.running.build import build_optimizer
from harness.spec import ImageShape, RunSpec
from harness.suite.plan import load_suite

RESERVED = 0.75 * GIB
STEPS = 2
# Images that the resident loader keeps, training and test, by dataset; those of folders are as many as the user has.
IMAGES = {"cifar10": 60_000, "cifar100": 60_000, "digits": 1_797}


class Counter(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive.

    Attributes:
        now, peak: bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return result

    def add(self, tensor: Tensor) -> None:
        """Counts a tensor until its memory is freed; several tensors may share it."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def main() -> None:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gib", type=float, nargs="+", default=[6.0, 3.0])
    parser.add_argument("--suites", nargs="+", default=[path.stem for path in sorted(SUITES.glob("*.yaml"))])
    arguments = parser.parse_args()
    found = [largest(suite, arguments.gib) for suite in arguments.suites]
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    cards = [f"{gib:g} GiB" for gib in arguments.gib]
    rows = [["suite", "largest config", "batch", "training", "evaluation", *cards]]
    for one in found:
        peaks = [_size(one[name]) for name in ("train_bytes", "eval_bytes")]
        fits = [_said(one, one["fits"][card]) for card in cards]
        rows.append([one["suite"], one["label"], str(one["train_batch"]), *peaks, *fits])
    rows.insert(1, ["---"] * len(rows[0]))
    sys.stdout.write("".join(f"| {' | '.join(row)} |\n" for row in rows))


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def _said(one: dict[str, Any], fits: dict[str, int | None]) -> str:
    if None in fits.values():
        return "no"
    train = f"micro-batches of {fits['train']}" if fits["train"] != one["train_batch"] else ""
    evaluation = f"`eval_batch_size={fits['eval']}`" if fits["eval"] != one["eval_batch"] else ""
    return ", ".join(filter(None, (train, evaluation))) or "as it is"


def largest(suite: str, gib: Sequence[float]) -> dict[str, Any]:
    """Returns what the config of a suite takes that takes most."""
    resident = resident_bytes(suite)
    counted = []
    for spec in different_specs(suite):
        sizes = count(spec, spec.train.global_batch_size, spec.train.eval_batch_size)
        counted.append((max(sizes), sizes, spec))
    _, (train_bytes, eval_bytes), spec = max(counted, key=lambda one: one[0])
    train, rooms = spec.train, {f"{one:g} GiB": one * GIB - RESERVED - resident for one in gib}
    fits = {
        card: {
            "train": fitting(train.global_batch_size, room, lambda size: count(spec, size, 0)[0]),
            "eval": fitting(train.eval_batch_size, room, lambda size: count(spec, 0, size)[1]),
        }
        for card, room in rooms.items()
    }
    return {"suite": suite, "label": spec.label, "train_batch": train.global_batch_size,
            "eval_batch": train.eval_batch_size, "train_bytes": train_bytes + resident,
            "eval_bytes": eval_bytes + resident, "fits": fits}  # fmt: skip


def resident_bytes(suite: str) -> int:
    """Returns the most bytes of images that a suite keeps on the GPU."""
    path = SUITES / f"{suite}.yaml"
    where = ["data.root=/none"] if "name: image_folder" in path.read_text() else []
    return max(
        IMAGES.get(spec.data.name, 0) * (64 if spec.data.name == "digits" else 3 * 32 * 32)
        for spec in load_suite(path, where).configs().values()
    )


def fitting(size: int, room: float, peak: Callable[[int], int]) -> int | None:
    """Returns the largest batch, of `size` halved so often, whose peak leaves no byte without room; None for none."""
    while size and peak(size) > room:
        size //= 2
    return size or None


def count(spec: RunSpec, train_batch: int, eval_batch: int) -> tuple[int, int]:
    """Returns the peak of two optimizer steps of one micro-batch each, and that of a batch of evaluation.

    Args:
        train_batch, eval_batch: images in each; 0 to leave that part out.
    """
    data: Any = spec.data  # of random images: nothing is read
    image = ImageShape(data.channels, *data.augment.output_size(data.size, data.size))
    with torch.device("meta"):
        network = build_network(spec.model, image, data.classes)
    counter = Counter()
    for tensor in (*network.parameters(), *network.buffers()):
        counter.add(tensor)
    optimizer = build_optimizer(spec.optimizer, network)
    with counter:
        network.train()
        for _ in range(STEPS if train_batch else 0):
            _step(network, spec, torch.empty(train_batch, *image, device="meta"))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    trained, counter.peak = counter.peak, counter.now
    with counter, torch.no_grad():
        network.eval()
        if eval_batch:
            network(torch.empty(eval_batch, *image, device="meta"))
    return trained, counter.peak


def _step(network: nn.Module, spec: RunSpec, images: Tensor) -> None:
    labels = torch.empty(len(images), dtype=torch.int64, device="meta")
    F.cross_entropy(network(images), labels, label_smoothing=spec.train.label_smoothing).backward()


if __name__ == "__main__":
    main()
