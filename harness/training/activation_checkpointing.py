"""Activation checkpointing: a network keeps the inputs of its blocks and computes what is inside them anew.

"Training Deep Nets with Sublinear Memory Cost" (Chen et al., arXiv 1604.06174), by `torch.utils.checkpoint`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness.errors import HarnessError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
ENOUGH = 6  # blocks: of fewer, each would be a good part of the network


def checkpoint_activations(name: str, network: nn.Module) -> None:
    """Makes a network forget the activations inside its blocks until the backward pass.

    Blocks are the items of containers that have two layers with weights or more: of nested ones, the outermost of which
    there are `ENOUGH`. The random numbers of the second pass are those of the first, and batch norm's running
    statistics are moved by the first alone, so that a step is the same as without.

    Args:
        name: of the architecture.
        network: is changed in place; the names of its weights stay.

    Raises:
        HarnessError: it has no blocks.
    """
    levels: dict[int, list[nn.Module]] = {}
    _walk(network, 0, levels)
    found = next((blocks for _, blocks in sorted(levels.items()) if len(blocks) >= ENOUGH), None)
    blocks = found or max(levels.values(), key=len, default=[])
    if not blocks:
        message = f"train.activation_checkpointing: {name} has no blocks of several layers"
        raise HarnessError(message, "leave it out, or use an architecture of blocks, e.g. resnet18")
    importlib.import_module("torch._dynamo")  # which `checkpoint` asks for: seconds, and not those of a step
    for block in blocks:
        block.forward = functools.partial(_forward, block)


def checkpointed_blocks(network: nn.Module) -> int:
    """Returns how many blocks of a network are so."""
    return sum(
        isinstance(own := vars(module).get("forward"), functools.partial) and own.func is _forward
        for module in network.modules()
    )


def _walk(module: nn.Module, depth: int, levels: dict[int, list[nn.Module]]) -> None:
    for child in module.children():
        layers = sum(any(True for _ in layer.parameters(recurse=False)) for layer in child.modules())
        is_block = isinstance(module, CONTAINERS) and layers > 1 and type(child) not in CONTAINERS[1:]
        if is_block:
            levels.setdefault(depth, []).append(child)
        _walk(child, depth + is_block, levels)


def _forward(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    plain = functools.partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return plain(*args, **kwargs)
    inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    before = [value._version for value in inputs]
    contexts = functools.partial(_contexts, block)
    result = checkpoint(plain, *args, use_reentrant=False, context_fn=contexts, **kwargs)
    if before != [value._version for value in inputs]:
        message = f"train.activation_checkpointing: {type(block).__name__} changes its input in place"
        raise HarnessError(message, "leave it out for this architecture")
    return result


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return contextlib.nullcontext(), _statistics_at_rest(block)


@contextlib.contextmanager
def _statistics_at_rest(block: nn.Module) -> Iterator[None]:
    """Keeps batch norm from counting a batch twice: it normalises by the batch, and the batch weighs nothing."""
    norms = [
        module
        for module in block.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.track_running_stats
    ]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
