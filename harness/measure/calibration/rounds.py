"""Rates by interleaved rounds: what disturbs the machine for a moment falls on all operations alike."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from harness.measure.calibration.workloads import Workload
from harness.records.calibration import Rate

LEAST_SECONDS = 0.05  # of one sample: in shorter ones another process's time slice would be most of it
MOST_ROUNDS = 50


def measure(workloads: Sequence[Workload], device: torch.device, seconds: float, least_rounds: int) -> dict[str, Rate]:
    """Returns the rates by name.

    Args:
        workloads: what is measured, each once a round, in an order that is drawn for each round.
        device: that they run on.
        seconds: that all rounds together should take.
        least_rounds: that are made however long they take.
    """
    calls = {one.name: _calls_of_a_sample(one, device) for one in workloads}
    samples: dict[str, list[float]] = {one.name: [] for one in workloads}
    began, rounds = time.perf_counter(), 0
    while rounds < least_rounds or (rounds < MOST_ROUNDS and time.perf_counter() - began < seconds):
        for one in random.Random(rounds).sample(workloads, len(workloads)):
            one.begin()
            samples[one.name].append(one.work * calls[one.name] / time_calls(one.call, calls[one.name], device))
        rounds += 1
    return {one.name: summarise_rate(one.unit, samples[one.name]) for one in workloads}


def time_calls(call: Callable[[], Any], count: int, device: torch.device) -> float:
    """Returns the seconds of so many calls, until the device has done them."""
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(count):
        call()
    _synchronize(device)
    return time.perf_counter() - began


def summarise_rate(unit: Any, samples: Sequence[float]) -> Rate:
    """Returns median, interquartile range and relative error of the median.

    The error is the standard error of a normal distribution's median, 1.253 sd / sqrt(n), with sd from the
    interquartile range, IQR / 1.349: single disturbed rounds do not move it.
    """
    middle = statistics.median(samples)
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    spread = high - low
    error = math.sqrt(math.pi / 2) * spread / 1.349 / math.sqrt(len(samples)) / middle
    return Rate(unit=unit, median=middle, interquartile_range=spread, relative_error=error, rounds=len(samples))


def _calls_of_a_sample(one: Workload, device: torch.device) -> int:
    """Warms up, and returns how many calls make a sample long enough to be timed."""
    one.begin()
    time_calls(one.call, 1, device)  # chooses algorithms, and allocates
    once = time_calls(one.call, 1, device)
    return max(1, math.ceil(LEAST_SECONDS / once))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
