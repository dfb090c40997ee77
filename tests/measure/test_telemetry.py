"""From what NVML says to result.json and the tables, on a replayed GPU; with a real one the same on that."""

from __future__ import annotations

import dataclasses
import inspect
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pynvml
import pytest
import torch
from accelerate import Accelerator

from harness.data.prepare import prepare
from harness.measure import telemetry
from harness.measure.nvml import NO_CUDA, WHOLE_GPU
from harness.measure.telemetry import OTHER_NUMBERS, Sampler
from harness.records.checkpoints import CheckpointFolder
from harness.records.result import Memory, RunResult
from harness.records.store import run_folder
from harness.report.build import build_report
from harness.report.formats import summary_rows
from harness.report.tables import Report
from harness.results.study import study_of_folders
from harness.running.execute import CheckpointPolicy, Observer, execute
from harness.suite.file import Target
from harness.training.epochs import Stopped
from tests.house import House
from tests.measure import replayed_nvml as recordings
from tests.measure.replayed_nvml import MIB, NORMAL, Recording, ReplayedNvml, install
from tests.processes import wait_for
from tests.report.conftest import run_rows
from tests.running.test_execute import make_spec

ROOT = Path(__file__).parents[2]
STEPS = 8
NULL_ON_A_MIG = (
    *("energy.train_joules", "energy.joules_per_epoch"),
    *(
        f"telemetry.gpu_{name}"
        for name in (
            *("utilization", "power_watts", "peak_power_watts", "sm_clock_hertz", "memory_clock_hertz"),
            *("temperature_celsius", "peak_temperature_celsius", "throttled", "throttle_reasons", "energy_from"),
        )
    ),
)
gpu_or_replay = pytest.mark.parametrize(
    "source",
    [
        "replayed",
        pytest.param("gpu", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
    ],
)


@dataclass
class Watcher:
    """Lets a run go on only when enough samples were taken in each of its epochs, so that a test knows their number."""

    nvml: ReplayedNvml | None = None
    samples: int = 0
    stop_after: int | None = None
    steps: list[int] = field(default_factory=list)

    def on_step(self, step: int) -> None:
        self.steps.append(step)
        if self.nvml and ((step + 1) % STEPS == 0 or step + 1 == self.stop_after):
            begun = self.nvml.samples
            nvml = self.nvml
            assert wait_for(lambda: nvml.is_lost or nvml.samples >= begun + self.samples, 120, every=0.002)
            if nvml.is_lost:
                time.sleep(0.1)  # until the sampler has taken note

    def stops(self) -> bool:
        return bool(self.steps) and self.steps[-1] + 1 == self.stop_after


def execute_run(
    watcher: Watcher | None = None,
    epochs: int = 1,
    target: float | None = None,
    folder: Path | None = None,
    cpu: bool = True,
    seed: int = 0,
) -> RunResult:
    """Runs some epochs of eight steps and returns the record."""
    watcher = watcher or Watcher()
    spec = make_spec(seed=seed, data={"name": "digits", "train_samples": STEPS * 64}, train={"epochs": epochs})
    checkpoint_policy = None
    if folder:
        checkpoints = CheckpointFolder(folder)
        checkpoint_policy = CheckpointPolicy(checkpoints, {"run_id": "r"}, lambda: True, checkpoints.newest()[0])
    outcome = execute(
        spec,
        prepare(spec.data),
        Accelerator(cpu=cpu, mixed_precision="no"),
        Observer(watcher.on_step, lambda epoch: None, stop_requested=watcher.stops),
        fingerprint="f" * 64,
        target=None if target is None else Target(metric="test.accuracy", at_least=target),
        checkpoint_policy=checkpoint_policy,
    )
    measured: dict[str, Any] = {**dict(outcome.measured), "disturbed": []}  # whatever else this machine does meanwhile
    return RunResult(
        suite="replayed",
        label="mlp",
        run_id=f"r{seed}",
        config_id="c",
        system_id="s",
        seed=seed,
        status="ok",
        started_at="2026-01-01T00:00:00.000+00:00",
        ended_at="2026-01-01T00:00:30.000+00:00",
        num_processes=1,
        spec=spec.model_dump(mode="json"),
        **measured,
    )


Replay = Callable[..., RunResult]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Runs on the GPU of a recording; each epoch lasts at least as many samples as are asked for."""

    def run(recording: Recording, samples: int | None = None, **options: Any) -> RunResult:
        fake = install(recording, monkeypatch)
        result = execute_run(Watcher(fake, len(recording.rows) if samples is None else samples), **options)
        assert fake.opened == 0, "NVML was not let go"
        return result

    return run


def report_of(results: list[RunResult], root: Path) -> Report:
    """Writes results to where runs leave them, and returns the report that is made of what was read back."""
    for result in results:
        folder = run_folder(root, result.suite, result.run_id, result.system_id)
        folder.start(result.spec, {"system_id": result.system_id, "name": "1x replayed"})
        folder.finish(result)
    return build_report(study_of_folders([root / "replayed"]))


def reasons_of_nulls(result: RunResult) -> dict[str, str]:
    """Returns the reason of each null in the parts that telemetry fills; fails where one has none."""
    parts = {"energy": result.energy, "telemetry": result.telemetry, "memory": result.memory}
    nulls = {f"{part}.{name}" for part, values in parts.items() for name, value in values if value is None}
    told = {name for name in result.unavailable if name.partition(".")[0] in parts}
    assert told == nulls
    return {name: result.unavailable[name] for name in sorted(nulls)}


def means(recording: Recording, column: str, samples: int) -> float:
    """Returns the mean of a recording's first samples, the last of which lasts."""
    values = [getattr(recording.rows[min(i, len(recording.rows) - 1)], column) for i in range(samples)]
    return sum(values) / samples


def test_a_normal_run(replay: Replay, tmp_path: Path) -> None:
    result = replay(NORMAL)
    seen, taken = result.telemetry, result.telemetry.samples
    assert taken >= 5  # the sixth was perhaps still being read when the epoch was over
    assert seen.gpu_utilization == pytest.approx(means(NORMAL, "utilization", taken) / 100)
    assert seen.gpu_power_watts == pytest.approx(means(NORMAL, "power", taken) / 1000)
    assert seen.gpu_sm_clock_hertz == pytest.approx(means(NORMAL, "sm_clock", taken) * 1e6)
    assert seen.gpu_memory_clock_hertz == 1215e6
    assert seen.gpu_temperature_celsius == pytest.approx(means(NORMAL, "temperature", taken))
    assert seen.gpu_peak_power_watts == 312.9
    assert seen.gpu_peak_temperature_celsius == (58 if taken > 5 else 57)
    assert (seen.gpu_throttled, seen.gpu_throttle_reasons) == (False, {})
    assert (seen.gpu_shared, seen.gpu_other_pids) == (False, [])
    assert result.memory.process_device_bytes == 2500 * MIB and result.memory.device_bytes == 3011 * MIB
    assert (result.energy.train_joules, result.energy.joules_per_epoch) == (180.0, 180.0)
    assert seen.gpu_energy_from == "counter"
    reasons = reasons_of_nulls(result)
    assert set(reasons) - {"energy.host_joules"} == {"memory.max_allocated_bytes", "memory.max_reserved_bytes"}
    table = report_of([result], tmp_path).tables[0]
    values = table.rows[0].values
    assert values["train_joules"].mean == values["joules_per_epoch"].mean == 180.0
    assert values["peak_device_process_bytes"] == 2500 * MIB
    texts = {column.title: column.cells[0] for column in table.written()}
    assert texts["GPU energy"] == "180 J" and texts["GPU power"].endswith(" W")
    assert not any("throttled" in note or "Another process" in note for note in table.every_note)


def test_energy_is_of_the_training_and_not_of_what_lies_between(replay: Replay, tmp_path: Path) -> None:
    result = replay(NORMAL, samples=1, epochs=2, target=0.0)
    assert result.energy.train_joules == 370.0 and result.energy.joules_per_epoch == 185.0  # 20 J of evaluation
    assert result.target and (result.target.epoch, result.target.train_joules) == (0, 180.0)
    assert report_of([result], tmp_path).tables[0].rows[0].values["joules_to_target"].mean == 180.0


def test_a_target_that_is_never_reached_took_no_energy(replay: Replay) -> None:
    result = replay(NORMAL, samples=1, target=1.0)
    assert result.target and result.target.train_joules is None and "target.train_joules" not in result.unavailable


def test_a_gpu_that_throttles_marks_its_run(replay: Replay, tmp_path: Path) -> None:
    result, calm = replay(recordings.THROTTLING), replay(NORMAL, seed=1)
    taken = result.telemetry.samples
    assert result.telemetry.gpu_throttled and taken >= 3
    shares = result.telemetry.gpu_throttle_reasons
    assert shares and shares["power limit"] == pytest.approx(2 / taken)
    hot = {"hardware slowdown", "hardware thermal slowdown", "thermal limit"}
    assert set(shares) == ({"power limit"} if taken == 3 else {"power limit", *hot})
    report = report_of([result, calm], tmp_path)
    assert [row["telemetry.gpu_throttled"] for row in run_rows(report)] == [True, False]


def test_a_driver_that_knows_the_reasons_by_their_old_name(replay: Replay) -> None:
    assert replay(recordings.OLD_DRIVER).telemetry.gpu_throttled


def test_a_run_beside_another_process_is_marked(replay: Replay, tmp_path: Path) -> None:
    result = replay(recordings.SHARED)
    assert (result.telemetry.gpu_shared, result.telemetry.gpu_other_pids) == (True, [999_999_991])
    assert result.memory.device_bytes == 21_540 * MIB and result.memory.process_device_bytes == 2500 * MIB
    assert [row["telemetry.gpu_shared"] for row in run_rows(report_of([result], tmp_path))] == [True]


def test_a_child_of_ours_is_no_other_process(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    child = psutil.Popen(["sleep", "60"])
    try:
        processes = ((recordings.OWN, 2500), (child.pid, 300))
        assert replay(Recording((recordings.Reading(processes=processes),))).telemetry.gpu_shared is False
    finally:
        child.kill()
        child.wait()


def test_without_a_counter_energy_is_integrated_from_power_and_says_so(replay: Replay) -> None:
    result = replay(recordings.NO_COUNTER, samples=20)
    assert result.telemetry.gpu_energy_from == "power"
    assert result.energy.train_joules and result.clock.train_seconds
    # 120 W throughout; the counters are read just outside of the train time
    assert 0.99 < result.energy.train_joules / 120 / result.clock.train_seconds < 1.2


def test_what_is_forbidden_is_null_with_the_reason_and_the_rest_is_there(replay: Replay) -> None:
    result = replay(recordings.FORBIDDEN)
    reasons = reasons_of_nulls(result)
    for name in ("throttled", "throttle_reasons", "shared", "other_pids"):
        assert reasons[f"telemetry.gpu_{name}"] == "NVML: Insufficient Permissions"
    assert result.memory.process_device_bytes is None
    assert result.energy.train_joules == 180.0 and result.telemetry.gpu_peak_power_watts == 312.9


def test_a_driver_that_is_lost_in_mid_run_ends_the_telemetry_and_not_the_run(replay: Replay, tmp_path: Path) -> None:
    result = replay(recordings.LOST, epochs=2, target=0.0)
    assert result.status == "ok" and result.metrics["test"].accuracy > 0.1
    reasons = reasons_of_nulls(result)
    assert reasons["telemetry.gpu_utilization"] == "NVML: GPU is lost, after 3 samples"
    assert reasons["energy.train_joules"] == "NVML: GPU is lost"
    assert result.energy.train_joules is None and result.memory.device_bytes is None
    assert result.unavailable["target.train_joules"] == "NVML: GPU is lost"
    report = report_of([result], tmp_path)
    assert any("NVML: GPU is lost, after 3 samples" in note for note in report.tables[0].every_note)
    assert summary_rows(report)[0]["train_joules_mean"] is None


def test_what_was_certain_before_the_driver_was_lost_stays_so(replay: Replay) -> None:
    result = replay(dataclasses.replace(recordings.THROTTLING, lost_after=3))
    assert result.telemetry.gpu_throttled is True and result.telemetry.gpu_sm_clock_hertz is None
    result = replay(dataclasses.replace(recordings.SHARED, lost_after=3))
    assert result.telemetry.gpu_shared is True and result.memory.device_bytes is None


def test_of_a_mig_instance_only_its_own_is_recorded(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", recordings.MIG.migs[0])
    result = replay(dataclasses.replace(recordings.MIG, rows=NORMAL.rows[3:]), samples=0)
    reasons = reasons_of_nulls(result)
    assert {name for name, reason in reasons.items() if reason == WHOLE_GPU} == set(NULL_ON_A_MIG)
    assert result.memory.device_bytes == 3011 * MIB and result.memory.process_device_bytes == 2500 * MIB
    assert result.telemetry.gpu_shared is False
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    reasons = reasons_of_nulls(replay(recordings.MIG, samples=0))
    assert reasons["memory.device_bytes"].startswith("a MIG instance that NVML cannot find")


@pytest.mark.parametrize("recording", [recordings.CONTAINER, recordings.NOT_LISTED], ids=["other pids", "no pids"])
def test_in_a_pid_namespace_nobody_is_taken_for_a_stranger(replay: Replay, recording: Recording) -> None:
    result = replay(recording)
    reasons = reasons_of_nulls(result)
    names = ("memory.process_device_bytes", "telemetry.gpu_shared", "telemetry.gpu_other_pids")
    assert {reasons[name] for name in names} == {OTHER_NUMBERS}
    assert result.memory.device_bytes == 3000 * MIB and result.energy.train_joules == 180.0


def test_memory_that_nvml_does_not_tell(replay: Replay) -> None:
    result = replay(Recording((recordings.Reading(processes=((recordings.OWN, None),)),)))
    assert result.memory.process_device_bytes is None and result.telemetry.gpu_shared is False
    assert "does not tell" in reasons_of_nulls(result)["memory.process_device_bytes"]


def test_a_gpu_that_nvml_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(NORMAL, monkeypatch)
    monkeypatch.setattr("harness.measure.nvml.cuda_uuid", lambda device: "another")
    result = execute_run()
    assert reasons_of_nulls(result)["energy.train_joules"] == "NVML knows no GPU another" and fake.opened == 0


def test_a_driver_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"nvmlInit": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
    install(dataclasses.replace(NORMAL, refused=refused), monkeypatch)
    assert reasons_of_nulls(execute_run())["telemetry.gpu_shared"] == "NVML: Driver Not Loaded"


def test_a_run_shorter_than_the_period_says_that_it_has_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    install(NORMAL, monkeypatch, period_seconds=60.0)
    result = execute_run()
    assert result.telemetry.samples == 0 and result.telemetry.gpu_power_watts is None
    assert reasons_of_nulls(result)["telemetry.gpu_power_watts"].startswith("no sample fell into the train time")
    assert result.energy.train_joules == 180.0 and result.memory.device_bytes == 2611 * MIB
    assert result.telemetry.gpu_shared is False


def test_the_parts_of_a_resumed_run_add_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hot = recordings.Reading(temperature=88, used=9000, reasons=recordings.SW_THERMAL)
    first = install(Recording((hot,), energy=(0, 1000, 31_000)), monkeypatch)
    with pytest.raises(Stopped):
        execute_run(Watcher(first, 2, stop_after=5), folder=tmp_path)
    second = dataclasses.replace(NORMAL, energy=(0, 7000, 107_000, 150_000, 350_000))
    fake = install(second, monkeypatch)
    result = execute_run(Watcher(fake, 3), epochs=1, folder=tmp_path)
    assert result.resumed_at_steps == [5]
    assert result.energy.train_joules == 130.0  # 30 J before, 100 J after
    assert result.memory.device_bytes == 9000 * MIB and result.telemetry.gpu_peak_temperature_celsius == 88
    assert result.telemetry.gpu_throttled and result.telemetry.samples >= 1 + 2
    assert 38 < (result.telemetry.gpu_temperature_celsius or 0) < 88


def test_on_a_cpu_nothing_of_a_gpu_is_made_up(tmp_path: Path) -> None:
    result = execute_run()
    reasons = reasons_of_nulls(result)
    assert {name for name in reasons if "gpu" in name or "joules" in name.partition(".")[2]} <= set(reasons)
    gpu = [name for name in reasons if name != "energy.host_joules"]
    assert {reasons[name] for name in gpu} == {NO_CUDA} and "energy.train_joules" in gpu
    assert result.memory.host_tree_rss_bytes and result.memory.host_tree_rss_bytes > 50 * MIB
    assert result.telemetry.host_cpu_share is not None and 0 <= result.telemetry.host_cpu_share <= 1.02
    titles = [column.title for column in report_of([result], tmp_path).tables[0].shown()]
    assert not any("GPU" in title for title in titles)


def test_nothing_is_read_outside_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(NORMAL, monkeypatch)
    gpu = telemetry.Gpu(torch.device("cpu"))
    with Sampler(gpu, None, {}) as sampler:
        time.sleep(0.05)
        assert fake.samples == 0
        with sampler.training() as part:
            assert wait_for(lambda: fake.samples >= 2, 120, every=0.002)
        taken = fake.samples
        time.sleep(0.05)
        assert fake.samples == taken
    assert part.joules == 180.0 and sampler.readings.samples in (taken - 1, taken)


def test_a_gpu_of_two_ranks_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(NORMAL, monkeypatch)
    gpu = telemetry.Gpu(torch.device("cpu"))
    with Sampler(gpu, None, {}, counts_energy=False) as sampler, sampler.training() as part:
        pass
    assert part.joules == 0.0 and "nvmlDeviceGetTotalEnergyConsumption" not in fake.calls[5:]


def test_the_fake_has_the_signatures_of_pynvml() -> None:
    names = [name for name in vars(ReplayedNvml) if name.startswith("nvml")]
    assert len(names) > 10
    for name in names:
        fake = list(inspect.signature(getattr(ReplayedNvml, name)).parameters)[1:]
        assert fake == list(inspect.signature(getattr(pynvml, name)).parameters), name


@gpu_or_replay
def test_numbers_fit_together(source: str, monkeypatch: pytest.MonkeyPatch, replay: Replay) -> None:
    if source == "replayed":
        result = replay(NORMAL, samples=3, epochs=2)
    else:
        monkeypatch.setattr(telemetry, "PERIOD_SECONDS", 0.05)
        result = execute_run(epochs=60, cpu=False)
    seen, reasons = result.telemetry, reasons_of_nulls(result)
    assert seen.samples > 0 and seen.gpu_power_watts and seen.gpu_peak_power_watts
    assert 0 < seen.gpu_power_watts <= seen.gpu_peak_power_watts < 2000
    assert seen.gpu_utilization is not None and 0 <= seen.gpu_utilization <= 1
    assert seen.gpu_temperature_celsius and seen.gpu_peak_temperature_celsius
    assert 10 < seen.gpu_temperature_celsius <= seen.gpu_peak_temperature_celsius < 120
    assert seen.gpu_sm_clock_hertz and 1e8 < seen.gpu_sm_clock_hertz < 5e9
    assert seen.gpu_throttled == bool(seen.gpu_throttle_reasons)
    assert result.memory.device_bytes and result.memory.device_bytes > 100 * MIB
    if "memory.process_device_bytes" not in reasons:
        assert result.memory.process_device_bytes and result.clock.train_seconds
        assert result.memory.process_device_bytes <= result.memory.device_bytes
    assert result.energy.train_joules and result.energy.joules_per_epoch
    assert result.energy.train_joules == pytest.approx(result.energy.joules_per_epoch * result.epochs)
    if source == "gpu":
        assert result.clock.train_seconds
        power = result.energy.train_joules / result.clock.train_seconds
        assert 0.3 < power / seen.gpu_power_watts < 3


@pytest.fixture
def replaying_house(house: House) -> Iterator[House]:
    """A house with a network on whose machine each rank has a replayed GPU of its own."""
    (house.path / "harness/models/replayed.py").write_text(
        f'''"""A network on a replayed GPU."""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import pytest
from torch import nn
from harness.registry import architecture
from tests.measure.replayed_nvml import NORMAL, install

rank = int(os.environ.get("RANK", 0))
install(NORMAL, pytest.MonkeyPatch(), uuid=f"gpu-of-rank-{{rank}}")

class Slow(nn.Linear):
    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x.flatten(1))

@architecture("replayed")
def replayed(image, num_classes):
    """A slow linear network."""
    return Slow(image.channels * image.height * image.width, num_classes)
'''
    )
    yield house


@pytest.mark.slow
@pytest.mark.launch
def test_two_ranks_leave_the_energy_of_both_gpus_in_their_record(replaying_house: House) -> None:
    suite = replaying_house.suite(
        "include: [{model: replayed, train.num_processes: 2, train.epochs: 2}]\n"
        "target: {metric: test.accuracy, at_least: 0.0}\n"
    )
    done = replaying_house.run(str(suite))
    assert done.returncode == 0, done.stderr
    [result] = replaying_house.results().values()
    assert result["energy"]["train_joules"] == 2 * 370.0 and result["target"]["train_joules"] == 2 * 180.0
    assert result["telemetry"]["samples"] >= 2 and result["telemetry"]["gpu_shared"] is False
    assert result["memory"]["process_device_bytes"] >= 2100 * MIB
    assert result["memory"]["host_tree_rss_bytes"] > 1.5 * result["memory"]["host_rss_bytes"]
    events = [path.read_text().splitlines() for path in replaying_house.path.glob("results/faults/*/*/events.jsonl")]
    epochs = [event for line in events[0] if (event := json.loads(line))["event"] == "epoch"]
    assert [event["train_joules"] for event in epochs] == [360.0, 380.0]
    assert "joules_per_epoch" in (next(replaying_house.path.glob("results/faults/**/table.csv"))).read_text()


def test_memory_has_a_field_for_each_reading() -> None:
    from harness.measure.recorded import MEMORY

    assert set(MEMORY) <= set(Memory.model_fields)
