"""How fast a calibrated system is beside another one, and how sure that is."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from harness.records.calibration import Calibration
from harness.statistics.intervals import t_quantile

# What the speed of a system is taken from, each with the same weight: a matrix product, and layers of our networks.
MIX = ("matmul", "conv_resnet18_stem", "conv_resnet18", "conv_cnn3", "conv_vgg")


class Speed(NamedTuple):
    """A system's speed over the reference system's.

    Attributes:
        ratio: geometric mean over the mix; above 1 where the system is the faster one.
        log_error: half of the 95 % interval of the ratio's logarithm, for one more operation of the kind.
    """

    ratio: float
    log_error: float


def relative_speed(own: Calibration, reference: Calibration, precision: str) -> Speed | None:
    """Returns the speed in a precision, or None where one of the two was not calibrated in it.

    The error has two parts, added in squares. Each rate is known as well as its rounds repeat (`relative_error`). And
    no single number tells how much faster one system is than another: the operations of the mix disagree, and a network
    is one more such operation. So it is a prediction interval: t(0.975, k-1) sd sqrt(1 + 1/k) over the logarithms of
    the k ratios.
    """
    if own.system_id == reference.system_id:
        return Speed(1.0, 0.0) if all(own.rate(f"{name}.{precision}") for name in MIX) else None
    logs: list[float] = []
    variance = 0.0
    for name in MIX:
        rate, other = own.rate(f"{name}.{precision}"), reference.rate(f"{name}.{precision}")
        if rate is None or other is None:
            return None
        logs.append(math.log(rate.median / other.median))
        variance += rate.relative_error**2 + other.relative_error**2
    of_rounds = t_quantile(math.inf) * math.sqrt(variance) / len(MIX)
    of_mix = t_quantile(len(MIX) - 1) * statistics.stdev(logs) * math.sqrt(1 + 1 / len(MIX))
    return Speed(math.exp(statistics.fmean(logs)), math.hypot(of_rounds, of_mix))
