"""Building what a run steps: parameter groups, optimizer, learning rate, moving average."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness import registry
from harness.spec import OptimizerSection, ScheduleSection, parameters
from harness.training.schedule import LearningRate
from harness.without_compiler import make_optimizer

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def build_optimizer(section: OptimizerSection, model: nn.Module) -> Optimizer:
    """Returns the optimizer over the trainable parameters of `model`."""
    groups = parameter_groups(section, model)
    return make_optimizer(lambda: registry.build("optimizer", section.name, groups, **parameters(section)))


def parameter_groups(section: OptimizerSection, model: nn.Module) -> list[dict]:
    """Returns one group of all trainable parameters, or, for `weight_decay_on: weights`, a second one without decay.

    The second group holds biases and the parameters of normalisation layers.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if section.weight_decay_on == "all":
        return [{"params": trainable}]
    exempt = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name.endswith("bias") or isinstance(module, NORMS)
    }
    return [
        {"params": [parameter for parameter in trainable if id(parameter) not in exempt]},
        {"params": [parameter for parameter in trainable if id(parameter) in exempt], "weight_decay": 0.0},
    ]


def build_learning_rate(
    section: ScheduleSection, optimizer: Optimizer, epochs: int, steps_per_epoch: int
) -> LearningRate:
    """Returns the learning rate of a run of `epochs` epochs."""
    factor = registry.build("schedule", section.name, epochs, **parameters(section))
    return LearningRate(optimizer, factor, steps_per_epoch, section.warmup_epochs)


def build_ema(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Returns the exponential moving average of the weights; buffers follow the model's."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
