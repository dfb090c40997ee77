"""A variable of the environment that changes run time is in the record, and its run's time does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measure.environment import timing_variables
from tests.house import House
from tests.launching.test_submission import call


def test_what_changes_run_time_is_named_and_nothing_else() -> None:
    set_here = {
        "OMP_NUM_THREADS": "4",
        "LD_PRELOAD": "/home/anna/lib/libjemalloc.so.2:/opt/libx.so",
        "CUDA_LAUNCH_BLOCKING": "1",
        "MALLOC_CONF": "",
        "WANDB_API_KEY": "secret",
        "HOME": "/home/anna",
    }
    on_cpu = {"OMP_NUM_THREADS": "4", "LD_PRELOAD": "libjemalloc.so.2 libx.so"}
    assert timing_variables("cpu", set_here) == on_cpu
    assert timing_variables("cuda", set_here) == {"CUDA_LAUNCH_BLOCKING": "1"}


@pytest.mark.launch
def test_a_run_with_other_threads_is_told_and_its_time_does_not_count(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = str(house.suite("seeds: 3\n"))
    assert house.run(suite, "--set", "seeds=[0, 1]").returncode == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    last = house.run(suite)
    assert last.returncode == 0, last.stderr
    assert "2 of them ran in another environment (OMP_NUM_THREADS 1, not 2)" in " ".join(last.stderr.split()), (
        last.stderr
    )
    records = sorted(house.results().values(), key=lambda result: result["seed"])
    assert [record["environment"]["OMP_NUM_THREADS"] for record in records] == ["1", "1", "2"]
    told = "Another environment than most runs (OMP_NUM_THREADS 2, not 1): 1 of 3 runs of “faulty”."
    assert f"{told} Their times are left out" in " ".join(last.stdout.split())
    folder = Path(house.path, "results", "faults")
    _, out, _ = call(capsys, "report", str(folder), "--json")
    assert '"train_seconds_n": 2,' in out
