"""A variable of the environment that changes run time is in the record, and its run's time does not count."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.measure.environment import timing_variables
from tests.house import House
from tests.launching.test_submission import call

CPUS = len(os.sched_getaffinity(0))
MORE = CPUS + 1


def test_what_changes_run_time_is_named_and_nothing_else() -> None:
    more = str(MORE)
    set_here = {
        "OMP_NUM_THREADS": more,
        "LD_PRELOAD": "/home/anna/lib/libjemalloc.so.2:/opt/libx.so",
        "CUDA_LAUNCH_BLOCKING": "1",
        "MALLOC_CONF": "",
        "WANDB_API_KEY": "secret",
        "HOME": "/home/anna",
    }
    on_cpu = {"OMP_NUM_THREADS": more, "LD_PRELOAD": "libjemalloc.so.2 libx.so"}
    assert timing_variables("cpu", set_here) == on_cpu
    assert timing_variables("cuda", set_here) == {"CUDA_LAUNCH_BLOCKING": "1"}
    assert timing_variables("cpu", {"OMP_NUM_THREADS": str(CPUS)}) == {}, "as many threads as where it is not set"


@pytest.mark.launch
def test_a_run_with_other_threads_is_told_and_its_time_does_not_count(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = str(house.suite("seeds: 3\n"))
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert house.run(suite, "--set", "seeds=[0, 1]").returncode == 0
    monkeypatch.setenv("OMP_NUM_THREADS", str(MORE))
    last = house.run(suite)
    assert last.returncode == 0, last.stderr
    assert f"2 of them ran in another environment (OMP_NUM_THREADS unset, not {MORE})" in " ".join(
        last.stderr.split()
    ), last.stderr
    records = sorted(house.results().values(), key=lambda result: result["seed"])
    assert [record["environment"] for record in records] == [{}, {}, {"OMP_NUM_THREADS": str(MORE)}]
    told = f"Another environment than most runs (OMP_NUM_THREADS {MORE}, not unset): 1 of 3 runs of “faulty”."
    assert f"{told} Their times are left out" in " ".join(last.stdout.split())
    folder = Path(house.path, "results", "faults")
    _, out, _ = call(capsys, "report", str(folder), "--json")
    assert '"train_seconds_n": 2,' in out
