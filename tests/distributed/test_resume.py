"""Two real ranks over gloo that are interrupted and go on: the bits of a run that never was, and pauses in step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.launch, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("resuming.py")
BATCH_NORM = {"name": "mlp", "hidden_sizes": [16], "batch_norm": True, "dropout": 0.3}


def config(*fates: dict[str, int], removed: str = "", **sections: Any) -> tuple[Any, ...]:
    """5 steps an epoch of 64, the tail of 45 uneven; a checkpoint every 3 steps."""
    train = {"global_batch_size": 64, "epochs": 3, "num_processes": 2, "deterministic": True}
    train |= {"checkpoint_every_steps": 3, **sections.pop("train", {})}
    base = {
        "seed": 3,
        "model": BATCH_NORM,
        "data": {"name": "synthetic", "size": 8, "channels": 1, "train": 301, "test": 101, "augment": {"crop": 1}},
        "optimizer": {"name": "adam", "lr": 0.01},
    }
    return {**base, **sections, "train": train}, fates, removed


SCENARIOS = {
    "killed": config({"killed_after": 2}, {"killed_after": 8}, {"killed_after": 14}),
    "stopped": config(
        {"stopped_after": 2, "stopped_rank": 1, "milliseconds": 40},
        {"stopped_after": 20, "milliseconds": 40},
        train={"epochs": 9},
    ),
    "average": config({"killed_after": 8}, train={"ema_decay": 0.9, "gradient_accumulation_steps": 2}),
    "pinned": config({"killed_after": 8}, loader={"name": "pinned", "workers": 1}),
    "lost": config({"killed_after": 8}, removed="rank-1.safetensors"),
}
RESUMED_AT = {"killed": [6, 12], "average": [6], "pinned": [6], "lost": [3]}


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, Any]]]:
    """What either rank found in a scenario; all run in one launch."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "scenarios.json").write_text(json.dumps(SCENARIOS))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run([*torchrun, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return lambda name: [torch.load(folder / f"{name}.{rank}.pt", weights_only=False) for rank in (0, 1)]


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_bits_are_those_of_a_run_that_was_never_stopped(
    name: str, launch: Callable[[str], list[dict[str, Any]]]
) -> None:
    for found in launch(name):
        resumed, never = found["resumed"], found["never stopped"]
        assert resumed.pop("resumed_at") and never.pop("resumed_at") == []
        assert_same(resumed, never)
    first, second = (found["resumed"] for found in launch(name))
    assert not torch.equal(first["random"], second["random"]), "each rank has random numbers of its own"


@pytest.mark.parametrize("name", RESUMED_AT)
def test_they_go_on_where_the_last_whole_checkpoint_is(
    name: str, launch: Callable[[str], list[dict[str, Any]]]
) -> None:
    for found in launch(name):
        assert found["resumed"]["resumed_at"] == RESUMED_AT[name]


def test_a_signal_to_one_rank_stops_both_after_the_same_step(launch: Callable[[str], list[dict[str, Any]]]) -> None:
    first, second = launch("stopped")
    assert first["parts"] == second["parts"] and all(part["kept"] for part in first["parts"])
    steps = [part["stopped"] for part in first["parts"]]
    assert 2 <= steps[0] < steps[1] and 20 <= steps[1] < 45 and first["resumed"]["resumed_at"] == steps


def test_ranks_pause_together(launch: Callable[[str], list[dict[str, Any]]]) -> None:
    first, second = launch("paused")
    assert first == second
    assert first["steps"] == [(step, "SAVE") for step in range(70, 401, 70)]
    assert len(first["time"]) >= 2 and {action for _, action in first["time"]} == {"SAVE"}
    ((step, action),) = first["stop"]
    assert action == "STOP" and 30 <= step < 400
    step, action = first["leave"][-1]
    assert action == "LEAVE" and 30 <= step < 400
