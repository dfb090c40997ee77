"""All state of a run through the files of a checkpoint: bit for bit, and nothing is unpickled."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import registry
from harness.data.loading import ChosenLoader, Loader
from harness.errors import HarnessError
from harness.measure.clock import EpochTime, TrainClock
from harness.measure.readings import Readings
from harness.records.checkpoints import MANIFEST, Checkpoint, CheckpointFolder
from harness.records.result import Memory, Metrics
from harness.training.checkpoint_state import Progress, checkpoint_files, chosen_loader, restore
from harness.training.history import Epoch, History
from harness.training.loop import TrainState, begin_epoch, train_epoch
from tests.training.test_loop import CLASSES, CPU, SIZES, Batches, batches, make

FILES = ["weights.safetensors", "training.safetensors", "rank-0.safetensors", "state.json"]
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "lr": 0.1},
    {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"name": "adam", "betas": [0.8, 0.9], "amsgrad": True, "weight_decay_on": "weights", "weight_decay": 0.1},
    {"name": "adamw"},
    {"name": "adagrad", "lr_decay": 0.1},
    {"name": "rmsprop", "momentum": 0.5, "centered": True},
    {"name": "muon", "normalize_weights": True, "norm_bias_lr_scale": 8.0},
    {"name": "torch/NAdam"},
    {"name": "torch/RAdam"},
    {"name": "torch/Adadelta"},
    {"name": "torch/Adamax"},
    {"name": "torch/ASGD"},
    {"name": "torch/Adafactor"},
    {"name": "torch/Rprop", "kwargs": {"etas": [0.4, 1.3]}},
    {"name": "torch/SGD", "kwargs": {"momentum": 0.5}},
]


class Fed:
    """What a checkpoint keeps of a loader."""

    name = "pinned"
    measured: dict[str, float | str] = {"resident": "too large", "pinned": 12.5}


class Unsaved(nn.Module):
    """Counts its calls in a buffer that a state dict does not hold."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + self.calls / 100)


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), Unsaved(), nn.Linear(4, CLASSES)
    )


def begin(train_state: TrainState) -> Progress:
    loader: Loader = Fed()  # type: ignore[assignment]
    return Progress(begin_epoch(train_state, 0), History(SIZES, None), {}, loader)


def train(train_state: TrainState, progress: Progress, given: Batches, count: int) -> None:
    """Takes some more steps of the epoch."""
    so_far = progress.so_far
    left = iter(given[so_far.batch :])
    asked = iter(range(1, len(given) + 1))
    train_epoch(train_state, left, SIZES, so_far, TrainClock(CPU, 0), lambda: next(asked) == count)


def commit(folder: Path, train_state: TrainState, progress: Progress) -> Checkpoint:
    CheckpointFolder(folder).commit(7, checkpoint_files(train_state, progress), {"run_id": "r"})
    checkpoint, problems = CheckpointFolder(folder).newest()
    assert checkpoint and not problems
    return checkpoint


def trained(seed: int = 1, **options: Any) -> tuple[TrainState, Progress]:
    train_state = make(network(seed), **options)
    torch.manual_seed(5)
    progress = begin(train_state)
    train(train_state, progress, batches(SIZES), 2)
    return train_state, progress


def tensors_in(value: Any, path: str = "") -> dict[str, Any]:
    """Returns all values of nested containers by their path."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        return {path: value}
    kind = {f"{path}:": type(value).__name__}
    return kind | {key: each for name, part in parts for key, each in tensors_in(part, f"{path}/{name}").items()}


def assert_same(found: Any, expected: Any) -> None:
    """Compares nested containers, tensors bit for bit and with their types."""
    found, expected = tensors_in(found), tensors_in(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, Tensor):
            assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
        else:
            assert type(found[name]) is type(value) and found[name] == value, name


def assert_goes_on_alike(first: tuple[TrainState, Progress], second: tuple[TrainState, Progress]) -> None:
    """Takes two steps more with either, and compares."""
    random_state = torch.get_rng_state()
    for train_state, progress in (first, second):
        torch.set_rng_state(random_state)
        train(train_state, progress, batches(SIZES), 2)
    assert_same(second[0].network.state_dict(), first[0].network.state_dict())
    assert_same(second[0].optimizer.state_dict(), first[0].optimizer.state_dict())
    assert_same(second[1].so_far.losses, first[1].so_far.losses)


def test_every_optimizer_of_the_harness_is_among_those_tried() -> None:
    named = {optimizer["name"] for optimizer in OPTIMIZERS}
    assert {name for name in registry.names("optimizer") if "/" not in name} <= named


@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: "-".join(map(str, options.values())))
def test_every_optimizer_goes_on_where_it_was(options: dict[str, Any], tmp_path: Path) -> None:
    train_state, progress = trained(optimizer=options)
    checkpoint = commit(tmp_path, train_state, progress)
    other = make(network(2), optimizer=options)
    again = begin(other)
    restore(checkpoint, other, again)
    assert_same(other.network.state_dict(), train_state.network.state_dict())
    assert_same(other.optimizer.state_dict(), train_state.optimizer.state_dict())
    assert (again.so_far.batch, again.resumed_at) == (2, [2])
    assert_goes_on_alike((train_state, progress), (other, again))


def test_tensors_go_on_in_the_order_that_they_had_in_memory(tmp_path: Path) -> None:
    nets = [network(seed).to(memory_format=torch.channels_last) for seed in (1, 2)]  # type: ignore[call-overload]
    first, second = (make(each, optimizer={"name": "adam"}) for each in nets)
    progress, again = begin(first), begin(second)
    train(first, progress, batches(SIZES), 2)
    restore(commit(tmp_path, first, progress), second, again)
    for train_state in (first, second):
        momentum = train_state.optimizer.state[train_state.network.get_parameter("0.weight")]["exp_avg"]
        assert momentum.is_contiguous(memory_format=torch.channels_last) and not momentum.is_contiguous()


def test_the_moving_average_goes_on(tmp_path: Path) -> None:
    train_state, progress = trained(ema_decay=0.7)
    other = make(network(2), ema_decay=0.7)
    again = begin(other)
    restore(commit(tmp_path, train_state, progress), other, again)
    assert train_state.ema and other.ema and train_state.ema.n_averaged == 2
    assert_same(dict(other.ema.state_dict()), dict(train_state.ema.state_dict()))
    assert_goes_on_alike((train_state, progress), (other, again))
    assert_same(dict(other.ema.state_dict()), dict(train_state.ema.state_dict()))
    assert_same(dict(other.ema.named_buffers()), dict(train_state.ema.named_buffers()))


def test_buffers_that_a_state_dict_leaves_out_go_on_too(tmp_path: Path) -> None:
    train_state, progress = trained()
    other = make(network(2))
    restore(commit(tmp_path, train_state, progress), other, begin(other))
    assert other.network.get_buffer("4.calls") == 2
    assert_same(dict(other.network.named_buffers()), dict(train_state.network.named_buffers()))


def test_the_scale_of_fp16_goes_on(tmp_path: Path) -> None:
    train_state, other = make(network(1)), make(network(2))
    for each in (train_state, other):
        each.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
    progress, again = begin(train_state), begin(other)
    train(train_state, progress, batches(SIZES), 2)
    train_state.scaler.update(16.0)
    restore(commit(tmp_path, train_state, progress), other, again)
    state = other.scaler.state_dict()
    assert state == train_state.scaler.state_dict() and state["scale"] == 16.0 and state["_growth_tracker"] == 2
    assert_goes_on_alike((train_state, progress), (other, again))
    assert other.scaler.get_scale() == train_state.scaler.get_scale() == 32.0  # it grew after three steps


def draw() -> list[float]:
    normal = np.random.standard_normal()
    return [*torch.randn(3).tolist(), float(normal), random.random(), random.gauss(0, 1)]


def test_random_numbers_go_on(tmp_path: Path) -> None:
    train_state, progress = trained()
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    draw()  # NumPy and Python each keep the second of two normal numbers
    checkpoint = commit(tmp_path, train_state, progress)
    expected = draw()
    other = make(network(9))
    restore(checkpoint, other, begin(other))
    assert draw() == expected


@pytest.mark.parametrize("counted", [False, True])
def test_the_counts_of_an_open_epoch_go_on(counted: bool, tmp_path: Path) -> None:
    train_state, progress = trained()
    if counted:
        progress.so_far.tally.count()
        train(train_state, progress, batches(SIZES), 1)
    other = make(network(2))
    again = begin(other)
    restore(commit(tmp_path, train_state, progress), other, again)
    assert progress.so_far.tally._rows == (12 if counted else 24)
    for each in (progress, again):
        each.so_far.tally.count()
    assert_same(again.so_far.tally.state(), progress.so_far.tally.state())
    assert again.so_far.tally.confusion.sum() == sum(SIZES[: progress.so_far.batch])
    assert_same(again.so_far.losses, progress.so_far.losses)


def test_what_went_before_goes_on(tmp_path: Path) -> None:
    train_state, progress = trained()
    metrics = Metrics(accuracy=0.25, top5_accuracy=None, loss=1.5, macro_recall=0.1, recall_by_class=[0.5, None])
    progress.history.add(Epoch(0, EpochTime(9.0, 1.0, 3.0, 2), 24, 0.5, 0.1, {"train": metrics, "test": metrics}, 7.5))
    progress.losses.append(torch.tensor([0.5, 0.25, 2.0, 1.0]))
    progress.so_far.epoch, progress.so_far.timed_samples = 1, 24
    progress.seconds |= {"build": 1.0, "eval": 2.0, "total": 8.0, "whiten": 3.0}
    progress.memory = Memory(host_rss_bytes=5)
    progress.readings = Readings(
        samples=2,
        totals={"gpu_power_watts": 500.0},
        counts={"gpu_power_watts": 2},
        peaks={"gpu_power_watts": 300.0},
        throttles={"power limit": 1},
        other_pids=[7],
        energy_from=["counter"],
        other_launches=[11],
        machines={"node": {"queued_seconds": 0.5}},
        unknown={"host_joules": "no counter"},
    )
    progress.so_far.joules = None
    progress.resumed_at = [3]
    checkpoint = commit(tmp_path, train_state, progress)
    other = make(network(2))
    again = begin(other)
    again.seconds |= {"build": 0.5, "data": 0.25, "whiten": 2.0}
    restore(checkpoint, other, again)
    assert again.history.epochs == progress.history.epochs
    # What whitening took this time is thrown away with its weights.
    assert again.seconds == {"build": 1.5, "eval": 2.0, "total": 8.0, "data": 0.25, "whiten": 3.0}
    assert again.readings == progress.readings and again.so_far.joules is None
    assert again.memory == progress.memory and again.resumed_at == [3, 6]
    assert_same(again.losses, [torch.tensor([0.5, 0.25, 2.0, 1.0])])
    assert again.so_far.time == progress.so_far.time and again.so_far.timed_samples == 24
    assert again.step(len(SIZES)) == 6
    assert chosen_loader(checkpoint) == ChosenLoader(Fed.name, Fed.measured)


def test_an_optimizer_that_keeps_something_odd_is_named() -> None:
    train_state, progress = trained(optimizer={"name": "adam"})
    train_state.optimizer.state[train_state.network.get_parameter("0.weight")]["odd"] = {"a": object()}
    with pytest.raises(HarnessError, match=r"Adam keeps a dict \('odd'\)"):
        checkpoint_files(train_state, progress)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    train_state, progress = trained()
    other = make(nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES)))
    with pytest.raises(HarnessError, match="cannot go on from"):
        restore(commit(tmp_path, train_state, progress), other, begin(other))


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled(canary: Path, path: Path, *, as_torch_does: bool) -> bytes:
    if as_torch_does:
        torch.save(Canary(canary), path)
        return path.read_bytes()
    return pickle.dumps(Canary(canary))


@pytest.mark.parametrize("as_torch_does", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_nothing_is_unpickled(name: str, as_torch_does: bool, tmp_path: Path) -> None:
    train_state, progress = trained()
    canary = tmp_path / "canary"
    files = checkpoint_files(train_state, progress)
    assert list(files) == FILES
    files[name] = pickled(canary, tmp_path / "saved", as_torch_does=as_torch_does)
    CheckpointFolder(tmp_path / "folder").commit(7, files, {})  # its checksums are right
    checkpoint, _ = CheckpointFolder(tmp_path / "folder").newest()
    assert checkpoint
    with pytest.raises(HarnessError, match="cannot go on from"):
        restore(checkpoint, train_state, progress)
    if name == "state.json":
        with pytest.raises(HarnessError, match="cannot go on from"):
            chosen_loader(checkpoint)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary would not have sung"


def test_a_manifest_is_not_unpickled(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "folder")
    path = folder.commit(7, {"a": b"1"}, {})
    (path / MANIFEST).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    found, problems = folder.newest()
    assert found is None and MANIFEST in problems[0] and not (tmp_path / "canary").exists()
