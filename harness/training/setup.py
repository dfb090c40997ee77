"""Building what a run steps: parameter groups, optimizer, learning rate, moving average."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from harness import registry
from harness.spec import OptimizerSection, ScheduleSection, parameters
from harness.training.moving_average import MovingAverage
from harness.training.schedule import LearningRate
from harness.without_compiler import make_optimizer

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def build_optimizer(section: OptimizerSection, model: nn.Module) -> Optimizer:
    """Returns the optimizer over the trainable parameters of `model`."""
    groups = parameter_groups(section, model)
    optimizer = make_optimizer(lambda: registry.build("optimizer", section.name, groups, **parameters(section)))
    for group in optimizer.param_groups:
        group["lr"] *= group.pop("lr_scale", 1.0)
    return optimizer


def parameter_groups(section: OptimizerSection, model: nn.Module) -> list[dict]:
    """Returns the trainable parameters of `model` in groups, the first of which holds the weights.

    Biases and the parameters of norms have a group without decay for `weight_decay_on: weights`; the biases of norms
    have one with an `lr_scale` where the section scales their rate.
    """
    of_key: dict[tuple[bool, bool], list[nn.Parameter]] = {(True, False): []}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            is_norm, is_bias = isinstance(module, NORMS), name.endswith("bias")
            decays = section.weight_decay_on == "all" or not (is_norm or is_bias)
            scaled = section.norm_bias_lr_scale != 1.0 and is_norm and is_bias
            of_key.setdefault((decays, scaled), []).append(parameter)
    if section.weight_decay_on == "weights":
        of_key.setdefault((False, False), [])
    return [
        {"params": parameters}
        | ({} if decays else {"weight_decay": 0.0})
        | ({"lr_scale": section.norm_bias_lr_scale} if scaled else {})
        for (decays, scaled), parameters in of_key.items()
    ]


def build_learning_rate(
    section: ScheduleSection, optimizer: Optimizer, epochs: int, steps_per_epoch: int
) -> LearningRate:
    """Returns the learning rate of a run of `epochs` epochs."""
    factor = registry.build("schedule", section.name, epochs, **parameters(section))
    return LearningRate(optimizer, factor, steps_per_epoch, section.warmup_epochs)


def build_ema(network: nn.Module, decay: float | None) -> MovingAverage | None:
    """Returns the moving average of the weights, where there shall be one."""
    return MovingAverage(network, decay) if decay else None
