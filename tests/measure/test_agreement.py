"""Time, throughput and memory of the record beside what others say of the same run: GNU time and torch.profiler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from torch.profiler import ProfilerActivity, profile, record_function

from harness.data.prepare import prepare
from harness.running.execute import Observer, execute
from harness.training import epochs as epochs_module
from harness.training.loop import train_epoch
from tests.running.test_execute import make_spec

GNU_TIME = Path("/usr/bin/time")
SCRIPT = Path(__file__).with_name("one_run.py")
MIB = 2**20
pytestmark = pytest.mark.launch


@pytest.mark.slow
@pytest.mark.skipif(
    not GNU_TIME.exists() and not os.environ.get("CI_REQUIRE_GNU_TIME"),
    reason="GNU time is not installed (Debian: apt install time)",
)
def test_peak_memory_and_time_agree_with_gnu_time() -> None:
    block = 400 * MIB
    ended = subprocess.run(
        [str(GNU_TIME), "-v", sys.executable, str(SCRIPT), str(block)], capture_output=True, text=True, timeout=250
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    [kilobytes] = re.findall(r"Maximum resident set size \(kbytes\): (\d+)", ended.stderr)
    assert found["memory"]["host_rss_bytes"] == pytest.approx(int(kilobytes) * 1024, rel=0.01)
    assert found["memory"]["host_rss_bytes"] > block
    [processor] = [float(value) for value in re.findall(r"User time \(seconds\): ([\d.]+)", ended.stderr)]
    [system] = [float(value) for value in re.findall(r"System time \(seconds\): ([\d.]+)", ended.stderr)]
    share, train = found["telemetry"]["host_cpu_share"], found["clock"]["train_seconds"]
    assert 0 < share * train * len(os.sched_getaffinity(0)) <= processor + system + 0.1
    hours, minutes, seconds = re.findall(r"Elapsed .*: (?:(\d+):)?(\d+):([\d.]+)$", ended.stderr, re.MULTILINE)[0]
    elapsed = 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
    ours = found["before_seconds"] + found["clock"]["total_seconds"]
    assert ours == pytest.approx(found["ended_seconds"], rel=0.01, abs=0.1)
    assert found["ended_seconds"] < elapsed + 0.05  # the end of the process is not ours, and long on a busy machine


def test_train_time_steps_and_throughput_agree_with_the_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profiler has what must be in a clock and what may be in it at most; a busy machine moves these apart only."""

    def marked_batches(batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            with record_function("next batch"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def marked_epoch(train_state: Any, batches: Iterator[Any], *others: Any) -> None:
        with record_function("train_epoch"):
            train_epoch(train_state, marked_batches(batches), *others)

    monkeypatch.setattr(epochs_module, "train_epoch", marked_epoch)
    train = {"epochs": 3, "untimed_steps": 4}
    spec = make_spec(
        model={"name": "mlp", "hidden_sizes": [1024, 1024]}, optimizer={"name": "sgd", "lr": 0.1}, train=train
    )
    splits, observer = prepare(spec.data), Observer(lambda step: None, lambda epoch: None)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        fields = dict(execute(spec, splits, Accelerator(cpu=True), observer, fingerprint="f").measured)
    clock, throughput = fields["clock"], fields["throughput"]
    events = profiler.events()
    assert events is not None
    epochs = [event.time_range for event in events if event.name == "train_epoch"]
    assert len(epochs) == 3

    per_epoch = throughput.steps // 3
    samples = [64] * (per_epoch - 1) + [len(splits.train.labels) - 64 * (per_epoch - 1)]
    least_train = most_train = least_timed = most_timed = 0.0
    timed_samples = 0
    for number, epoch in enumerate(epochs):
        within = [event for event in events if epoch.start <= event.time_range.start < epoch.end]
        asked = [event.time_range for event in within if event.name == "next batch"]
        steps = [event.time_range for event in within if event.name.startswith("Optimizer.zero_grad")]
        assert len(steps) == per_epoch and len(asked) == per_epoch + 1  # the last finds none
        # After the steps an epoch looks for losses that are not finite. The first time in a process that takes long.
        [checked] = [event.time_range.start for event in within if event.name == "aten::isfinite"]
        least_train += asked[-1].end - asked[0].start
        most_train += checked - epoch.start
        # The timed steps begin and end between the end of a step, which is that of zero_grad, and the next batch.
        untimed = 4 if number == 0 else 0
        before = steps[untimed - 1].end if untimed else epoch.start
        least_timed += steps[-1].end - asked[untimed].start
        most_timed += asked[-1].start - before
        timed_samples += sum(samples[untimed:])
    rounding = 1e-4  # the profiler reads another clock
    assert (1 - rounding) * least_train <= clock.train_seconds * 1e6 <= (1 + rounding) * most_train
    timed = timed_samples / throughput.samples_per_second * 1e6
    assert (1 - rounding) * least_timed <= timed <= (1 + rounding) * most_timed
