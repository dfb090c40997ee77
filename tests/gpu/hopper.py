"""torch's compiler for a Hopper card, on a host without a GPU: its kernels are written and compiled, and none runs.

Tensors have shapes and no values (`FakeTensorMode`). Inductor writes CUDA code for them, and Triton compiles each
kernel of it to machine code of `sm_90a` with the `ptxas` that it brings. What Inductor leaves to cuDNN and cuBLAS is
only named in that code. Nothing here shows that a kernel is right or fast.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._dynamo import device_interface
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._guards import detect_fake_mode
from torch._inductor import compile_fx, config
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.triton_heuristics import CachingAutotuner
from torch._inductor.utils import fresh_cache
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_aggregate
from torch.utils._triton import has_triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

GPU = torch.device("cuda", 0)
TARGET = GPUTarget("cuda", 90, 32)
# An H100 SXM: table 4 of NVIDIA's "H100 Tensor Core GPU Architecture", and the CUDA programming guide, table "technical
# specifications per compute capability".
H100 = SimpleNamespace(
    name="NVIDIA H100",
    major=9,
    minor=0,
    total_memory=80 * 2**30,
    multi_processor_count=132,
    warp_size=32,
    max_threads_per_block=1024,
    max_threads_per_multi_processor=2048,
    regs_per_multiprocessor=65536,
    shared_memory_per_block=48 * 2**10,
    shared_memory_per_block_optin=227 * 2**10,
    shared_memory_per_multiprocessor=228 * 2**10,
    L2_cache_size=50 * 2**20,
    is_integrated=0,
    gcnArchName="",
    uuid="",
)


@dataclass
class Compiled:
    """What was compiled.

    Attributes:
        mode: of the tensors.
        graphs: "forward" or "backward" for each graph that Inductor was given, in order.
        kernels: the name of each Triton kernel that it wrote for them.
        cubins: by the name of a kernel, the machine code of each of its variants.
    """

    mode: FakeTensorMode
    graphs: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    cubins: dict[str, list[bytes]] = field(default_factory=dict)

    def without_values(self, network: nn.Module) -> nn.Module:
        """Takes the values from a network's weights and buffers, and returns it."""
        for module in network.modules():
            tensors: dict[str, Any]
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    tensors[name] = None if tensor is None else self.mode.from_tensor(tensor)
        return network


@contextlib.contextmanager
def hopper() -> Iterator[Compiled]:
    """Lets `torch.compile` write for a Hopper card; notes what is compiled in it.

    What is called is given tensors of the CPU, as autograd and Dynamo ask a real card for its context. Each graph is
    moved to the card before Inductor sees it.
    """
    found = Compiled(FakeTensorMode(allow_non_fake_inputs=True))
    compile_both, compile_graph = compile_fx.compile_fx, compile_fx.compile_fx_inner
    precompile = CachingAutotuner.precompile

    def compile_all(graph: Any, inputs: Any, **options: Any) -> Any:
        return compile_both(graph, inputs, **{"inner_compile": compile_on_card, **options})

    def compile_on_card(graph: torch.fx.GraphModule, inputs: Any, **options: Any) -> Any:
        with _card(), mock.patch.object(CachingAutotuner, "precompile", without_launchers):
            compile_graph(*_moved(graph, inputs), **options)
        found.graphs.append("backward" if options.get("is_backward") else "forward")
        return make_boxed_func(graph.forward)

    def without_launchers(kernel: Any, *args: Any, **options: Any) -> None:
        found.kernels.append(kernel.fn.__name__)
        precompile(kernel, warm_cache_only=True)  # else it would be loaded to the card, too

    def on_compiled(*, metadata: dict[str, Any], metadata_group: dict[str, str], **_: Any) -> None:
        assert metadata["target"] == TARGET
        [path] = (path for name, path in metadata_group.items() if name.endswith(".cubin"))
        found.cubins.setdefault(metadata["name"], []).append(Path(path).read_bytes())

    with (
        fresh_cache(),
        config.patch(compile_threads=1),  # in this process
        mock.patch.object(compile_fx, "compile_fx", compile_all),
        mock.patch.object(knobs.compilation, "listener", on_compiled),
        found.mode,
    ):
        yield found


@contextlib.contextmanager
def _card() -> Iterator[None]:
    """Lets Inductor and Triton find a card."""
    device_interface.get_interface_for_device("cuda")  # the real ones are registered when one is asked for
    has_triton.cache_clear()  # a test before may have asked, without a card
    with (
        mock.patch.multiple(
            torch.cuda,
            is_available=lambda: True,
            device_count=lambda: 1,
            current_device=lambda: 0,
            get_device_properties=lambda device=None: H100,
            get_device_capability=lambda device=None: (H100.major, H100.minor),
            get_arch_list=lambda: ["sm_90"],
            is_bf16_supported=lambda including_emulation=True: True,
            get_rng_state=lambda device="cuda": torch.empty(0),
            set_rng_state=lambda state, device="cuda": None,
            _lazy_init=lambda: None,
            _exchange_device=lambda index: 0,
            _maybe_exchange_device=lambda index: 0,
        ),
        mock.patch.dict(device_interface.device_interfaces, {"cuda": _Card, "cuda:0": _Card}),
        mock.patch.object(fake_tensor, "init_gpu_context", lambda *_: None),
        mock.patch.object(driver, "_active", _Driver()),
        mock.patch.object(triton_helpers, "set_driver_to_gpu", lambda: None),
    ):
        try:
            yield
        finally:
            has_triton.cache_clear()


def _moved(graph: torch.fx.GraphModule, inputs: list[Any]) -> tuple[torch.fx.GraphModule, list[Any]]:
    """Returns a copy of a graph on the card, with its inputs."""
    graph = copy.deepcopy(graph)
    for node in graph.graph.nodes:
        node.args, node.kwargs = map_aggregate(
            (node.args, node.kwargs), lambda value: GPU if isinstance(value, torch.device) else value
        )
    graph.recompile()
    mode = detect_fake_mode(inputs)
    assert mode
    with mode:
        return graph, [_on_card(each) if isinstance(each, Tensor) else each for each in inputs]


def _on_card(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=GPU)


class _Card(device_interface.CudaInterface):
    """What Inductor asks of a device."""

    is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    get_raw_stream = staticmethod(lambda device: 0)
    get_device_properties = staticmethod(lambda device=None: H100)
    get_compute_capability = staticmethod(lambda device=None: TARGET.arch)

    class Worker(device_interface.CudaInterface.Worker):
        """What its compile workers ask."""

        get_device_properties = staticmethod(lambda device=None: H100)


class _Driver:
    """What Triton asks of a driver."""

    get_current_target = staticmethod(lambda: TARGET)
    get_current_device = staticmethod(lambda: 0)
    get_active_torch_device = staticmethod(lambda: GPU)
