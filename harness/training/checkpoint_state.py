"""All that a run has come to, as the files of a checkpoint, and back.

`weights.safetensors` holds the network; `training.safetensors` the optimizer's tensors, the moving average and the
losses of all whole epochs; `rank-K.safetensors` what differs from rank to rank: random states, buffers (batch norm's
statistics are averaged only before an evaluation) and the counts of the open epoch; `state.json` all that is no tensor.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from harness.data.loading import ChosenLoader, Loader
from harness.errors import HarnessError
from harness.measure.clock import EpochTime
from harness.measure.readings import Readings
from harness.records.checkpoints import Checkpoint, Damaged
from harness.records.result import Memory, Metrics
from harness.training.history import Epoch, History
from harness.training.loop import EpochSoFar, TrainState

Tensors = dict[str, Tensor]
UNREADABLE = (Damaged, SafetensorError, ValueError, KeyError, IndexError, RuntimeError, TypeError, AttributeError)


@dataclass
class Progress:
    """How far a run is, beside the train_state itself.

    Attributes:
        so_far: the open epoch.
        history: the epochs that are through.
        seconds: on the clocks beside training, by name.
        loader: that feeds it.
        losses: of each step of `history`, over all ranks, float [steps].
        memory: the peaks of earlier parts.
        readings: of the telemetry of earlier parts, over all ranks.
        resumed_at: the steps at which the run was taken up again.
    """

    so_far: EpochSoFar
    history: History
    seconds: dict[str, float]
    loader: Loader
    losses: list[Tensor] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    readings: Readings = field(default_factory=Readings)
    resumed_at: list[int] = field(default_factory=list)

    def step(self, steps_per_epoch: int) -> int:
        """Returns the optimizer steps done."""
        return self.so_far.epoch * steps_per_epoch + self.so_far.batch


def checkpoint_files(train_state: TrainState, progress: Progress) -> dict[str, bytes]:
    """Returns the files of a checkpoint on rank 0, and none elsewhere; every rank calls it, between two steps.

    Raises:
        HarnessError: the optimizer keeps something that is neither a tensor nor a plain value.
    """
    tensors = tensor_bytes(_rank_tensors(train_state, progress.so_far))
    own = {"tensors": tensors, "plain": _rank_values(progress.so_far)}
    ranks: list[dict[str, Any]] = gather_object([own])
    if not train_state.accelerator.is_main_process:
        return {}
    optimizer_tensors, optimizer_values = _optimizer_state(train_state)
    training = {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors.items()}
    if train_state.ema is not None:
        training |= {f"average.{name}": tensor for name, tensor in train_state.ema.state_dict().items()}
    training["losses"] = torch.cat([torch.empty(0), *progress.losses])
    state = {
        "epoch": progress.so_far.epoch,
        "batch": progress.so_far.batch,
        "history": [_epoch_values(epoch) for epoch in progress.history.epochs],
        "seconds": progress.seconds,
        "memory": progress.memory.model_dump(),
        "readings": dataclasses.asdict(progress.readings),
        "loader": {"name": progress.loader.name, "measured": progress.loader.measured},
        "resumed_at": progress.resumed_at,
        "optimizer": optimizer_values,
        "scaler": train_state.scaler.state_dict(),
        "ranks": [rank["plain"] for rank in ranks],
    }
    return {
        "weights.safetensors": tensor_bytes(train_state.network.state_dict()),
        "training.safetensors": tensor_bytes(training),
        **{f"rank-{number}.safetensors": rank["tensors"] for number, rank in enumerate(ranks)},
        "state.json": json.dumps(state).encode(),
    }


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Returns tensors as a safetensors file; those that share memory are written out each."""
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})


def chosen_loader(checkpoint: Checkpoint) -> ChosenLoader:
    """Returns what loader fed a run.

    Raises:
        HarnessError: the checkpoint cannot be read.
    """
    try:
        return ChosenLoader(**json.loads(checkpoint.read("state.json"))["loader"])
    except UNREADABLE as error:
        raise _unusable(checkpoint, error) from error


def restore(checkpoint: Checkpoint, train_state: TrainState, progress: Progress) -> None:
    """Puts a train_state and a progress where a checkpoint left them; every rank calls it, right before it trains.

    Args:
        checkpoint: of this run, with as many ranks.
        train_state: freshly built.
        progress: at the beginning.

    Raises:
        HarnessError: the checkpoint cannot be read, or does not fit the train_state.
    """
    rank = train_state.accelerator.process_index
    try:
        weights = load(checkpoint.read("weights.safetensors"))
        training = load(checkpoint.read("training.safetensors"))
        own = load(checkpoint.read(f"rank-{rank}.safetensors"))
        state = json.loads(checkpoint.read("state.json"))
        _restore_train_state(train_state, weights, training, state)
        _restore_progress(train_state, progress, own, state, training["losses"])
        _restore_rank(train_state, progress.so_far, own, state["ranks"][rank])
    except UNREADABLE as error:
        raise _unusable(checkpoint, error) from error


def _unusable(checkpoint: Checkpoint, error: Exception) -> HarnessError:
    return HarnessError(
        f"cannot go on from {checkpoint.path}: {' '.join(str(error).split())[:300]}",
        "delete that folder to go on from an older checkpoint, or from the beginning",
    )


def _restore_train_state(train_state: TrainState, weights: Tensors, training: Tensors, state: dict[str, Any]) -> None:
    train_state.network.load_state_dict(weights)
    _load_optimizer_state(train_state, _without_prefix(training, "optimizer."), state["optimizer"])
    if train_state.ema is not None:
        train_state.ema.load_state_dict(_without_prefix(training, "average."))
    train_state.scaler.load_state_dict(state["scaler"])


def _restore_progress(
    train_state: TrainState, progress: Progress, own: Tensors, state: dict[str, Any], losses: Tensor
) -> None:
    so_far = progress.so_far
    so_far.epoch, so_far.batch = state["epoch"], state["batch"]
    so_far.tally.load_state(_without_prefix(own, "tally."))
    so_far.losses = own["losses"].to(train_state.accelerator.device)
    for values in state["history"]:
        metrics = {split: Metrics.model_validate(each) for split, each in values["metrics"].items()}
        progress.history.epochs.append(Epoch(**values | {"time": EpochTime(**values["time"]), "metrics": metrics}))
    progress.losses = [losses]
    progress.seconds["whiten"] = 0.0  # that of this part is thrown away, with what it made
    for name, seconds in state["seconds"].items():
        progress.seconds[name] = progress.seconds.get(name, 0.0) + seconds
    progress.memory = Memory.model_validate(state["memory"])
    progress.readings = Readings(**state["readings"])
    progress.resumed_at = [*state["resumed_at"], len(losses) + so_far.batch]


def _restore_rank(train_state: TrainState, so_far: EpochSoFar, own: Tensors, values: dict[str, Any]) -> None:
    for kind, module in _with_buffers(train_state):
        buffers = dict(module.named_buffers())
        for name, value in _without_prefix(own, f"{kind}.").items():
            buffers[name].copy_(value)
    so_far.time = EpochTime(**values["time"])
    so_far.timed_samples, so_far.joules = values["timed_samples"], values["joules"]
    version, numbers, gauss = values["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, position, has_gauss, cached = values["numpy"]
    np.random.set_state((kind, own["random.numpy"].numpy(), position, has_gauss, cached))
    torch.set_rng_state(own["random.torch"])
    if "random.cuda" in own:
        torch.cuda.set_rng_state(own["random.cuda"], train_state.accelerator.device)


def _rank_tensors(train_state: TrainState, so_far: EpochSoFar) -> Tensors:
    _, numpy_keys, *_ = np.random.get_state(legacy=True)
    tensors = {
        "random.torch": torch.get_rng_state(),
        "random.numpy": torch.from_numpy(np.array(numpy_keys)),
        "losses": so_far.losses.clone(),
    }
    if train_state.accelerator.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(train_state.accelerator.device)
    tensors |= {f"tally.{name}": tensor for name, tensor in so_far.tally.state().items()}
    for kind, module in _with_buffers(train_state):
        tensors |= {f"{kind}.{name}": buffer for name, buffer in module.named_buffers()}
    return tensors


def _rank_values(so_far: EpochSoFar) -> dict[str, Any]:
    kind, _, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "time": dataclasses.asdict(so_far.time),
        "timed_samples": so_far.timed_samples,
        "joules": so_far.joules,
        "python": random.getstate(),
        "numpy": [kind, position, has_gauss, cached],
    }


def _with_buffers(train_state: TrainState) -> list[tuple[str, nn.Module]]:
    averaged = [("average_buffer", train_state.ema)] if train_state.ema is not None else []
    return [("buffer", train_state.network), *averaged]


def _optimizer_state(train_state: TrainState) -> tuple[Tensors, dict[str, Any]]:
    """Returns the tensors as `PARAMETER.KEY`, and what is none; options are the suite's, and rates the schedule's."""
    optimizer = train_state.optimizer
    state = optimizer.state_dict()
    tensors: Tensors = {}
    values: dict[str, Any] = {}
    for place, entries in [*state["state"].items(), *((f"group{i}", g) for i, g in enumerate(state["param_groups"]))]:
        for key, value in entries.items():
            if key in ("params", "lr"):
                continue
            if isinstance(value, Tensor):
                tensors[f"{place}.{key}"] = value
            elif _is_plain(value):
                values[f"{place}.{key}"] = value
            else:
                message = f"{type(optimizer).__name__} keeps a {type(value).__name__} ('{key}')"
                hint = "use another optimizer, or set train.checkpoint_every_seconds: null"
                raise HarnessError(f"no checkpoint can be written: {message}", hint)
    return tensors, values


def _load_optimizer_state(train_state: TrainState, tensors: Tensors, values: Mapping[str, Any]) -> None:
    optimizer = train_state.optimizer
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **values}.items():
        place, _, key = name.partition(".")
        if place.startswith("group"):
            group = groups[int(place.removeprefix("group"))]
            group[key] = tuple(value) if isinstance(group.get(key), tuple) else value
        elif int(place) < len(parameters):
            if isinstance(value, Tensor) and value.dim() and value.shape == (own := parameters[int(place)]).shape:
                value = torch.empty_like(own, dtype=value.dtype).copy_(value)  # channels last, where that is
            state.setdefault(int(place), {})[key] = value
        else:
            raise ValueError(f"the optimizer has {len(parameters)} parameters, and no number {place}")
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def _epoch_values(epoch: Epoch) -> dict[str, Any]:
    return {
        "epoch": epoch.epoch,
        "time": dataclasses.asdict(epoch.time),
        "timed_samples": epoch.timed_samples,
        "eval_seconds": epoch.eval_seconds,
        "learning_rate": epoch.learning_rate,
        "joules": epoch.joules,
        "metrics": {split: metrics.model_dump() for split, metrics in epoch.metrics.items()},
    }


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
