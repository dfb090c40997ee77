"""Time, throughput and memory of the record beside what others say of the same run: GNU time and torch.profiler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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
    assert ours == pytest.approx(elapsed, rel=0.01, abs=0.3)  # the start and end of Python are not ours


def test_train_time_steps_and_throughput_agree_with_the_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def marked(*arguments: Any) -> None:
        with record_function("part of training"):
            train_epoch(*arguments)

    monkeypatch.setattr(epochs_module, "train_epoch", marked)
    train = {"epochs": 3, "untimed_steps": 4}
    spec = make_spec(
        model={"name": "mlp", "hidden_sizes": [1024, 1024]}, optimizer={"name": "sgd", "lr": 0.1}, train=train
    )
    splits, observer = prepare(spec.data), Observer(lambda step: None, lambda epoch: None)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        fields = dict(execute(spec, splits, Accelerator(cpu=True), observer, fingerprint="f").measured)
    clock, throughput = fields["clock"], fields["throughput"]
    events = profiler.events()
    assert events is not None
    parts = [event.time_range for event in events if event.name == "part of training"]
    steps = [event.time_range for event in events if event.name.startswith("Optimizer.zero_grad")]
    assert len(parts) == 3 and len(steps) == throughput.steps
    span = sum(part.elapsed_us() for part in parts) / 1e6
    assert clock.train_seconds == pytest.approx(span, rel=0.01)

    # The timed seconds of each epoch run from the end of one step, which zero_grad ends, to that of the last.
    timed_seconds, timed_samples, seen = 0.0, 0, 0
    per_epoch = throughput.steps // 3
    samples = [64] * (per_epoch - 1) + [len(splits.train.labels) - 64 * (per_epoch - 1)]
    for number, part in enumerate(parts):
        ends = sorted(step.end for step in steps if part.start <= step.end <= part.end)
        skipped = 4 if number == 0 else 0
        begin = ends[skipped - 1] if skipped else part.start
        timed_seconds += (ends[-1] - begin) / 1e6
        timed_samples += sum(samples[skipped:])
        seen += len(ends)
    assert seen == throughput.steps
    assert throughput.samples_per_second == pytest.approx(timed_samples / timed_seconds, rel=0.02)
