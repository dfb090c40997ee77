"""Two real ranks over gloo against one: the same training, every test image counted once, no rank left waiting."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.measure.clock import EpochTime

pytestmark = pytest.mark.launch

SCRIPT = Path(__file__).with_name("ranks.py")


def config(poisoned_step: int | None = None, **sections: Any) -> tuple[dict[str, Any], int | None]:
    # 301 samples in batches of 64 leave a tail of 45: 23 for one rank, 22 for the other. The test split is odd.
    train = {"global_batch_size": 64, "epochs": 2, "eval_batch_size": 16, **sections.pop("train", {})}
    base = {
        "seed": 3,
        "model": {"name": "mlp", "hidden_sizes": [16]},
        "data": {"name": "synthetic", "size": 8, "channels": 1, "train": 301, "test": 101},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    }
    return {**base, **sections, "train": train}, poisoned_step


BATCH_NORM = {"name": "mlp", "hidden_sizes": [16], "batch_norm": True}
# Batches of 8 in micro-batches of 2, and a tail of 5: two micro-batches on one rank, one on the other.
UNEVEN = {"name": "synthetic", "size": 8, "channels": 1, "train": 85, "test": 101}
SCENARIOS = {
    "plain": config(),
    "adam": config(optimizer={"name": "adam", "lr": 0.01}),
    "clipped": config(train={"clip_grad_norm": 0.1, "label_smoothing": 0.1, "ema_decay": 0.9}),
    "accumulated": config(train={"gradient_accumulation_steps": 2}),
    "fitted": config(train={"retry_out_of_memory": True}),
    "uneven": config(data=UNEVEN, train={"global_batch_size": 8, "gradient_accumulation_steps": 2}),
    "diverged": config(poisoned_step=3),
    "diverged_accumulated": config(poisoned_step=4, train={"gradient_accumulation_steps": 2}),
    "diverged_tail": config(
        poisoned_step=10, data=UNEVEN, train={"global_batch_size": 8, "gradient_accumulation_steps": 2}
    ),
    "after_divergence": config(),
    "pinned": config(loader={"name": "pinned", "workers": 1}),
    "bfloat16": config(model=BATCH_NORM, train={"mixed_precision": "bf16-true"}),
    "batch_norm": config(model=BATCH_NORM),
    "batch_norm_average": config(model=BATCH_NORM, train={"ema_decay": 0.9}),
    "batch_norm_uneven": config(
        model=BATCH_NORM, data=UNEVEN, train={"global_batch_size": 12, "gradient_accumulation_steps": 2}
    ),
}
Found = dict[str, Any]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Found]]:
    """What each rank found in a scenario; all scenarios run in one launch of two ranks, and in this process."""
    folders = {world: tmp_path_factory.mktemp(f"ranks{world}") for world in (1, 2)}
    for folder in folders.values():
        (folder / "scenarios.json").write_text(json.dumps(SCENARIOS))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run([*torchrun, str(SCRIPT), str(folders[2])], capture_output=True, text=True, timeout=250)
    assert ended.returncode == 0, ended.stderr[-4000:]
    runpy.run_path(str(SCRIPT))["main"](folders[1])

    def read(name: str) -> list[Found]:
        """One rank's alone, then those of rank 0 and rank 1 of two."""
        files = [folders[1] / f"{name}.0.pt", folders[2] / f"{name}.0.pt", folders[2] / f"{name}.1.pt"]
        return [torch.load(file, weights_only=False) for file in files]

    return read


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys() and expected
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["plain", "adam", "clipped", "accumulated", "fitted", "uneven", "pinned", "after_divergence"]
)
def test_two_ranks_learn_what_one_does(name: str, launch: Callable[[str], list[Found]]) -> None:
    alone, first, second = launch(name)
    assert alone["wrapped"] == "Sequential" and first["wrapped"] == "DistributedDataParallel"
    for key in first["weights"]:
        assert torch.equal(first["weights"][key], second["weights"][key])
    assert_close(first["weights"], alone["weights"])
    assert first["samples"] == second["samples"] == alone["samples"]
    if name == "clipped":
        assert_close(first["average"], alone["average"])
    assert first["metrics"]["train"]["loss"] == pytest.approx(alone["metrics"]["train"]["loss"], rel=1e-4)


def test_two_ranks_learn_with_weights_in_bfloat16(launch: Callable[[str], list[Found]]) -> None:
    alone, first, second = launch("bfloat16")
    types = {key: value.dtype for key, value in first["weights"].items()}
    assert set(types.values()) >= {torch.bfloat16, torch.float32} and types.keys() == alone["weights"].keys()
    for key in first["weights"]:
        assert torch.equal(first["weights"][key], second["weights"][key])
    assert first["metrics"] == second["metrics"]
    assert first["metrics"]["train"]["loss"] == pytest.approx(alone["metrics"]["train"]["loss"], rel=0.05)


def test_micro_batches_are_those_that_fit_the_smallest_memory(launch: Callable[[str], list[Found]]) -> None:
    alone, first, second = (found["resolved"] for found in launch("fitted"))
    assert first == second
    assert (first["gradient_accumulation_steps"], first["micro_batch_size"]) == (4, 8)
    assert (alone["gradient_accumulation_steps"], alone["micro_batch_size"]) == (8, 8)


@pytest.mark.parametrize("name", ["plain", "accumulated", "batch_norm"])
def test_every_test_image_counts_once(name: str, launch: Callable[[str], list[Found]]) -> None:
    for found in launch(name):
        arrays = found["arrays"]
        assert len(arrays["prediction"]) == len(arrays["label"]) == arrays["confusion_test"].sum() == 101
        hits = (arrays["prediction"] == arrays["label"]).sum().item()
        assert found["metrics"]["test"]["accuracy"] == hits / 101
        assert arrays["confusion_train"].sum() == 301


def test_predictions_are_those_of_one_process(launch: Callable[[str], list[Found]]) -> None:
    alone, first, second = (found["arrays"] for found in launch("plain"))
    assert torch.equal(first["prediction"], alone["prediction"])
    assert torch.equal(second["prediction"], alone["prediction"])


def test_ranks_agree_on_all_that_is_recorded(launch: Callable[[str], list[Found]]) -> None:
    for name in ("plain", "batch_norm", "batch_norm_average"):
        _, first, second = launch(name)
        assert first["metrics"] == second["metrics"] and first["train_seconds"] == second["train_seconds"]
        assert torch.equal(first["arrays"]["prediction"], second["arrays"]["prediction"])


@pytest.mark.parametrize(("name", "part"), [("batch_norm", "weights"), ("batch_norm_average", "average")])
def test_batch_norm_statistics_are_averaged_over_ranks(
    name: str, part: str, launch: Callable[[str], list[Found]]
) -> None:
    _, first, second = (found[part] for found in launch(name))
    running = [key for key in first if "running" in key]
    assert len(running) == 2
    for key in running:
        assert torch.equal(first[key], second[key])


def test_buffers_are_not_broadcast_at_every_step(launch: Callable[[str], list[Found]]) -> None:
    assert [found["broadcast_buffers"] for found in launch("batch_norm")] == [None, False, False]


def test_a_tail_in_micro_batches_is_enough_for_batch_norm(launch: Callable[[str], list[Found]]) -> None:
    assert [found["samples"] for found in launch("batch_norm_uneven")] == [2 * 84] * 3  # one of 85 is skipped


def test_only_the_last_micro_batch_is_averaged(launch: Callable[[str], list[Found]]) -> None:
    _, first, second = launch("accumulated")
    epoch = [False, True] * 5  # four batches and a tail
    assert first["syncs"] == second["syncs"] == epoch * 2
    _, first, second = launch("uneven")
    assert first["syncs"] == [False, True] * 11 * 2
    assert second["syncs"] == ([False, True] * 10 + [True]) * 2


@pytest.mark.parametrize(("name", "step"), [("diverged", 3), ("diverged_accumulated", 4), ("diverged_tail", 10)])
def test_all_ranks_stop_where_one_diverged(name: str, step: int, launch: Callable[[str], list[Found]]) -> None:
    assert launch(name) == [{"diverged": step}] * 3


def test_dropout_differs_from_rank_to_rank(launch: Callable[[str], list[Found]]) -> None:
    _, first, second = launch("plain")
    assert first["seed_of_dropout"] != second["seed_of_dropout"]


def test_what_ranks_exchange(launch: Callable[[str], list[Found]]) -> None:
    alone, first, second = launch("exchange")
    assert alone["time"] == EpochTime(10.0, 1.0, 5.0, 7)
    assert first["time"] == second["time"] == EpochTime(10.0, 1.5, 6.0, 7)
    for found in (first, second):
        assert found["confusion"].tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
        assert found["gathered"].tolist() == [0, 10, 20, 30, 40, 50, 60]
        assert found["gathered_one"].tolist() == [0]


def test_no_rank_that_compiles_nothing_has_imported_the_compiler(launch: Callable[[str], list[Found]]) -> None:
    _, first, second = launch("exchange")
    assert not first["compiler"] and not second["compiler"]
