"""How fast a calibrated system is beside another one, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.records.calibration import Calibration
from harness.statistics.intervals import CONFIDENCE

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
    return Speed(math.exp(_mean(logs)), math.hypot(_of_rounds(variance, len(logs)), _of_mix(logs)))


def _of_rounds(variance: float, count: int) -> float:
    from scipy.special import ndtri  # scipy.stats would take a second longer to import

    return float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt(variance) / count


def _of_mix(logs: Sequence[float]) -> float:
    from scipy.special import stdtrit

    mean, count = _mean(logs), len(logs)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in logs) / (count - 1))
    return float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * sd * math.sqrt(1 + 1 / count)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
