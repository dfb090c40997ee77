"""A forecast for a system that is not at hand: what is stepped here, times the ratio of the two calibrations."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError
from harness.forecast.forecast import ConfigForecast
from harness.records.calibration import Calibration, calibration_path, read_calibration
from harness.records.forecast import Span
from harness.spec import RunSpec
from harness.statistics.intervals import t_quantile

PRODUCTS = ("matmul", "conv_resnet18_stem", "conv_resnet18", "conv_cnn3", "conv_vgg")
MEMORY = "memory_copy"
FP32 = "fp32"
STEP_THERE = "step it there: harness plan SUITE --forecast"


class Ratio(NamedTuple):
    """A time on the other system over the time here, with the ends of its 95 % interval."""

    middle: float
    low: float
    high: float

    def of(self, span: Span) -> Span:
        """Returns a time here as it is there; the ends are those of both intervals together."""
        low = None if span.low is None else span.low * self.low
        high = None if span.high is None else span.high * self.high
        return Span(seconds=span.seconds * self.middle, low=low, high=high)


@dataclass(frozen=True)
class Elsewhere:
    """The calibrations of this system and of the other one."""

    here: Calibration
    there: Calibration

    @staticmethod
    def of(root: Path, system_id: str, wanted: str) -> Elsewhere:
        """Reads both.

        Args:
            root: of the results, where calibrations lie.
            system_id: of this system.
            wanted: the id of the other one, or a path of its calibration or of the folder that holds it.

        Raises:
            HarnessError: one of them is missing, cannot be read or is of a GPU, or both are of one system.
        """
        path = Path(wanted) if Path(wanted).exists() else calibration_path(root, wanted)
        there = _read(path / "calibration.json" if path.is_dir() else path)
        if there is None:
            hint = f"run `harness calibrate` on it and copy its folder of results/systems here, to {path.parent}"
            raise HarnessError(f"--system {wanted}: that system was not calibrated, there is no {path}", hint)
        if there.system_id == system_id:
            raise HarnessError(f"--system {wanted} is this system", "leave --system out: it is stepped here")
        here = _read(calibration_path(root, system_id))
        if here is None:
            message = f"--system {wanted}: this system ({system_id}) was not calibrated"
            raise HarnessError(message, f"harness calibrate --output {root}")
        for one in (here, there):
            if one.device != "cpu":
                message = (
                    f"--system {wanted}: {one.system} trains on a GPU, and a calibration tells no time of a network on "
                    "one: launching kernels and feeding the GPU, which bound small networks, are not in it"
                )
                raise HarnessError(message, STEP_THERE)
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads and threads != str(here.threads):
            message = (
                f"--system {wanted}: calibrated here with {here.threads} threads, and OMP_NUM_THREADS={threads} now"
            )
            raise HarnessError(message, "calibrate both systems with the threads that their runs have")
        return Elsewhere(here, there)

    def ratio(self, precision: str) -> Ratio | None:
        """Returns the ratio of the times in a precision; None where one system was not calibrated in it.

        It is the geometric mean over the calibrated operations. Its error has two parts, added in squares. Each rate is
        known as well as its rounds repeat. And the operations disagree on how much faster the one system is: a network
        is one more such operation, so this part is a prediction interval, t(0.975, k-1) sd sqrt(1 + 1/k) over the
        logarithms of the k ratios.
        """
        logs: list[float] = []
        variance = 0.0
        for name in (*(f"{product}.{precision}" for product in PRODUCTS), MEMORY):
            here, there = self.here.rate(name), self.there.rate(name)
            if here is None or there is None:
                return None
            logs.append(math.log(here.median / there.median))
            variance += here.relative_error**2 + there.relative_error**2
        count = len(logs)
        of_rounds = t_quantile(math.inf) * math.sqrt(variance) / count
        of_operations = t_quantile(count - 1) * statistics.stdev(logs) * math.sqrt(1 + 1 / count)
        middle, error = statistics.fmean(logs), math.hypot(of_rounds, of_operations)
        return Ratio(*(math.exp(middle + end) for end in (0.0, -error, error)))

    def config(self, own: ConfigForecast, spec: RunSpec) -> ConfigForecast:
        """Returns what was stepped here as it is there; what records of the other system tell stays."""
        if own.source != "stepped":
            return own
        ratio, problem = None, "several processes exchange gradients, which calibrations do not compare"
        if spec.train.world_size == 1:
            precision = _precision(spec)
            ratio, problem = self.ratio(precision), f"{precision} is not calibrated on both systems"
        if ratio is None:
            told = {"config_id": own.config_id, "label": own.label, "open_runs": own.open_runs}
            return ConfigForecast(**told, problem=problem, hint=STEP_THERE)
        spans = {name: span and ratio.of(span) for name in ("train", "wall", "total") if (span := getattr(own, name))}
        numbers = {"step_seconds": own.step_seconds, "epoch_seconds": own.epoch_seconds}
        scaled = {name: value and value * ratio.middle for name, value in numbers.items()}
        return own.model_copy(update={**spans, **scaled, "device_bytes": None, "joules": None})

    def once(self, span: Span) -> Span:
        """Returns what comes once, as starting a process, as it is there."""
        ratio = self.ratio(FP32)
        return ratio.of(span) if ratio else span

    def notes(self) -> list[str]:
        """Returns how the times come about, and what was in the way of the calibrations."""
        ratio = self.ratio(FP32)
        times = f"x {ratio.middle:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) in fp32, " if ratio else ""
        told = (
            f"stepped on {self.here.system}, not on {self.there.system}: its times are those of here {times}by the "
            f"two calibrations ({self.here.threads} threads here, {self.there.threads} there); memory is that of here"
        )
        own = [(one.system, one.disturbed()) for one in (self.here, self.there)]
        return [told, *(f"{name}: {why}, so the ratio is wrong by as much" for name, why in own if why)]


def _precision(spec: RunSpec) -> str:
    asked = spec.train.mixed_precision
    return FP32 if asked in ("no", "auto") else asked.removesuffix("-true")  # as `harness.training.precision` on a CPU


def _read(path: Path) -> Calibration | None:
    try:
        return read_calibration(path)
    except (OSError, ValueError) as error:
        raise HarnessError(f"cannot read {path}: {error}", "run `harness calibrate` on that system again") from None
