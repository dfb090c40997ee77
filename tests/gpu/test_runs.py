"""Runs on the stand-in for a GPU: that no step makes the host wait for it, and what only happens where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from torch import Tensor

from harness.data.prepare import prepare
from harness.records.checkpoints import Checkpoint, CheckpointFolder
from harness.running.execute import CheckpointPolicy, Observer, Outcome, execute
from harness.training import metrics
from harness.training.epochs import Stopped
from tests.gpu.stand_in import stand_in_gpu
from tests.running.test_execute import make_spec

RESIDENT = {"name": "resident", "compile": False}
PICTURES = {"name": "synthetic", "size": 16, "channels": 3, "classes": 10, "train": 512, "test": 64}
MOVED = {"crop": 1, "flip": True, "rotate": 10, "cutout": 2, "erase": {}}
MIXED = {"mixup": 0.2, "cutmix": 1.0}
VIEWS = {"evaluate_views": "flips_and_shifts", "evaluate_views_share": 0.3, "mean_batch_recall": True}
CNN = {"name": "cnn3", "padding": "same", "filters": [4, 4, 4], "hidden_size": 8}


def run_on_gpu(
    capability: tuple[int, int] = (9, 0), name: str = "Stand-in", **sections: Any
) -> tuple[Outcome, list[str]]:
    """Returns what a run came to, and what its steps waited for but the first of each epoch."""
    spec = make_spec(**{"loader": RESIDENT, **sections})
    epochs: list[list[list[str]]] = [[]]
    with stand_in_gpu(capability, name) as gpu:

        def on_step(step: int) -> None:
            epochs[-1].append(gpu.waits[:])
            gpu.waits.clear()

        observer = Observer(on_step, lambda epoch: epochs.append([]))
        outcome = execute(spec, prepare(spec.data), Accelerator(), observer, fingerprint="")
    assert all(len(steps) > 3 for steps in epochs[:-1])
    return outcome, [wait for steps in epochs for waits in steps[1:] for wait in waits]


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({}, id="resident"),
        pytest.param({"loader": {"name": "pinned", "workers": 0}}, id="pinned"),
        pytest.param({"loader": {"name": "pinned", "workers": 1}}, id="pinned with a worker"),
        pytest.param(
            {"loader": {"name": "pinned", "workers": 0}, "data": {"name": "digits", "augment": MOVED}},
            id="pinned and augmented",
        ),
        pytest.param({"data": {"name": "digits", "augment": MOVED}}, id="augmented"),
        pytest.param({"data": {"name": "digits", "augment": {"resize": 12, "crop": 1}}}, id="resized"),
        pytest.param({"data": {"name": "digits", "augment": {"random_resized_crop": {"size": 8}}}}, id="resampled"),
        pytest.param({"data": PICTURES, "model": CNN, "train": {"channels_last": True, **VIEWS}}, id="channels last"),
        pytest.param(
            {"data": {"name": "digits", "augment": MIXED}, "train": {"loss": "binary_cross_entropy"}}, id="mixed"
        ),
        pytest.param({"data": PICTURES | {"augment": {"trivial_augment": True}}, "model": CNN}, id="trivially"),
        pytest.param({"model": "small_vgg", "train": {"activation_checkpointing": True}}, id="checkpointed"),
        pytest.param({"train": {"ema_decay": 0.9}}, id="moving average"),
        pytest.param({"train": {"clip_grad_norm": 1.0, "label_smoothing": 0.1}}, id="clipped"),
        pytest.param({"train": {"gradient_accumulation_steps": 4}}, id="micro-batches"),
        pytest.param({"train": {"retry_out_of_memory": True}}, id="fitted"),
        pytest.param({"train": {"mixed_precision": "bf16-true"}}, id="bfloat16 weights"),
        pytest.param({"train": {"mixed_precision": "no", "tf32": True}}, id="tf32"),
        pytest.param({"train": {"deterministic": True}}, id="deterministic"),
        pytest.param({"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}}, id="sgd"),
        pytest.param({"optimizer": {"name": "muon", "norm_bias_lr_scale": 2}}, id="muon"),
    ],
)
def test_no_step_waits_for_the_gpu(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PENDING_BYTES", 0)  # every step is counted at once
    outcome, waits = run_on_gpu(**sections)
    assert waits == []
    resolved: Any = outcome.measured.resolved
    assert resolved.device == "cuda" and outcome.losses.isfinite().all()


def test_loss_scaling_asks_once_a_step_whether_a_gradient_is_infinite() -> None:
    outcome, waits = run_on_gpu(train={"mixed_precision": "fp16"})
    assert set(waits) == {"item"} and len(waits) == len(outcome.losses) - 2


def test_loss_scaling_waits_for_nothing_where_the_optimizer_is_fused() -> None:
    fused = {"name": "torch/SGD", "lr": 0.05, "kwargs": {"momentum": 0.9, "fused": True}}
    outcome, waits = run_on_gpu(train={"mixed_precision": "fp16"}, optimizer=fused)
    assert waits == [] and outcome.losses[-1] < outcome.losses[0]


@pytest.mark.parametrize(
    ("capability", "name", "precision"),
    [((9, 0), "H100", "bf16"), ((7, 0), "V100", "fp16"), ((7, 5), "GTX 1660", "no"), ((6, 1), "GTX 1060", "no")],
)
def test_the_precision_is_the_one_that_the_card_gains_from(
    capability: tuple[int, int], name: str, precision: str
) -> None:
    outcome, _ = run_on_gpu(capability, name, train={"epochs": 1})
    resolved: Any = outcome.measured.resolved
    assert resolved.mixed_precision == precision


def test_the_loaders_feed_the_same_images() -> None:
    losses = [
        run_on_gpu(data={"name": "digits", "augment": MOVED}, loader=loader)[0].losses
        for loader in (RESIDENT, {"name": "pinned", "workers": 0})
    ]
    assert losses[0].equal(losses[1])


def test_a_loader_that_cannot_start_is_said_and_another_taken() -> None:
    pytest.importorskip("nvidia.dali")
    outcome, _ = run_on_gpu(loader={"name": "auto", "seconds": 0.05, "workers": 0})
    resolved: Any = outcome.measured.resolved
    assert resolved.loader in ("resident", "pinned")
    assert "DALI cannot start" in resolved.loader_images_per_second["dali"]


def test_a_fallback_is_recorded_with_its_reason_and_said_before_the_first_step() -> None:
    pytest.importorskip("nvidia.dali")
    said: list[str] = []
    observer = Observer(lambda step: said.append("step"), lambda epoch: None, say=said.append)
    spec = make_spec(loader={"name": "dali", "fallback": "pinned"}, train={"epochs": 1})
    with stand_in_gpu((9, 0), "Stand-in"):
        outcome = execute(spec, prepare(spec.data), Accelerator(), observer, fingerprint="")
    resolved: Any = outcome.measured.resolved
    assert resolved.loader == "pinned"
    reason = resolved.loader_images_per_second["dali"]
    assert "DALI cannot start" in reason and said[:2] == [f"loader pinned instead of dali: {reason}", "step"]


def test_a_run_goes_on_from_its_checkpoint_as_if_nothing_had_been(tmp_path: Path) -> None:
    spec = make_spec(
        model={"name": "mlp", "dropout": 0.5}, loader=RESIDENT, train={"ema_decay": 0.9, "checkpoint_every_steps": 30}
    )
    splits, folder = prepare(spec.data), CheckpointFolder(tmp_path)

    def steps_and_losses(checkpoint: Checkpoint | None, stop_after: int = 1000) -> tuple[list[int], Tensor]:
        steps: list[int] = []
        observer = Observer(steps.append, lambda epoch: None, stop_requested=lambda: len(steps) >= stop_after)
        checkpoint_policy = CheckpointPolicy(folder, {"run_id": "r"}, lambda: True, checkpoint)
        losses = execute(
            spec, splits, Accelerator(), observer, fingerprint="", checkpoint_policy=checkpoint_policy
        ).losses
        return steps, losses

    with stand_in_gpu():
        _, whole = steps_and_losses(None)
        with pytest.raises(Stopped):
            steps_and_losses(None, stop_after=30)
        checkpoint, problems = folder.newest()
        steps, resumed = steps_and_losses(checkpoint)
    assert checkpoint and not problems and steps[0] == 30
    assert resumed.equal(whole)
