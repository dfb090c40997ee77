"""Where tensors lie on the stand-in for a GPU, and for what the host would wait: see `tests.gpu.stand_in`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

GPU, HOST = torch.device("cuda", 0), torch.device("cpu")

# For their answer, or to know how large it is, the host waits.
WAITS = {
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "masked_select", "bincount", "unique",
    "unique_consecutive", "histc", "equal", "allclose", "repeat_interleave",
}  # fmt: skip
# They take tensors of both devices.
MIXES = {
    "_has_compatible_shallow_copy_type", "to", "copy_", "__set__", "type_as", "__getitem__", "__setitem__", "is_set_to",
    "backward",
}  # fmt: skip
# They look at nothing that a kernel writes.
LOOKS = {"dim", "size", "numel", "stride", "is_floating_point", "data_ptr", "untyped_storage", "element_size"}


class StandInStream:
    """As `torch.cuda.Stream`; remembers for what it has waited."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.waited: dict[StandInStream, int] = {}
        self.cuda_stream = id(self)

    def wait_stream(self, other: StandInStream) -> None:
        """Lets what is enqueued from now on wait for all that the other was given."""
        self.waited[other] = gpus[-1].ticks

    def is_capturing(self) -> bool:
        """Tells that no graph is recorded."""
        return False


class StandInEvent:
    """As `torch.cuda.Event`; it is reached when the host has waited for the GPU."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.is_timed = enable_timing
        self.moment: float | None = None

    def record(self) -> None:
        """Sets the mark."""
        self.moment = time.perf_counter()

    def elapsed_time(self, end: StandInEvent) -> float:
        """Returns milliseconds."""
        if not (self.is_timed and end.is_timed and self.moment and end.moment):
            raise RuntimeError("both events must be recorded, and made with enable_timing")
        if end.moment > gpus[-1].waited_at:
            raise RuntimeError("CUDA error: device not ready")
        return (end.moment - self.moment) * 1000


@dataclass
class _OnGpu:
    """A storage on the GPU: when and on which stream it was made, and which others are known to use it."""

    reference: StorageWeakRef
    stream: StandInStream
    tick: int
    size_bytes: int
    recorded: set[StandInStream] = field(default_factory=set)


class StandInMemory:
    """Bytes of tensors, and of what torch would keep for the next ones until it is told to give it back."""

    def __init__(self) -> None:
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0

    def count(self) -> None:
        """Takes note of what there is now."""
        for key, held in list(_on_gpu.items()):
            if held.reference.expired():
                del _on_gpu[key]
        self.allocated = sum(held.size_bytes for held in list(_on_gpu.values()))
        self.reserved = max(self.reserved, self.allocated)
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def empty_cache(self) -> None:
        """As `torch.cuda.empty_cache`."""
        self.count()
        self.reserved = self.allocated

    def reset_peaks(self) -> None:
        """As `torch.cuda.reset_peak_memory_stats`."""
        self.count()
        self.peak_allocated, self.peak_reserved = self.allocated, self.reserved

    def stats(self) -> dict[str, dict[str, dict[str, int]]]:
        """Returns what `torch.cuda.memory_stats` is made of."""
        self.count()
        peaks = {"allocated_bytes": self.peak_allocated, "reserved_bytes": self.peak_reserved}
        return {name: {"all": {"peak": peak}} for name, peak in peaks.items()}


# They outlive a stand-in, as what a process keeps on its GPU does.
_on_gpu: dict[int, _OnGpu] = {}
_pinned: dict[int, StorageWeakRef] = {}
_default_stream = StandInStream()
gpus: list[StandInGpu] = []


class StandInGpu(TorchFunctionMode):
    """What the process sees.

    Attributes:
        waits: for what the host would have stood still, in order.
        waited_at: when it did so last.
        ticks: storages that were made.
        stream: the current one.
        memory_fraction: that was set.
        memory: that was taken, as far as tensors are seen: not what is made within a backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.waited_at = 0.0
        self.ticks = 0
        self.stream = _default_stream
        self.memory_fraction = 1.0
        self.memory = StandInMemory()

    def wait(self, why: str) -> None:
        """Lets all that was enqueued be done."""
        self.waits.append(why)
        self.waited_at = time.perf_counter()

    def holds(self, tensor: Tensor) -> bool:
        """Tells whether a tensor lies on the GPU."""
        return _found(tensor) is not None

    def record_stream(self, tensor: Tensor, stream: StandInStream) -> None:
        """As `Tensor.record_stream`."""
        held = _found(tensor)
        assert held, "record_stream of a tensor of the host"
        held.recorded.add(stream)

    @contextlib.contextmanager
    def on_stream(self, stream: StandInStream) -> Iterator[None]:
        """As `torch.cuda.stream`."""
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Does what torch is asked for, on the CPU."""
        kwargs, name = dict(kwargs or {}), func.__name__
        if name == "__get__":
            return self._property(func, args)
        if name in ("to", "cuda", "cpu"):
            return self._moved(name, args, kwargs)
        if name == "get_device":
            return 0 if self.holds(args[0]) else -1
        if name == "pin_memory":
            copied = args[0].clone()
            _pinned[_key(copied)] = StorageWeakRef(copied.untyped_storage())
            return copied
        if name == "is_pinned":
            return _is_pinned(args[0])
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        if device:
            kwargs["device"] = HOST
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        is_on_gpu = any(map(self.holds, tensors))
        if is_on_gpu and name not in LOOKS:
            self._check(name, tensors)
            if name in WAITS or (name == "__getitem__" and _by_bool(args[1])):
                self.wait(name)
        result = func(*args, **kwargs)
        if device.type != "cuda" if device else not is_on_gpu:
            return result
        if name in ("tensor", "as_tensor"):
            self.wait(f"{name}: a copy to the GPU")
        return tree_map(lambda each: self._put(each) if isinstance(each, Tensor) else each, result)

    def _property(self, func: Any, args: Any) -> Any:
        tensor = args[0]
        if not isinstance(tensor, Tensor) or not self.holds(tensor):
            return func(*args)
        name = func.__self__.__name__
        if name in ("device", "is_cuda", "is_cpu"):
            return {"device": GPU, "is_cuda": True, "is_cpu": False}[name]
        result = func(*args)  # e.g. a gradient, which was made in the backward pass
        return self._put(result) if isinstance(result, Tensor) else result

    def _moved(self, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor:
        tensor, *rest = args
        device = None if name == "to" else torch.device(name)
        for each in (*rest, kwargs.get("device")):
            if isinstance(each, torch.device | str):
                device = torch.device(each)
            elif isinstance(each, Tensor):
                device = GPU if self.holds(each) else HOST
        rest = [HOST if isinstance(each, torch.device | str) else each for each in rest]
        kwargs |= {"device": HOST} if "device" in kwargs else {}
        was_there = self.holds(tensor)
        will_be = device.type == "cuda" if device else was_there
        self._check(name, [tensor])
        if was_there != will_be:
            from_pinned = not was_there and _is_pinned(tensor)
            if not (from_pinned and (kwargs.get("non_blocking") or any(each is True for each in rest))):
                self.wait(f"{name}: a copy to the {'GPU' if will_be else 'host'}")
            tensor = tensor.clone()
        moved = tensor.to(*rest, **kwargs) if name == "to" else tensor
        return self._put(moved) if will_be else moved

    def _check(self, name: str, tensors: list[Tensor]) -> None:
        held = [each for each in map(_found, tensors) if each]
        if name == "numpy" and held:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if held and name not in MIXES and any(each.dim() and not self.holds(each) for each in tensors):
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found cuda:0 and cpu")
        for each in held:
            if each.stream is self.stream:
                continue
            if self.stream.waited.get(each.stream, -1) < each.tick:
                raise RuntimeError(f"{name}: a tensor of another stream, for which this one has not waited")
            if self.stream not in each.recorded:
                raise RuntimeError(f"{name}: a tensor of another stream, which could be freed there: no record_stream")

    def _put(self, tensor: Tensor) -> Tensor:
        if not self.holds(tensor):
            self.ticks += 1
            storage = tensor.untyped_storage()
            _on_gpu[_key(tensor)] = _OnGpu(StorageWeakRef(storage), self.stream, self.ticks, storage.nbytes())
            self.memory.count()
        return tensor


def _key(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # it has none
        return 0


def _found(tensor: Tensor) -> _OnGpu | None:
    held = _on_gpu.get(_key(tensor))
    return held if held and not held.reference.expired() else None


def _is_pinned(tensor: Tensor) -> bool:
    reference = _pinned.get(_key(tensor))
    return reference is not None and not reference.expired()


def _by_bool(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in parts)
