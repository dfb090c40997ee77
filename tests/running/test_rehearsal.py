"""What is tried and compiled before a run's clock runs, in a process that had other runs before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from harness.compiled import VARIANTS, compile_for_each_shape
from harness.data.order import GlobalBatches
from harness.data.prepare import Splits, prepare
from harness.running import build
from harness.running import execute as execute_module
from harness.running.build import build_loader, build_train_state
from harness.running.execute import Observer, execute
from harness.running.rehearsal import GRAPH_CALLS, has_rehearsal, rehearse
from harness.spec import RunSpec
from harness.training.loop import TrainState
from tests.gpu.stand_in import stand_in_gpu
from tests.running.test_execute import make_spec, run


@pytest.mark.slow
def test_compiling_has_its_own_clock_and_changes_no_weights() -> None:
    data = {"name": "digits", "train_samples": 200}
    eager, compiled = (run(make_spec(data=data, train={"compile": value})) for value in (False, True))
    assert compiled.clock.compile_seconds > 10 * compiled.clock.train_seconds
    torch.testing.assert_close(compiled.weights(), eager.weights(), rtol=1e-4, atol=1e-5)


class Recorded(nn.Module):
    """A model that is a function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.forward = function


def built(spec: RunSpec) -> tuple[TrainState, Splits, GlobalBatches]:
    splits, accelerator = prepare(spec.data), Accelerator(mixed_precision="no")
    loader, sampler = build_loader(spec, splits, accelerator)
    loader.close()
    return build_train_state(spec, splits, accelerator, len(sampler.sizes), lambda step: None), splits, sampler


@pytest.mark.parametrize("channels_last", [False, True])
def test_what_is_rehearsed_is_what_the_loader_yields(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type, layout and size of each batch: for any other a step would compile or try again."""
    monkeypatch.setattr(build, "image_dtype", lambda *_: torch.bfloat16)  # as on a GPU
    spec = make_spec(
        model={"name": "cnn3", "padding": "same", "filters": [4, 4, 4], "hidden_size": 8},
        data={"name": "digits", "train_samples": 200},
        train={"channels_last": channels_last, "mixed_precision": "bf16"},
    )
    train_state, splits, sampler = built(spec)
    network, seen = train_state.network, []

    def recorded(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return network(images)

    monkeypatch.setattr(train_state, "model", Recorded(recorded))
    rehearse(train_state, splits.image_shape(spec.data.augment), sampler)
    loader, _ = build_loader(spec, splits, train_state.accelerator)
    loaded = {(images.shape, images.stride()) for images, _ in loader.epoch(0)}
    assert {(images.shape, images.stride()) for images in seen} == loaded and len(loaded) == 2
    assert {images.dtype for images in seen} == {torch.bfloat16}
    loader.close()


@pytest.fixture
def compiled_frames(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Lets the compiler trace what it compiles and leave it as it is; gives how many functions it has traced."""
    from torch._dynamo.utils import counters

    compile: Any = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, dynamic, **_: compile(model, backend="eager", dynamic=dynamic))
    torch.compiler.reset()
    counters.clear()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield lambda: counters["frames"]["ok"]


def compiled_run(**sections: Any) -> None:
    data = {"name": "digits", "train_samples": 128}
    spec = make_spec(data=data, **sections | {"train": {"epochs": 1, "compile": True, **sections.get("train", {})}})
    quiet = Observer(lambda step: None, lambda epoch: None)
    execute(spec, prepare(spec.data), Accelerator(cpu=True), quiet, fingerprint="")


@pytest.mark.slow
def test_every_variant_of_a_network_is_compiled_and_once(compiled_frames: Callable[[], int]) -> None:
    """Left alone, the compiler gives up after eight."""
    for seed in range(2):
        for size in range(1, 13):
            compiled_run(model={"name": "mlp", "hidden_sizes": [size]}, seed=seed)
    assert compiled_frames() == 12


def test_each_batch_size_is_compiled_for_itself(compiled_frames: Callable[[], int]) -> None:
    for batch_size in (64, 32, 16, 8):
        compiled_run(train={"global_batch_size": batch_size})
    assert compiled_frames() == 4


def test_code_that_never_settles_is_compiled_so_often_and_no_more(compiled_frames: Callable[[], int]) -> None:
    calls = {"made": 0}

    def unsettled(values: torch.Tensor) -> torch.Tensor:
        return values + calls["made"]

    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        compiled = compile_for_each_shape(unsettled)
        for calls["made"] in range(40):
            assert compiled(torch.zeros(1)) == calls["made"]
    assert compiled_frames() == 8 + VARIANTS


GRAPHS = {
    "data": {"name": "digits", "train_samples": 200},
    "loader": {"name": "resident", "compile": False},
    "train": {"compile": "reduce-overhead", "gradient_accumulation_steps": 2},
}


@pytest.fixture
def resets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compiles nothing; gives how often, and when, the compiler was told to forget."""
    resets: list[str] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append("reset"))
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    return resets


def test_graphs_are_recorded_before_the_clock_runs(resets: list[str]) -> None:
    spec, calls = make_spec(**GRAPHS), []
    with stand_in_gpu(count=2):  # another process's GPU is left alone: the stand-in has no random state for it
        train_state, splits, sampler = built(spec)
        kept = [parameter.grad for parameter in train_state.network.parameters()]
        train_state.model.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
        rehearse(train_state, splits.image_shape(spec.data.augment), sampler)
    assert calls == [32, 8, *[size for size in (32, 8) for _ in range(GRAPH_CALLS - 1)]]
    assert all(
        parameter.grad is gradient for parameter, gradient in zip(train_state.network.parameters(), kept, strict=True)
    )
    assert all(gradient is not None and not gradient.any() for gradient in kept)


def test_graphs_are_freed_when_their_run_is_over(resets: list[str]) -> None:
    spec, quiet = make_spec(**GRAPHS), Observer(lambda step: None, lambda epoch: resets.append("epoch"))
    with stand_in_gpu():
        execute(spec, prepare(spec.data), Accelerator(), quiet, fingerprint="")
    assert resets == ["epoch", "epoch", "reset"]


def test_what_is_compiled_without_graphs_is_kept(resets: list[str]) -> None:
    run(make_spec(**GRAPHS))  # on a CPU there are none
    spec = make_spec(loader=GRAPHS["loader"], train={"compile": True})
    with stand_in_gpu():
        execute(
            spec, prepare(spec.data), Accelerator(), Observer(lambda step: None, lambda epoch: None), fingerprint=""
        )
    assert resets == []


def test_on_a_gpu_a_run_that_is_not_compiled_is_rehearsed_too_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(
        model={"name": "mlp", "batch_norm": True, "dropout": 0.3},
        data={"name": "digits", "train_samples": 200},
        loader={"name": "resident", "compile": False},
        train={"mixed_precision": "no"},
    )
    quiet, outcomes, calls = Observer(lambda step: None, lambda epoch: None), [], []

    def counted(*arguments: Any) -> None:
        calls.append(None)
        rehearse(*arguments)

    monkeypatch.setattr(execute_module, "rehearse", counted)
    with stand_in_gpu():
        for has_rehearsal in (execute_module.has_rehearsal, lambda *_: False):
            monkeypatch.setattr(execute_module, "has_rehearsal", has_rehearsal)
            outcomes.append(execute(spec, prepare(spec.data), Accelerator(), quiet, fingerprint=""))
    assert len(calls) == 1
    assert outcomes[0].losses.equal(outcomes[1].losses)
    assert outcomes[0].measured.clock.compile_seconds == 0


def test_a_rehearsal_leaves_everything_as_it_was() -> None:
    train_state, splits, sampler = built(make_spec(model={"name": "mlp", "batch_norm": True, "dropout": 0.3}))
    counted = torch.zeros(())
    train_state.network.register_buffer("calls", counted, persistent=False)

    def count(*_: Any) -> None:
        counted.add_(1)

    train_state.network.register_forward_hook(count)
    before = {name: value.clone() for name, value in train_state.network.state_dict().items()}
    random = torch.get_rng_state()
    rehearse(train_state, splits.image_shape(make_spec().data.augment), sampler)
    assert all(torch.equal(value, before[name]) for name, value in train_state.network.state_dict().items())
    assert counted == 0 and torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in train_state.network.parameters())


def test_on_a_cpu_only_what_is_compiled_is_rehearsed() -> None:
    assert not has_rehearsal(make_spec().train, torch.device("cpu"))
    assert has_rehearsal(make_spec(train={"compile": True}).train, torch.device("cpu"))
