"""The size of a network: parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import nn

from harness.records.result import ModelFacts
from harness.spec import ImageShape
from harness.without_compiler import call_at_once, import_flop_counter


def count_size(network: nn.Module, image: ImageShape, device: torch.device) -> ModelFacts:
    """Counts the trainable and frozen parameters, and the multiply-accumulates of one image's forward pass.

    Convolutions, matrix products and attention are counted (`torch.utils.flop_counter`, which counts two operations
    each); norms, activations and pooling are not.
    """
    modes = {module: module.training for module in network.modules()}  # a frozen norm may be in eval mode by intent
    network.eval()
    # With `bf16-true` only those of batch norm are larger, which takes both.
    smallest = min(
        (parameter.dtype for parameter in network.parameters()), key=lambda dtype: dtype.itemsize, default=torch.float32
    )
    with torch.no_grad(), import_flop_counter().FlopCounterMode(display=False) as counter:
        call_at_once(type(counter.mode).__torch_dispatch__)
        network(torch.zeros(1, *image, device=device, dtype=smallest))
    for module, training in modes.items():
        module.training = training
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return ModelFacts(
        parameters=sum(size for size, _ in sizes),
        trainable_parameters=sum(size for size, trains in sizes if trains),
        multiply_accumulates=counter.get_total_flops() // 2,
    )
