"""The trained network in use: what is timed, what is null and why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from harness.measure import inference as measured_module
from harness.records.result import DataFacts, Measurements
from harness.running import inference as module
from harness.running.inference import EAGER_ONLY, measure_inference
from harness.spec import ImageShape, TrainSection

IMAGE = ImageShape(1, 8, 8)


class Spy(nn.Module):
    """A network that notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(64, 10), nn.Dropout()
        self.seen: list[tuple[int, torch.dtype, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.linear(self.dropout(images.flatten(1)))
        self.seen.append((len(images), logits.dtype, self.training))
        return logits


def measure(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, *, precision: str = "no", disturbed: Any = (), **train: Any
) -> Any:
    monkeypatch.setattr(measured_module, "LATENCY_SECONDS", 0.02)
    monkeypatch.setattr(measured_module, "BATCH_SECONDS", 0.01)
    monkeypatch.setattr(measured_module, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(module, "judge", lambda *_, **__: SimpleNamespace(sentences=list(disturbed)))
    return measure_inference(network, TrainSection(**train), IMAGE, precision, Accelerator(cpu=True))


def test_the_network_is_timed_in_its_precision_and_in_evaluation_mode_up_to_the_batch_of_evaluation(
    monkeypatch,
) -> None:
    network = Spy().train()
    monkeypatch.setattr(measured_module, "GAIN", 0.0)  # every batch is faster: the search ends at its limit
    found = measure(monkeypatch, network, precision="bf16", eval_batch_size=20)
    sizes, dtypes, training = (set(column) for column in zip(*network.seen, strict=True))
    assert sizes == {1, 2, 4, 8, 16} and dtypes == {torch.bfloat16} and training == {False}
    assert found.inference and found.inference.compiled is False and found.inference.eager is None
    assert 0 < found.inference.latency_seconds <= found.inference.latency_p99_seconds
    assert found.inference.samples_per_second > 0 and found.seconds > 0
    assert found.unavailable == {"inference.eager": EAGER_ONLY}


def test_a_config_that_compiles_has_both_numbers_at_one_batch_size(monkeypatch) -> None:
    network, asked = Spy(), []

    def compiled(model: nn.Module, mode: str | None) -> Any:
        asked.append(mode)
        return lambda images: sum(model(images) for _ in range(20))  # so that the two can be told apart

    monkeypatch.setattr(module, "compile_for_each_shape", compiled)
    found = measure(monkeypatch, network, compile="max-autotune").inference
    assert found and found.eager and found.compiled and asked == ["max-autotune"]
    assert found.latency_seconds > 2 * found.eager.latency_seconds and found.batch_size == found.eager.batch_size
    assert measure(monkeypatch, network, compile=True).inference and asked[1:] == [None]


def test_what_others_disturbed_or_cannot_be_passed_is_null_with_its_reason(monkeypatch) -> None:
    disturbed = measure(monkeypatch, Spy(), disturbed=["others used a core", "it stood still"])
    assert disturbed.inference is None
    assert disturbed.unavailable == {"inference": "disturbed: others used a core; it stood still"}
    failed = measure(monkeypatch, nn.Linear(3, 3))
    assert failed.inference is None and failed.unavailable["inference"].startswith("RuntimeError: addmm: mat1 and mat2")


def test_a_second_measurement_takes_the_place_of_the_first_and_of_its_reasons(monkeypatch) -> None:
    facts = DataFacts(fingerprint="f", train_samples=1, validation_samples=0, test_samples=1, num_classes=2)
    measured = Measurements(data=facts, unavailable={"inference": "disturbed: so", "energy.host_joules": "no RAPL"})
    found = measure(monkeypatch, Spy())
    found.add_to(measured)
    assert measured.inference is found.inference and measured.clock.inference_seconds == found.seconds
    assert measured.unavailable == {"energy.host_joules": "no RAPL", "inference.eager": EAGER_ONLY}
