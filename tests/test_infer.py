"""`inference: true` and `harness infer`, as users call them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.infer import infer
from harness.records.read import read_result
from harness.results.study import study_of_folders
from harness.suite.plan import load_suite
from tests.house import House

TEXT = "matrix: {model: [{name: mlp}, {name: small_vgg}]}\n"
SOON = "\n\nLATENCY_SECONDS, BATCH_SECONDS = 0.1, 0.01\n"


def call(house: House, *arguments: str, code: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "harness", *arguments]
    done = subprocess.run(command, cwd=house.path, env=house.environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == code, done.stderr
    return done


def records(house: House) -> dict[Path, dict[str, Any]]:
    return {path: json.loads(path.read_text()) for path in (house.path / "results").glob("*/*/*/result.json")}


@pytest.mark.launch
def test_networks_are_timed_after_training_or_later_and_no_run_is_trained_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (house.path / "harness/measure/inference.py").open("a") as file:
        file.write(SOON)
    house.suite(TEXT)
    house.run("suite.yaml", "--set", "train.keep_weights=true")
    before = records(house)
    assert len(before) == 2 and all(one["inference"] is None for one in before.values())

    told = call(house, "infer", "suite.yaml").stdout
    assert told.count(" ms for one image, 99 % of them within ") == 2 and "images/s in batches of" in told
    after = records(house)
    for path, was in before.items():
        now, added = copy.deepcopy(after[path]), after[path]["inference"]
        assert 0 < added["latency_seconds"] <= added["latency_p99_seconds"] and added["batch_size"] > 0
        assert now["clock"].pop("inference_seconds") > was["clock"].pop("inference_seconds") == 0
        assert now["unavailable"].pop("inference.eager") and now["generation"] > was["generation"]
        changed = {name for name in now if now[name] != was[name]}
        assert changed == {"inference", "generation"}
        assert read_result(path).inference, "the record counts"
    assert call(house, "infer", "results/faults").stdout == told, "what is known is not measured again"
    assert records(house) == after

    house.suite(f"{TEXT}inference: true\n")
    assert "2 are done on this system: skipped" in house.run("suite.yaml").stderr
    done = house.run("suite.yaml", "--set", "seeds=[5]", "--set", "train.keep_weights=false")
    assert done.returncode == 0, done.stderr
    new = [one for path, one in records(house).items() if path not in after]
    assert len(new) == 2 and all(one["inference"]["latency_seconds"] > 0 for one in new)
    for one in new:
        assert one["clock"]["inference_seconds"] < one["clock"]["total_seconds"]

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("harness.infer.describe_system", lambda **_: {"system_id": "other", "name": "Other"})
        with pytest.raises(HarnessError, match="no run of faults has ended ok on this system, Other"):
            next(infer(study_of_folders([house.path / "results/faults"]), {}))

    house.suite("seeds: [6]\n")
    house.run("suite.yaml", "--set", "train.keep_weights=true", "--set", "model=mlp")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("OMP_NUM_THREADS", "77")
        refused = call(house, "infer", "suite.yaml", "--set", "model=mlp", code=1)
        assert "it was trained in another environment" in refused.stderr and not refused.stdout

    house.suite("seeds: [7]\n")
    house.run("suite.yaml", "--set", "train.keep_weights=false", "--set", "model=mlp")
    refused = call(house, "infer", "suite.yaml", "--set", "model=mlp", code=1)
    assert "final.safetensors does not exist" in refused.stderr and not refused.stdout


def test_timing_networks_in_use_changes_no_identity(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    head = "name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}\n"
    ids = []
    for text in ("", "inference: true\n", "inference: false\n"):
        path.write_text(head + text)
        ids.append([run.run_id for run in load_suite(path).plan(lambda data: "f00d").runs])
    assert ids[0] == ids[1] == ids[2] and ids[0]
