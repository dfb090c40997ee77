"""The trained network in use, on the stand-in for a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from harness.measure import inference as measured_module
from harness.running import inference as module
from harness.running.inference import measure_inference
from harness.spec import ImageShape, TrainSection
from tests.gpu.stand_in import stand_in_gpu


def test_the_host_waits_after_each_image_and_after_each_block_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LATENCY_SECONDS": 0.0, "LEAST_TIMED": 7, "WARM_UP_SECONDS": 0.0, "BATCH_SECONDS": 0.0}.items():
        monkeypatch.setattr(measured_module, name, value)
    monkeypatch.setattr(module, "MOST_IMAGES", 2)
    monkeypatch.setattr(module, "judge", lambda *_, **__: SimpleNamespace(sentences=[]))
    with stand_in_gpu() as gpu:
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).to("cuda")
        accelerator = Accelerator()
        gpu.waits.clear()
        found = measure_inference(network, TrainSection(), ImageShape(1, 8, 8), "bf16", accelerator)
        waits = gpu.waits[:]
    assert found.inference and found.inference.batch_size in (1, 2) and found.inference.latency_p99_seconds
    warm_up, sizes, blocks = measured_module.WARM_UP_CALLS, 2, measured_module.BLOCKS
    assert waits.count("synchronize") - 2 == warm_up + 7 + sizes * (warm_up + blocks), (
        "and once before and after it all"
    )
