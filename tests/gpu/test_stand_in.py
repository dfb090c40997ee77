"""The GPU that is none refuses what a real one would, and notes what a real one would wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from tests.gpu.stand_in import stand_in_gpu
from tests.gpu.tensors import GPU, StandInGpu


@pytest.fixture
def gpu() -> Iterator[StandInGpu]:
    with stand_in_gpu() as gpu:
        yield gpu


def test_tensors_lie_where_they_were_put_and_so_does_what_is_made_of_them(gpu: StandInGpu) -> None:
    made, moved = torch.zeros(3, 2, device="cuda"), torch.ones(3, 2).to("cuda")
    assert all(each.device == GPU and each.is_cuda for each in (made, moved, made + moved, made[0], made.mT))
    assert not made.cpu().is_cuda and torch.ones(2).device.type == "cpu"
    network = torch.nn.Linear(2, 4).to("cuda")
    network(made).sum().backward()
    assert network.weight.is_cuda and network.weight.grad is not None and network.weight.grad.is_cuda


def test_two_devices_in_one_operation_are_refused(gpu: StandInGpu) -> None:
    there, here = torch.zeros(3, device="cuda"), torch.ones(3)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        there.add(here)
    with pytest.raises(TypeError, match="cuda:0 device type tensor to numpy"):
        there.numpy()
    assert (there + torch.tensor(1.0)).is_cuda  # a number may come from the host


def test_devices_need_a_number_where_torch_wants_one(gpu: StandInGpu) -> None:
    with pytest.raises(ValueError, match="with a specified index"):
        torch.cuda.set_per_process_memory_fraction(0.5, torch.device("cuda"))
    torch.cuda.set_per_process_memory_fraction(0.5, GPU)
    assert gpu.memory_fraction == 0.5


def test_the_host_waits_for_answers_and_for_copies_that_are_not_pinned(gpu: StandInGpu) -> None:
    there = torch.zeros(3, device="cuda")
    there.add_(1).sum()
    torch.ones(3).pin_memory().to("cuda", non_blocking=True)
    assert gpu.waits == []
    there.sum().item()
    torch.ones(3).to("cuda", non_blocking=True)
    torch.ones(3).pin_memory().to("cuda")
    torch.tensor([1.0], device="cuda")
    there.cpu()
    assert not len(there[there > 1])
    torch.cuda.synchronize()
    to_gpu, to_host = "to: a copy to the GPU", "cpu: a copy to the host"
    assert gpu.waits == ["item", to_gpu, to_gpu, "tensor: a copy to the GPU", to_host, "__getitem__", "synchronize"]


def test_events_have_a_time_when_the_host_has_waited(gpu: StandInGpu) -> None:
    first, second = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    second.record()
    with pytest.raises(RuntimeError, match="not ready"):
        first.elapsed_time(second)
    torch.cuda.synchronize()
    assert first.elapsed_time(second) >= 0


def test_a_tensor_of_another_stream_must_be_waited_for_and_recorded(gpu: StandInGpu) -> None:
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    with torch.cuda.stream(side):
        there = torch.zeros(3, device="cuda") + 1
    with pytest.raises(RuntimeError, match="has not waited"):
        there.add(1)
    current.wait_stream(side)
    with pytest.raises(RuntimeError, match="no record_stream"):
        there.add(1)
    there.record_stream(current)
    assert (there + 1).is_cuda


def test_threads_see_it_and_nothing_is_left_of_it() -> None:
    seen: list[bool] = []
    with stand_in_gpu():
        thread = threading.Thread(target=lambda: seen.append(torch.zeros(1, device="cuda").is_cuda))
        thread.start()
        thread.join()
    assert seen == [True]
    assert torch.zeros(1).device.type == "cpu" and torch.cuda.Stream.__name__ == "Stream"
    assert "record_stream" not in vars(torch.Tensor)


def test_peaks_are_of_the_tensors_that_are_seen(gpu: StandInGpu) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    kept, passing = torch.zeros(1000, device="cuda"), torch.zeros(500).to("cuda")
    view, on_host = kept[:10], torch.zeros(9000)
    assert torch.cuda.max_memory_allocated() == before + 6000 and view.is_cuda and not on_host.is_cuda
    del passing
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == before + 4000
    assert torch.cuda.max_memory_reserved() >= before + 6000  # until it is given back
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_reserved() == before + 4000
