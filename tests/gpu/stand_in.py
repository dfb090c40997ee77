"""A GPU that is none: the device `cuda`, played by the CPU, for Python code that only runs where there is a GPU.

Tensors that are put on `cuda` stay in the host's memory; of each it is remembered that it lies on the GPU, on which
stream it was made, and of those of the host whether they are pinned. So what a real GPU would refuse is refused:
tensors of two devices in one operation, the time between events that nobody waited for, a tensor that another stream
takes too early. What a real GPU does without a word is noted: `waits` has each call for which the host would have stood
still until the GPU was done. torch's own Python code is the real one, with its checks of devices and their numbers.

The numbers are the CPU's. Kernels, times and graphs are not a GPU's, and of its memory the tensors that are seen are
counted: nothing here is a measurement of one. What a function of torch that is written in Python calls inside is not
seen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from tests.gpu.tensors import GPU, HOST, StandInEvent, StandInGpu, StandInStream, gpus

MEMORY = 4 * 2**30
UUID = "00000000-0000-0000-0000-000000000000"


@contextlib.contextmanager
def stand_in_gpu(capability: tuple[int, int] = (9, 0), name: str = "Stand-in", count: int = 1) -> Iterator[StandInGpu]:
    """Gives this process a GPU, and threads that begin meanwhile, too.

    Args:
        capability: decides which types it has in hardware.
        name: of the card.
        count: of GPUs; all but the first are other processes', and may not be used.
    """
    gpu, run_thread = StandInGpu(), threading.Thread.run
    enter_autocast, group = torch.autocast.__init__, torch._C._group_tensors_by_device_and_dtype

    def run_with_gpu(thread: threading.Thread) -> None:
        with gpu:
            run_thread(thread)

    def autocast(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        enter_autocast(self, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    def grouped(lists: Any, with_indices: bool = False) -> Any:
        device = GPU if any(map(gpu.holds, lists[0])) else HOST
        return {(device, dtype): values for (_, dtype), values in group(lists, with_indices).items()}

    properties = SimpleNamespace(
        name=name, major=capability[0], minor=capability[1], total_memory=MEMORY, multi_processor_count=1, uuid=UUID
    )
    replaced: list[tuple[Any, dict[str, Any]]] = [
        (
            torch._C,
            {
                "_cuda_isInBadFork": lambda: False,
                "_cuda_getDeviceCount": lambda: count,
                "_cuda_getDevice": lambda: 0,
                "_cuda_setDevice": lambda device: None,
                "_cuda_synchronize": lambda: gpu.wait("synchronize"),
                "_cuda_emptyCache": lambda *_: gpu.memory.empty_cache(),
                "_cuda_resetPeakMemoryStats": lambda device: gpu.memory.reset_peaks(),
                "_cuda_memoryStats": lambda device: gpu.memory.stats(),
                "_cuda_setMemoryFraction": lambda fraction, device: setattr(gpu, "memory_fraction", fraction),
                "_group_tensors_by_device_and_dtype": grouped,
            },
        ),
        (
            torch.cuda,
            {
                "_initialized": True,
                "_exchange_device": lambda index: 0,
                "_maybe_exchange_device": lambda index: 0,
                "_get_device_properties": lambda index: properties,
                "is_available": lambda: True,
                "device_count": lambda: count,
                "default_generators": (torch.Generator(),),
                "cudart": lambda: SimpleNamespace(cudaMemGetInfo=lambda device: (MEMORY, MEMORY)),
                "Stream": StandInStream,
                "Event": StandInEvent,
                "stream": gpu.on_stream,
                "current_stream": lambda device=None: gpu.stream,
            },
        ),
        (torch.cuda.graphs, {"_cuda_isCurrentStreamCapturing": lambda: False}),  # torch 2.10 asks before each step
        (
            torch.accelerator,
            {
                "current_stream": lambda device=None: gpu.stream,
                "current_device_index": lambda: 0,
                "set_device_index": lambda device: None,
            },
        ),
        (Tensor, {"record_stream": lambda tensor, stream: gpu.record_stream(tensor, stream)}),
        (torch.autocast, {"__init__": autocast}),
        (threading.Thread, {"run": run_with_gpu}),
    ]
    with contextlib.ExitStack() as patches:
        for owner, values in replaced:
            patches.enter_context(mock.patch.multiple(owner, create=True, **values))
        gpus.append(gpu)
        AcceleratorState._reset_state(reset_partial_state=True)  # the process has one, which may be of the CPU
        try:
            with gpu:
                yield gpu
        finally:
            gpus.pop()
            AcceleratorState._reset_state(reset_partial_state=True)
