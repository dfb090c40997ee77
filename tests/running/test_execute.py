"""A run from end to end, on digits."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from harness.data.normalize import normalization
from harness.data.prepare import prepare
from harness.data.source import Split
from harness.errors import HarnessError
from harness.models.network import fit_to_data
from harness.models.size import count_size
from harness.models.whitening import Whitening
from harness.records.result import Clock, Energy, Memory, Telemetry, Throughput
from harness.running import build as build_module
from harness.running import execute as execute_module
from harness.running.build import SLACK_SECONDS, YEAR_SECONDS, build_train_state, group_options
from harness.running.execute import Observer, Outcome, execute
from harness.spec import ImageShape, RunSpec, parse_run_spec
from harness.suite.file import Target
from harness.training.history import Epoch
from harness.training.loop import Diverged

CPU = torch.device("cpu")


def make_spec(**sections: Any) -> RunSpec:
    train = {"epochs": 2, "global_batch_size": 64, "num_processes": 1, **sections.pop("train", {})}
    base = {
        "seed": 1,
        "model": {"name": "mlp", "hidden_sizes": [32]},
        "data": {"name": "digits"},
        "optimizer": {"name": "adam", "lr": 0.01},
    }
    return parse_run_spec({**base, **sections, "train": train})


@dataclass
class Seen:
    """A run, and what its observer was told."""

    outcome: Outcome
    steps: list[int]
    epochs: list[Epoch]
    network: nn.Module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.outcome.measured, name)

    def weights(self) -> torch.Tensor:
        return torch.cat([value.detach().double().flatten() for value in self.network.state_dict().values()])


@dataclass
class Recorder:
    steps: list[int] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)


def run(spec: RunSpec, monkeypatch: pytest.MonkeyPatch | None = None, target: Target | None = None) -> Seen:
    recorder = Recorder()
    built: list[Any] = []

    def spied(*arguments: Any, **named: Any) -> Any:
        built.append(build_train_state(*arguments, **named))
        return built[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(execute_module, "build_train_state", spied)
        outcome = execute(
            spec,
            prepare(spec.data),
            Accelerator(cpu=True, mixed_precision="no"),
            Observer(recorder.steps.append, recorder.epochs.append),
            fingerprint="f" * 64,
            target=target,
            data_seconds=0.25,
        )
    return Seen(outcome, recorder.steps, recorder.epochs, built[0].network)


@functools.cache
def plain() -> Seen:
    return run(make_spec(data={"name": "digits", "validation": 0.2}), target=Target(metric="test.accuracy", at_least=0))


def test_a_run_learns_and_its_metrics_are_of_all_splits() -> None:
    assert set(plain().metrics) == {"train", "validation", "test"}
    assert plain().metrics["test"].accuracy > 0.85 and plain().epochs[0].metrics["test"].accuracy > 0.6
    assert plain().metrics == plain().epochs[-1].metrics


def test_what_is_null_has_a_reason_and_what_has_a_reason_is_null() -> None:
    measured, reasons = plain().outcome.measured, plain().outcome.measured.unavailable
    parts = {"clock": Clock, "throughput": Throughput, "memory": Memory, "energy": Energy, "telemetry": Telemetry}
    for part, model in parts.items():
        found = getattr(measured, part)
        for name in model.model_fields:
            is_explained = part in reasons or f"{part}.{name}" in reasons
            assert (getattr(found, name) is None) == is_explained, f"{part}.{name}"
    assert all(reasons.values())


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_mixed_batches_train_a_network_whose_test_images_are_not_mixed(loss: str) -> None:
    augment = {"mixup": 0.4, "cutmix": 1.0}
    found = run(make_spec(data={"name": "digits", "augment": augment}, train={"epochs": 6, "loss": loss}))
    assert found.metrics["test"].accuracy > 0.7 and found.metrics["test"].accuracy > found.metrics["train"].accuracy
    assert found.metrics["train"].loss > found.metrics["test"].loss


def test_a_run_with_checkpointed_activations_is_the_same_run_and_says_so() -> None:
    plain, own = (
        run(make_spec(model={"name": "small_vgg"}, train={"epochs": 1, "activation_checkpointing": asked}))
        for asked in (False, True)
    )
    assert torch.equal(plain.weights(), own.weights()) and torch.equal(plain.outcome.losses, own.outcome.losses)
    assert (plain.resolved.checkpointed_blocks, own.resolved.checkpointed_blocks) == (None, 2)


def test_every_clock_has_run_and_they_fit_into_the_total() -> None:
    clock = plain().clock
    assert clock.data_seconds == 0.25 and clock.compile_seconds == 0 and clock.checkpoint_seconds == 0
    parts = [clock.train_seconds, clock.eval_seconds, clock.build_seconds]
    assert min(parts) > 0 and sum(parts) <= clock.total_seconds
    assert clock.train_seconds == pytest.approx(sum(epoch.time.train_seconds for epoch in plain().epochs))
    assert clock.eval_seconds == pytest.approx(sum(epoch.eval_seconds for epoch in plain().epochs))


def test_the_clock_of_a_speedrun_has_whitening_training_and_evaluation_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*arguments: Any) -> None:
        time.sleep(0.2)
        fit_to_data(*arguments)

    monkeypatch.setattr(build_module, "fit_to_data", fit)
    whitened = make_spec(model={"name": "fast_vgg", "whiten": 2}, data={"name": "digits", "augment": {"resize": 32}})
    for spec, least, most in ((whitened, 0.2, 2.0), (make_spec(), 0.0, 0.01)):
        clock = run(spec).clock
        whitening = clock.speedrun_seconds - clock.train_seconds - clock.eval_seconds
        assert least <= whitening < most and whitening < clock.build_seconds


def test_steps_samples_and_epochs_are_counted() -> None:
    train_samples = plain().data.train_samples
    steps = -(-train_samples // 64)
    assert plain().steps == list(range(2 * steps)) and [epoch.epoch for epoch in plain().epochs] == [0, 1]
    throughput = plain().throughput
    assert (throughput.steps, throughput.samples, throughput.untimed_steps) == (2 * steps, 2 * train_samples, 5)
    assert throughput.samples_per_second > 0 and 0 < throughput.data_wait_share < 1


def test_predictions_confusion_and_accuracy_tell_the_same() -> None:
    arrays, test = plain().outcome.arrays, prepare(make_spec().data).test
    assert np.array_equal(arrays["label"].numpy(), test.labels)
    hits = (arrays["prediction"] == arrays["label"]).sum().item()
    assert plain().metrics["test"].accuracy == hits / len(test.labels)
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    for label, prediction in zip(arrays["label"], arrays["prediction"], strict=True):
        confusion[label, prediction] += 1
    assert torch.equal(arrays["confusion_test"], confusion)
    assert arrays["confusion_train"].sum() == plain().data.train_samples
    assert arrays["confusion_validation"].sum() == plain().data.validation_samples


def test_predictions_are_those_of_the_network() -> None:
    test = prepare(make_spec().data).test
    with_loop = plain().outcome.arrays["prediction"]
    splits = prepare(make_spec(data={"name": "digits", "validation": 0.2}).data)
    pixels = splits.train.images / 255
    images = torch.from_numpy((test.images / 255 - pixels.mean()) / pixels.std()).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = plain().network(images)
    assert (logits.argmax(1) == with_loop).all()


def test_the_record_says_what_the_run_saw() -> None:
    resolved, data, model = plain().resolved, plain().data, plain().model
    assert (resolved.device, resolved.mixed_precision, resolved.loader) == ("cpu", "no", "resident")
    assert resolved.micro_batch_size == 64
    assert (data.train_samples + data.validation_samples + data.test_samples, data.num_classes) == (1797, 10)
    assert data.fingerprint == "f" * 64 and data.rankable
    assert model.parameters == 64 * 32 + 32 + 32 * 10 + 10
    assert model.multiply_accumulates == 64 * 32 + 32 * 10


def test_the_epoch_is_selected_on_the_validation_split() -> None:
    by_split = {selected.selected_on: selected for selected in plain().selected}
    assert set(by_split) == {"validation", "test"}
    for split, selected in by_split.items():
        accuracies = [epoch.metrics[split].accuracy for epoch in plain().epochs]
        assert selected.epoch == accuracies.index(max(accuracies))
        assert selected.test == plain().epochs[selected.epoch].metrics["test"]


def test_a_target_is_reached_after_the_train_seconds_until_then() -> None:
    first = plain().target
    assert (first.epoch, first.train_seconds) == (0, plain().epochs[0].time.train_seconds)
    wanted = plain().epochs[1].metrics["test"].accuracy
    spec = make_spec(data={"name": "digits", "validation": 0.2})
    second = run(spec, target=Target(metric="test.accuracy", at_least=wanted))
    assert second.target.epoch == 1
    assert second.target.train_seconds == pytest.approx(second.clock.train_seconds)
    assert run(make_spec()).outcome.measured.target is None


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    model, data = {"name": "mlp", "dropout": 0.2}, {"name": "digits", "augment": {"crop": 1, "flip": True}}
    first, same, other = (
        run(make_spec(seed=seed, model=model, data=data, train={"deterministic": True})) for seed in (1, 1, 2)
    )
    assert torch.equal(first.weights(), same.weights()) and first.metrics == same.metrics
    assert not torch.equal(first.weights(), other.weights())


def test_the_loader_does_not_change_the_run() -> None:
    model, data = {"name": "mlp", "dropout": 0.2}, {"name": "digits", "augment": {"crop": 1}}
    expected = run(make_spec(model=model, data=data))
    for workers in (0, 2):
        found = run(make_spec(model=model, data=data, loader={"name": "pinned", "workers": workers}))
        assert torch.equal(found.weights(), expected.weights()) and found.metrics == expected.metrics


def test_a_run_before_it_does_not_change_a_run() -> None:
    spec = make_spec(train={"epochs": 1})
    first = run(spec)
    run(
        make_spec(model={"name": "mlp", "dropout": 0.5, "batch_norm": True}, train={"epochs": 1, "deterministic": True})
    )
    assert torch.equal(run(spec).weights(), first.weights())


def test_evaluation_every_few_epochs_and_always_after_the_last() -> None:
    often = run(make_spec(train={"epochs": 5}))
    seldom = run(make_spec(train={"epochs": 5, "evaluate_every_epochs": 2}))
    assert [epoch.epoch for epoch in seldom.epochs if "test" in epoch.metrics] == [1, 3, 4]
    assert torch.equal(often.weights(), seldom.weights()) and often.metrics == seldom.metrics


def test_the_moving_average_is_what_is_evaluated() -> None:
    slow = run(make_spec(train={"ema_decay": 0.999}))
    assert torch.equal(slow.weights(), run(make_spec()).weights())
    assert slow.metrics["test"].accuracy < plain().metrics["test"].accuracy
    assert slow.metrics["train"] == run(make_spec()).metrics["train"]


def test_the_first_layer_whitens_the_training_images_and_stays_as_it_is() -> None:
    model = {"name": "fast_vgg", "widths": [4], "whiten": 2}
    spec = make_spec(model=model, data={"name": "digits", "train_samples": 300}, train={"epochs": 1})
    found = run(spec)
    splits = prepare(spec.data)
    mean, std = normalization(spec.data, splits.train)
    images = (torch.from_numpy(splits.train.images).permute(0, 3, 1, 2) / 255 - mean[0]) / std[0]
    expected = Whitening(splits.image_shape(spec.data.augment), 2)
    expected.fit(images)
    filters, wanted = found.network.get_parameter("whitening.0.weight"), expected.state_dict()["0.weight"]
    torch.testing.assert_close(filters.abs(), wanted.abs(), rtol=1e-3, atol=1e-4)  # a direction has no sign
    assert found.network.get_parameter("whitening.0.bias").requires_grad


def test_the_views_of_an_evaluation_change_what_is_evaluated_and_nothing_else() -> None:
    both = run(make_spec(train={"evaluate_views": "flips_and_shifts"}))
    assert torch.equal(both.weights(), run(make_spec()).weights())
    assert both.metrics["train"] == run(make_spec()).metrics["train"]
    assert both.metrics["test"] != run(make_spec()).metrics["test"]


def test_views_of_the_least_certain_change_some_of_what_is_evaluated() -> None:
    all_views, some = (
        run(make_spec(train={"evaluate_views": "flips_and_shifts", "evaluate_views_share": share}))
        for share in (1.0, 0.1)
    )
    assert torch.equal(some.weights(), all_views.weights())
    assert (
        some.metrics["test"] != all_views.metrics["test"] and some.metrics["test"] != run(make_spec()).metrics["test"]
    )


def test_class_weights_are_of_the_training_images_and_change_the_run() -> None:
    labels = prepare(make_spec().data).train.labels
    weights = (len(labels) / 10 / np.bincount(labels)).astype("float32").tolist()
    balanced = run(make_spec(train={"class_weights": "balanced"}))
    assert not torch.equal(balanced.weights(), plain().weights())
    assert torch.equal(balanced.weights(), run(make_spec(train={"class_weights": weights})).weights())
    with pytest.raises(HarnessError, match=r"train\.class_weights has 3 weights for 10 classes"):
        run(make_spec(train={"class_weights": [1, 1, 2]}))


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1}, {"name": "muon"}])
def test_weights_in_bfloat16_learn(optimizer: dict[str, Any]) -> None:
    model = {"name": "fast_vgg", "widths": [4, 4], "whiten": 2}
    train = {"mixed_precision": "bf16-true", "epochs": 2}
    found = run(make_spec(model=model, optimizer=optimizer, train=train))
    norms = {name for name, module in found.network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for name, module in found.network.named_modules():
        expected = torch.float32 if name in norms else torch.bfloat16
        assert all(each.dtype == expected for each in module.parameters(recurse=False)), name
    assert norms and found.resolved.mixed_precision == "bf16-true"
    assert found.metrics["test"].accuracy > 0.3


def test_channels_last_learns_the_same() -> None:
    model = {"name": "cnn3", "padding": "same", "filters": [4, 4, 4], "hidden_size": 8}
    data = {"name": "digits", "train_samples": 300, "augment": {"cutout": 2}}
    plain_layout, last = (
        run(make_spec(model=model, data=data, train={"channels_last": value, "epochs": 1})) for value in (False, True)
    )
    assert last.network.get_parameter("conv2.weight").is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.weights(), plain_layout.weights(), rtol=1e-3, atol=1e-4)


def test_batch_norm_bears_a_tail_that_leaves_one_sample_over() -> None:
    # 33 samples in micro-batches of 16: 16, 16 and 1 would be too few for batch norm.
    data = {"name": "digits", "train_samples": 97}
    train = {"global_batch_size": 64, "gradient_accumulation_steps": 4, "epochs": 1}
    found = run(make_spec(model={"name": "mlp", "batch_norm": True}, data=data, train=train))
    assert found.throughput.samples == 97 and found.throughput.steps == 2


def test_bfloat16_runs_on_a_cpu() -> None:
    found = run(make_spec(train={"mixed_precision": "bf16"}))
    assert found.resolved.mixed_precision == "bf16" and found.metrics["test"].accuracy > 0.85


def test_fp16_on_a_cpu_is_an_error() -> None:
    with pytest.raises(HarnessError, match="fp16 needs a GPU"):
        run(make_spec(train={"mixed_precision": "fp16"}))


def test_a_run_that_diverges_says_where() -> None:
    with pytest.raises(Diverged) as error:
        run(make_spec(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0.9}))
    assert 0 < error.value.step < 10


def test_workers_end_when_a_run_fails() -> None:
    import psutil

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(Diverged):
        run(make_spec(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0.9}, loader={"name": "pinned", "workers": 2}))
    started = set(psutil.Process().children(recursive=True)) - before
    assert psutil.wait_procs(started, timeout=120)[1] == []


def test_the_hosts_peak_is_in_the_record() -> None:
    assert plain().memory.host_rss_bytes > 50 * 2**20


def test_skipped_samples_are_counted() -> None:
    data = {"name": "digits", "train_samples": 129}
    found = run(make_spec(data=data, train={"global_batch_size": 64}))
    assert found.throughput.skipped_samples == 2 and found.throughput.samples == 256


def test_counting_the_size_of_a_network_leaves_it_as_it_was() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 25, 6)
    )
    network[0].requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    for training in (True, False):
        network.train(training)
        size = count_size(network, ImageShape(3, 5, 5), CPU)
        assert all(module.training == training for module in network.modules())
    assert size.parameters == 4 * 27 + 4 + 8 + 600 + 6
    assert size.trainable_parameters == size.parameters - (4 * 27 + 4)
    assert size.multiply_accumulates == 27 * 4 * 25 + 600
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert [parameter.requires_grad for parameter in network.parameters()] == [False] * 2 + [True] * 4


def test_images_that_are_trained_on_are_not_tested_on() -> None:
    splits = prepare(make_spec(data={"name": "digits", "validation": 0.2}).data)
    whole = prepare(make_spec().data)

    def rows(split: Split) -> list[bytes]:
        return [image.tobytes() + bytes([label]) for image, label in zip(split.images, split.labels, strict=True)]

    assert sorted(rows(splits.train) + rows(splits.validation)) == sorted(rows(whole.train))
    assert rows(splits.test) == rows(whole.test)


def test_train_metrics_may_come_from_a_pass_of_their_own() -> None:
    augmented = {"name": "digits", "augment": {"crop": 3, "erase": {"probability": 1.0}}, "normalize": "none"}
    seen = run(make_spec(data=augmented, train={"epochs": 1, "evaluate_train": True}))
    train = prepare(make_spec().data).train
    pixels = torch.from_numpy(train.images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        hits = seen.network.eval()(pixels).argmax(1).numpy() == train.labels
    assert seen.metrics["train"].accuracy == pytest.approx(hits.mean())
    assert seen.outcome.arrays["confusion_train"].sum() == len(train.labels)


def test_the_loss_of_every_step_and_the_network_are_handed_over() -> None:
    assert len(plain().outcome.losses) == plain().throughput.steps
    train_loss = plain().outcome.losses[-plain().throughput.steps // 2 :].mean().item()
    assert train_loss == pytest.approx(plain().metrics["train"].loss, rel=0.02)  # the last batch is smaller
    assert plain().outcome.network is plain().network


@pytest.mark.parametrize(("asked", "seconds"), [([60.0, 1800.0], 2400), ([1e300], 365 * 86400)])
def test_ranks_wait_for_each_other_longer_than_a_step_may_take(asked: list[float], seconds: int) -> None:
    trains = [make_spec(train={"timeout_seconds": each}).train for each in asked]
    assert group_options(trains, supervised=True).timeout == timedelta(seconds=seconds)
    alone = group_options(trains, supervised=False).timeout
    assert alone == timedelta(seconds=min(max(asked) + SLACK_SECONDS, YEAR_SECONDS))
