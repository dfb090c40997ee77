"""What others take from a run is measured, marks it, and is null with its reason where it cannot be read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from harness.data.prepare import prepare
from harness.measure import cores, processes, surroundings
from harness.measure.cores import NO_COUNT, Cores
from harness.measure.disturbance import FIELDS, NO_TRAINING, judge
from harness.measure.host import Host
from harness.measure.processes import Processes, times_of
from harness.measure.readings import Readings
from harness.measure.surroundings import Surroundings
from harness.measure.system.host import Throttling
from harness.measure.telemetry import Sampler, SuspensionWatch, main_thread_seconds
from harness.records.result import Disturbance, Telemetry
from harness.running.execute import Observer, execute
from tests.running.test_execute import make_spec

QUIET = {  # 10 s on two cores
    "parts": 2.0,
    "machine_seconds": 10.0,
    "rank_seconds": 10.0,
    "core_seconds": 20.0,
    "free_core_seconds": 4.0,
    "launch_cpu_seconds": 15.9,
    "steal_seconds": 0.05,
    "throttled_seconds": 0.0,
    "asleep_seconds": 0.0,
    "queued_seconds": 3.0,  # its own threads and workers wait for each other
    "suspended_seconds": 0.0,
}


def sentences(
    changes: dict[str, float] | None = None, *, uses_gpu: bool = False, telemetry: Telemetry | None = None
) -> list[str]:
    readings = Readings(machines={"node": QUIET | (changes or {})})
    return judge(readings, telemetry or Telemetry(), uses_gpu=uses_gpu).sentences


def test_a_quiet_machine_marks_nothing_and_all_is_told() -> None:
    judged = judge(Readings(machines={"node": QUIET}), Telemetry(), uses_gpu=False)
    assert judged.sentences == [] and judged.unavailable == {}
    found = judged.disturbance
    assert found.other_cpu_seconds == pytest.approx(0.05)
    assert found.run_queue_wait_seconds == 3.0 and found.wait_for_others_seconds == pytest.approx(0.1)
    assert found.core_seconds == 20.0 and found.other_launches == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"launch_cpu_seconds": 8.0, "queued_seconds": 0.0}, "processes of others used 0.79 of 2 cores"),
        ({"steal_seconds": 3.0, "launch_cpu_seconds": 13.0, "queued_seconds": 0.0}, "the hypervisor gave 0.3 of 2"),
        ({"throttled_seconds": 1.0}, "its cgroup kept it from a core for 1 s"),
        ({"suspended_seconds": 30.2}, "its processes stood still for 30.2 s"),
        ({"asleep_seconds": 7.0}, "the machine was suspended for 7.0 s"),
    ],
    ids=["others", "steal", "throttled", "suspended", "asleep"],
)
def test_each_disturbance_has_its_sentence(changes: dict[str, float], said: str) -> None:
    [sentence] = sentences(changes)
    assert sentence.startswith(said)


def test_threads_that_wait_for_others_are_told_from_those_that_wait_for_their_own() -> None:
    others = {"free_core_seconds": 0.0, "launch_cpu_seconds": 19.2}  # 0.75 s in 10 s
    assert sentences(others | {"queued_seconds": 0.01}) == []
    [sentence] = sentences(others | {"queued_seconds": 5.0})
    assert sentence.startswith("its threads waited 0.8 s for cores that others used")


def test_beside_a_gpu_the_cores_may_be_used_unless_the_run_waits() -> None:
    others = {"free_core_seconds": 0.0, "launch_cpu_seconds": 14.0}
    assert sentences(others | {"queued_seconds": 0.1}, uses_gpu=True) == []
    assert len(sentences(others | {"queued_seconds": 4.0}, uses_gpu=True)) == 1


def test_a_short_run_is_marked_by_what_is_counted_exactly_and_not_by_ticks() -> None:
    tenth = {name: value / 1000 for name, value in QUIET.items()} | {"parts": 2.0}  # 10 ms: a tick of each core
    assert sentences(tenth | {"free_core_seconds": 0.0, "queued_seconds": 0.0003}) == []
    beside_loops = tenth | {"core_seconds": 0.2, "machine_seconds": 0.1, "rank_seconds": 0.1}
    beside_loops |= {"parts": 2.0, "free_core_seconds": 0.0, "queued_seconds": 0.15}
    assert len(sentences(beside_loops)) == 2


def test_one_machine_that_was_disturbed_is_not_lost_among_others() -> None:
    machines = {f"node{number}": QUIET for number in range(20)}
    readings = Readings(machines=machines | {"node7": QUIET | {"launch_cpu_seconds": 13.0, "queued_seconds": 0.0}})
    [sentence] = judge(readings, Telemetry(), uses_gpu=False).sentences
    assert sentence == "on node7: processes of others used 0.29 of 2 cores"


def test_a_gpu_that_others_used_or_that_was_too_hot_disturbs_and_its_power_limit_does_not() -> None:
    shared = Telemetry(gpu_shared=True, gpu_other_pids=[7, 8], gpu_throttled=False, gpu_throttle_reasons={})
    assert sentences(uses_gpu=True, telemetry=shared) == ["other processes used its GPU: 7, 8"]
    reasons = {"power limit": 0.9, "thermal limit": 0.12, "power brake": 0.01}
    hot = Telemetry(gpu_shared=False, gpu_throttled=True, gpu_throttle_reasons=reasons)
    assert sentences(uses_gpu=True, telemetry=hot) == ["its GPU was slowed down: thermal limit in 12% of the samples"]


def test_what_cannot_be_read_is_null_and_what_needs_it_too() -> None:
    readings = Readings(machines={"node": QUIET}, unknown={"cores": NO_COUNT, "throttled_seconds": "no cgroup"})
    judged = judge(readings, Telemetry(), uses_gpu=False)
    null = {name for name, value in judged.disturbance if value is None}
    assert null == {name.partition(".")[2] for name in judged.unavailable}
    assert {"core_seconds", "other_cpu_seconds", "wait_for_others_seconds", "steal_seconds"} <= null
    assert judged.unavailable["disturbance.other_cpu_seconds"] == NO_COUNT
    assert judged.unavailable["disturbance.throttled_seconds"] == "no cgroup"
    assert "run_queue_wait_seconds" not in null


def test_where_nothing_was_trained_all_is_null() -> None:
    judged = judge(Readings(), Telemetry(), uses_gpu=False)
    assert set(judged.unavailable.values()) == {NO_TRAINING} and len(judged.unavailable) == len(FIELDS)
    assert set(FIELDS) | {"other_launches"} == set(Disturbance.model_fields)


def test_parts_and_ranks_add_up_machine_by_machine_also_through_a_checkpoint() -> None:
    first = Readings(machines={"a": {"queued_seconds": 1.0}, "b": {"queued_seconds": 5.0}}, other_launches=[3])
    kept = Readings(**json.loads(json.dumps(dataclasses.asdict(first))))
    both = kept + Readings(machines={"a": {"queued_seconds": 2.0, "steal_seconds": 1.0}}, other_launches=[3, 4])
    assert both.machines == {"a": {"queued_seconds": 3.0, "steal_seconds": 1.0}, "b": {"queued_seconds": 5.0}}
    assert both.other_launches == [3, 4]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of `/proc`."""
    for module in (processes, cores):
        monkeypatch.setattr(module, "PROC", tmp_path)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0, 2})
    return tmp_path


def test_the_cores_that_it_may_use_are_counted(proc: Path) -> None:
    rows = ("cpu 9 9 9 999 9 9 9 9 9 9", "cpu0 1 0 0 200 10 0 0 5 0 0", "cpu1 9 9 9 900 9 9 9 99 9 9")
    (proc / "stat").write_text("\n".join([*rows, "cpu2 1 0 0 100 0 0 0 2 0 0", "intr 5", ""]))
    found = Cores().counters()
    assert (found["free_core_seconds"], found["steal_seconds"]) == (pytest.approx(3.1), pytest.approx(0.07))


def test_cores_that_are_not_counted_are_not_quiet(proc: Path) -> None:
    (proc / "stat").write_text("cpu 0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu2 0 0 0 0 0 0 0 0 0 0\n")
    with pytest.raises(LookupError, match=NO_COUNT):
        Cores().counters()
    (proc / "stat").write_text("cpu 1 2 3 4 5 6 7 8 9 10\n")
    with pytest.raises(LookupError, match=NO_COUNT):
        Cores().counters()
    assert Surroundings({os.getpid()}).sentence() == ""


@pytest.mark.parametrize(
    ("cgroup", "folders", "files"),
    [
        ("0::/a/b\n", ("", "a", "a/b"), ("usage_usec 9\n", "throttled_usec 1500000\n", "usage_usec 9\n")),
        ("4:cpu,cpuacct:/a/b\n", ("cpu", "cpu/a"), ("throttled_time 0\n", "nr 3\nthrottled_time 1500000000\n")),
    ],
    ids=["cgroup 2", "cgroup 1"],
)
def test_throttling_counts_where_the_limit_is(tmp_path: Path, cgroup: str, folders: Any, files: Any) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroup)
    for folder, text in zip(folders, files, strict=True):
        (tmp_path / "sys/fs/cgroup" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup" / folder / "cpu.stat").write_text(text)
    assert Throttling(tmp_path / "proc", tmp_path / "sys").seconds() == 1.5
    with pytest.raises(LookupError, match="no cgroup"):
        Throttling(tmp_path / "proc", tmp_path / "none")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process, said to be a rank of a launch, that starts another and ends when it is told to."""
    script = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('there', flush=True); input()"
    started = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "HARNESS_SUPERVISOR": "host:123456"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout and started.stdout.readline() == "there\n"
    yield started
    os.killpg(started.pid, 9)
    started.wait()
    assert started.stdin
    started.stdin.close()
    started.stdout.close()


def test_a_launch_is_all_that_it_started_and_others_are_seen(child: subprocess.Popen[str]) -> None:
    ours, theirs = Processes({os.getpid()}), Processes({1_000_000_000})
    ours.look()
    theirs.look()
    assert len(ours.belonging_to({child.pid})) == 2 and ours.belonging_to({child.pid}) < ours.all()
    assert 123456 not in ours.other_launches and 123456 in theirs.other_launches
    times = times_of(os.getpid())
    assert times.own <= time.process_time() and times_of(1_000_000_000) == (0.0, 0.0)


def test_a_process_that_stood_still_is_late() -> None:
    class Late(SuspensionWatch):
        def __init__(self, waited: float, used: float) -> None:
            super().__init__(1.0)
            self._since, self._used = time.perf_counter() - waited, main_thread_seconds() - used

    assert Late(31.0, 0.0).missed(0.0) == pytest.approx(30.0, abs=0.5)
    assert Late(31.0, 29.9).missed(0.0) == pytest.approx(0.1, abs=0.2)  # a computation that let no thread go
    assert Late(31.0, 0.0).missed(time.perf_counter() - 5.0) == pytest.approx(4.0, abs=0.5)  # the rest: before the part
    late = Late(31.0, 0.0)
    late.rest()
    assert late.missed(0.0) == 0.0


def test_what_other_threads_compute_hides_no_suspension() -> None:
    """Of many threads a second has many CPU seconds."""
    begun, all_begun = main_thread_seconds(), time.process_time()
    worker = threading.Thread(target=lambda: hashlib.pbkdf2_hmac("sha256", b"x", b"y", 500_000))
    worker.start()
    worker.join()
    assert main_thread_seconds() - begun < 0.1 < time.process_time() - all_begun


def test_a_busy_machine_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Surroundings({os.getpid()})
    assert watched.busy_cores() is None and watched.sentence() == ""  # a moment tells nothing yet
    monkeypatch.setattr(surroundings, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watched, "_began", (0.0, 0.0))
    monkeypatch.setattr(watched, "_read", lambda: (10.0, 1.0))
    watched._cores.count = 2
    said = watched.sentence()
    assert said.startswith("this machine is busy: other processes use 1.9 of 2 cores")
    assert "OMP_WAIT_POLICY=PASSIVE" in said
    assert watched.sentence() == ""
    quiet = Surroundings({os.getpid()})
    quiet._began, quiet._cores.count = (0.0, 0.0), 2
    monkeypatch.setattr(quiet, "_read", lambda: (10.0, 19.0))
    assert quiet.sentence() == ""


def test_a_sampler_measures_its_own_work_as_its_own() -> None:
    with Sampler(None, Host([os.getpid()]), {}, period_seconds=60.0) as sampler:
        for _ in range(5):
            with sampler.training():
                until = time.thread_time() + 0.1
                while time.thread_time() < until:
                    pass
    [sums] = sampler.readings.machines.values()
    assert sums["launch_cpu_seconds"] == pytest.approx(0.5, rel=0.2)
    assert sums["core_seconds"] == pytest.approx(sums["machine_seconds"] * len(os.sched_getaffinity(0)))
    assert 0.5 <= sums["rank_seconds"] <= sums["machine_seconds"] <= sums["rank_seconds"] + 0.5
    assert sums["queued_seconds"] <= sums["rank_seconds"] * 3


def test_a_run_whose_proc_cannot_be_read_is_not_called_quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (processes, cores):
        monkeypatch.setattr(module, "PROC", tmp_path)
    spec = make_spec()
    observer = Observer(lambda step: None, lambda epoch: None)
    fields = dict(execute(spec, prepare(spec.data), Accelerator(cpu=True), observer, fingerprint="f").measured)
    disturbance, why = fields["disturbance"], fields["unavailable"]
    for name in ("other_cpu_seconds", "run_queue_wait_seconds", "wait_for_others_seconds", "steal_seconds"):
        assert getattr(disturbance, name) is None
        assert "FileNotFoundError" in why[f"disturbance.{name}"]
    assert disturbance.suspended_seconds == 0.0 and fields["disturbed"] == []
