"""The same run has the same peak of memory, whatever its process did before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from harness.data.loaders import auto
from harness.data.prepare import prepare
from harness.records.checkpoints import CheckpointFolder
from harness.records.result import Memory
from harness.running.execute import CheckpointPolicy, Observer, execute
from harness.training.epochs import Stopped
from tests.gpu.stand_in import stand_in_gpu
from tests.gpu.tensors import StandInGpu
from tests.running.test_execute import make_spec

MIB = 2**20
WORKSPACE = 64 * MIB
PICTURES = {"name": "synthetic", "size": 16, "channels": 3, "classes": 10, "train": 520, "test": 72}
CNN = {"name": "cnn3", "padding": "same", "filters": [4, 4, 4], "hidden_size": 8}
RESIDENT, PINNED = {"name": "resident", "compile": False}, {"name": "pinned", "workers": 0}
LARGE_MIB = 48
LARGE = {
    "data": {**PICTURES, "size": 64, "train": LARGE_MIB * 2**20 // (64 * 64 * 3), "test": 64},
    "model": {"name": "mlp", "hidden_sizes": [8]},
}
QUIET = Observer(lambda step: None, lambda epoch: None)


def peaks(observer: Observer = QUIET, checkpoint_policy: CheckpointPolicy | None = None, **sections: Any) -> Memory:
    """Returns the peaks of a run in this process, on the GPU where the stand-in is one."""
    train = {"epochs": 1, "eval_batch_size": 32, **sections.pop("train", {})}
    spec = make_spec(**{"model": CNN, "data": PICTURES, "loader": RESIDENT, **sections, "train": train})
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    return execute(
        spec, prepare(spec.data), accelerator, observer, fingerprint="", checkpoint_policy=checkpoint_policy
    ).measured.memory


def peak(
    observer: Observer = QUIET, checkpoint_policy: CheckpointPolicy | None = None, **sections: Any
) -> tuple[int, int]:
    """Returns the most bytes of tensors on the GPU in a run, and the most that torch kept for them."""
    found = peaks(observer, checkpoint_policy, **sections)
    assert found.max_allocated_bytes and found.max_reserved_bytes
    return found.max_allocated_bytes, found.max_reserved_bytes


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInGpu]:
    """Gives a GPU on which a convolution takes a workspace when it meets a shape for the first time, as cuDNN's do."""
    convolve, met = nn.Conv2d.forward, set()

    def tries_algorithms(layer: nn.Conv2d, images: Tensor) -> Tensor:
        shape = (images.shape, layer.weight.shape, images.dtype, layer.training)
        if shape not in met:
            met.add(shape)
            torch.empty(WORKSPACE, dtype=torch.uint8, device="cuda")
        return convolve(layer, images)

    monkeypatch.setattr(nn.Conv2d, "forward", tries_algorithms)
    with stand_in_gpu() as gpu:
        yield gpu


@pytest.mark.parametrize(
    "train",
    [
        pytest.param({}, id="plain"),
        pytest.param({"evaluate_train": True, "eval_batch_size": 48}, id="the training images are evaluated, too"),
        pytest.param({"evaluate_views": "flips_and_shifts", "evaluate_views_share": 0.3}, id="views"),
        pytest.param({"ema_decay": 0.9}, id="moving average"),
        pytest.param({"gradient_accumulation_steps": 4}, id="micro-batches"),
        pytest.param({"retry_out_of_memory": True}, id="fitted"),
    ],
)
def test_a_config_has_the_same_peak_as_the_first_and_as_the_third_run(gpu: StandInGpu, train: dict[str, Any]) -> None:
    first = peak(train=train)
    peak(model=CNN | {"filters": [8, 8, 8]}, train={"global_batch_size": 128})
    assert peak(train=train) == first
    allocated, reserved = first
    assert allocated <= reserved < WORKSPACE


def test_images_of_a_loader_that_is_not_used_any_more_are_not_in_the_peak(gpu: StandInGpu) -> None:
    peak(loader=PINNED)  # meets the shapes
    alone, resident = peak(loader=PINNED), peak(loader=RESIDENT)
    assert peak(loader=PINNED) == alone
    assert peak(loader=RESIDENT) == resident
    assert resident[0] - alone[0] > 500 * 16 * 16 * 3


def test_what_auto_tried_and_did_not_take_is_not_in_the_peak(gpu: StandInGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = auto._rate

    def pinned_wins(name: str, *arguments: Any) -> float | str:
        return rate(name, *arguments) if name != "pinned" else 1e9

    monkeypatch.setattr(auto, "_rate", pinned_wins)
    peak(loader=PINNED)  # meets the shapes
    alone = peak(loader=PINNED)
    for _ in range(2):
        assert peak(loader={"name": "auto", "seconds": 0.01, "workers": 0}) == alone


def test_what_is_tried_before_a_run_is_not_in_its_peak(gpu: StandInGpu) -> None:
    assert peak(train={"retry_out_of_memory": True}) == peak()


def test_the_memory_of_graphs_is_counted_where_they_are_recorded(
    gpu: StandInGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Graphed(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model, self.calls = model, Counter[torch.Size]()

        def forward(self, images: Tensor) -> Tensor:
            self.calls[images.shape] += 1
            if self.calls[images.shape] == 2:  # the first compiles, the second records, the others take no memory
                torch.empty(WORKSPACE, dtype=torch.uint8, device="cuda")
            return self.model(images)

    monkeypatch.setattr(torch, "compile", lambda model, **_: Graphed(model))
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    graphs = {"compile": "reduce-overhead"}
    first = peak(train=graphs)
    assert peak(train=graphs) == first
    assert WORKSPACE < first[0] < 2 * WORKSPACE


def test_a_run_that_goes_on_has_the_peak_of_one_that_was_not_stopped(gpu: StandInGpu, tmp_path: Path) -> None:
    folder, identity, steps = CheckpointFolder(tmp_path), {"run_id": "r"}, []
    whole = peak()
    stops = Observer(steps.append, lambda epoch: None, stop_requested=lambda: len(steps) >= 3)
    with pytest.raises(Stopped):
        peak(stops, CheckpointPolicy(folder, identity, lambda: True))
    peak(model=CNN | {"filters": [16, 16, 16]})
    checkpoint, _ = folder.newest()
    assert checkpoint
    resumed = peak(checkpoint_policy=CheckpointPolicy(folder, identity, lambda: True, checkpoint))
    assert resumed == pytest.approx(whole, rel=0.01)  # the first part keeps fewer losses


ON_THE_HOST = """
import json
from harness.measure.memory import keep_freed_memory
from tests.running.test_peaks import LARGE, PINNED, RESIDENT, peaks
keep_freed_memory()  # as in every launch
found = [peaks(loader=loader, **LARGE).host_rss_bytes for loader in (PINNED, RESIDENT, PINNED, RESIDENT)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_on_a_cpu_too_a_config_has_the_same_peak_whatever_was_before() -> None:
    """In a process of its own: what else this one did would move its heap."""
    command = [sys.executable, "-c", ON_THE_HOST]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
    first, resident, third, again = (bytes_ / MIB for bytes_ in json.loads(out))
    assert third == pytest.approx(first, abs=LARGE_MIB / 3) and again == pytest.approx(resident, abs=LARGE_MIB / 3)
    assert resident - third > LARGE_MIB / 2, "the images that are resident"
