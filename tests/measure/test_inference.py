"""The search for the batch that is fastest, and the latency of one image, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from harness.measure import inference
from harness.measure.inference import LEAST_TIMED, time_forward

SIZES = tuple(2**power for power in range(13))


class Machine:
    """Passes a batch in a time that the test gives, by its own clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.now, self.seconds, self.calls = 0.0, seconds, 0
        self.sizes: list[int] = []
        monkeypatch.setattr(inference, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def forward(self, batch: Tensor) -> None:
        assert torch.is_inference_mode_enabled()
        self.calls += 1
        self.now += self.seconds(len(batch))

    def images(self, size: int) -> Tensor:
        self.sizes.append(size)
        return torch.zeros(size, 1, 1, 1)

    def timed(self, sizes: tuple[int, ...] = SIZES) -> inference.ForwardPass:
        return time_forward(self.forward, self.images, lambda: None, sizes)


def test_the_fastest_batch_is_found_and_the_search_ends_after_three_that_are_not_faster(monkeypatch) -> None:
    machine = Machine(monkeypatch, lambda n: 0.001 * (1 + n / 16 if n <= 64 else n / 8))
    found = machine.timed()
    assert found.batch_size == 64 and found.samples_per_second == pytest.approx(64 / 0.005)
    assert machine.sizes[-1] == 512 and found.latency_seconds == pytest.approx(0.001 * (1 + 1 / 16))


def test_the_99th_percentile_is_of_single_images_and_warm_up_is_in_neither_number(monkeypatch) -> None:
    machine = Machine(monkeypatch, lambda n: 0.002)
    cold = 30

    def seconds(n: int) -> float:
        return 1.0 if machine.calls <= cold else 0.010 if machine.calls % 40 == 0 else 0.002

    machine.seconds = seconds
    monkeypatch.setattr(inference, "WARM_UP_CALLS", cold)
    found = machine.timed((1,))
    assert found.latency_seconds == pytest.approx(0.002) and found.latency_p99_seconds == pytest.approx(0.010)


def test_a_slow_network_has_no_99th_percentile_and_larger_batches_are_left_out(monkeypatch) -> None:
    machine = Machine(monkeypatch, lambda n: 1.5 * n)
    found = machine.timed()
    assert found.latency_p99_seconds is None and found.latency_seconds == pytest.approx(1.5)
    assert machine.sizes == [1, 1], "a batch of two would take three seconds"
    fast = Machine(monkeypatch, lambda n: 0.05 * n)
    assert fast.timed((1,)).latency_p99_seconds == pytest.approx(0.05), f"{LEAST_TIMED} images take 5 s"


def test_the_search_ends_where_memory_does_not_suffice_and_other_errors_are_told(monkeypatch) -> None:
    def full(error: Exception) -> Callable[[int], float]:
        def seconds(n: int) -> float:
            if n > 8:
                raise error
            return 0.001

        return seconds

    found = Machine(monkeypatch, full(torch.OutOfMemoryError("CUDA out of memory"))).timed()
    assert found.batch_size == 8 and found.samples_per_second == pytest.approx(8000)
    with pytest.raises(RuntimeError, match="planted"):
        Machine(monkeypatch, full(RuntimeError("planted"))).timed()
    with pytest.raises(torch.OutOfMemoryError):
        Machine(monkeypatch, full(torch.OutOfMemoryError("CUDA out of memory"))).timed((16,))
