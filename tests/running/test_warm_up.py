"""The run that is thrown away before the first one of a launch."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from accelerate import Accelerator

from harness.data.prepare import prepare
from harness.errors import HarnessError
from harness.running import execute as execute_module
from harness.running.stop_request import StopRequest
from harness.running.warm_up import warm_up, warm_up_seconds
from tests.house import House
from tests.running.test_execute import make_spec


def go(spec: Any, seconds: float, stop: StopRequest | None = None) -> float:
    """Warms up and returns the seconds that it took."""
    began = time.monotonic()
    warm_up(spec, prepare(spec.data), Accelerator(cpu=True, mixed_precision="no"), stop or StopRequest(), seconds)
    return time.monotonic() - began


def test_it_ends_when_its_time_is_over() -> None:
    go(make_spec(train={"epochs": 1}), 60)  # what it imports at first is imported
    assert 0.5 < go(make_spec(train={"epochs": 1_000_000}), 0.5) < 60


def test_its_time_begins_when_the_loader_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    build_loader = execute_module.build_loader

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.5)
        return build_loader(*arguments)

    monkeypatch.setattr(execute_module, "build_loader", slowly)
    assert go(make_spec(train={"epochs": 1_000_000}), 0.3) > 0.8


def test_it_ends_with_its_run() -> None:
    assert go(make_spec(train={"epochs": 1}), 240) < 120


def test_it_ends_when_the_process_is_asked_to_stop() -> None:
    stop = StopRequest()
    stop.reason = "SIGTERM"
    assert go(make_spec(train={"epochs": 1_000_000}), 240, stop) < 120


def test_a_loss_that_is_not_finite_is_the_runs_own_business() -> None:
    assert go(make_spec(optimizer={"name": "sgd", "lr": 1e30}), 240) < 120


def test_what_cannot_be_built_is_an_error() -> None:
    with pytest.raises(HarnessError):
        go(make_spec(train={"mixed_precision": "fp16"}), 1)


@pytest.mark.parametrize(
    ("asked", "device", "seconds"),
    [(None, "cuda", 10), (None, "cpu", 0), (0.0, "cuda", 0), (3.5, "cpu", 3.5)],
)
def test_a_gpu_is_warmed_up_unless_the_suite_says_otherwise(asked: float | None, device: str, seconds: float) -> None:
    assert warm_up_seconds(asked, device) == seconds


@pytest.mark.slow
@pytest.mark.launch
def test_each_launch_warms_up_once_and_the_numbers_are_those_without(house: House) -> None:
    plain = house.suite("matrix: {model.slow: [0.0, 0.001]}\nwarm_up_seconds: 0\n", "plain.yaml")
    assert house.run(str(plain), "--output", "plain").returncode == 0
    suite = house.suite("matrix: {model.slow: [0.0, 0.001]}\nwarm_up_seconds: 0.3\n")
    for output, options, launches in (("one", (), 1), ("isolated", ("--isolate",), 2)):
        ended = house.run(str(suite), "--output", output, *options)
        assert ended.returncode == 0, ended.stderr
        events = [path.read_text() for path in house.path.glob(f"{output}/faults/*/*/events.jsonl")]
        assert sum('"warm_up"' in text for text in events) == launches
        assert "its numbers are thrown away" in ended.stderr
        found = list(house.path.glob(f"{output}/faults/*/*/result.json"))
        assert len(found) == 2
        for path in found:
            own = json.loads(path.read_text())
            other = json.loads((house.path / "plain" / path.relative_to(house.path / output)).read_text())
            assert own["metrics"] == other["metrics"], own["label"]
            assert own["throughput"]["steps"] == other["throughput"]["steps"]


@pytest.mark.slow
@pytest.mark.launch
def test_a_run_that_fails_fails_in_its_warm_up_too_and_is_recorded_once(house: House) -> None:
    suite = house.suite("matrix: {model.fault: [oom, none]}\nwarm_up_seconds: 5\n")
    ended = house.run(str(suite))
    assert ended.returncode == 1
    statuses = {result["spec"]["model"]["fault"]: result["status"] for result in house.results().values()}
    assert statuses == {"oom": "oom", "none": "ok"}
