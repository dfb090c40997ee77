"""Calibration: rates that are right, on a machine that is disturbed, and a record that the report finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.measure.calibration import rounds
from harness.measure.calibration.rounds import measure, summarise_rate
from harness.measure.calibration.workloads import (
    CONVOLUTIONS,
    EMULATED,
    NO_GPU,
    PRODUCTS,
    Sizes,
    Workload,
    cpu_has_bf16,
    precisions,
    workloads,
)
from harness.records.calibration import (
    Calibration,
    Rate,
    as_text,
    calibration_path,
    read_calibration,
    read_calibrations,
    write_calibration,
)

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SMALL = Sizes(matrix=32, images=2, copied_bytes=2**16)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that only the operations move."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def taking(name: str, seconds: float, clock: SimpleNamespace, seen: list[str]) -> Workload:
    def call() -> None:
        clock.now += seconds
        seen.append(name)

    return Workload(name, "FLOP/s", 1e6, call)


def test_rates_against_truth(clock: SimpleNamespace) -> None:
    seen: list[str] = []
    short, long = taking("short", 0.02, clock, seen), taking("long", 0.2, clock, seen)
    found = measure([short, long], CPU, 0.0, least_rounds=5)
    assert found["short"].median == pytest.approx(1e6 / 0.02) and found["long"].median == pytest.approx(1e6 / 0.2)
    assert found["short"].rounds == found["long"].rounds == 5
    assert found["short"].relative_error == pytest.approx(0, abs=1e-12)
    # Two to warm up, and as many a round as make 50 ms.
    assert seen.count("short") == 2 + 5 * 3 and seen.count("long") == 2 + 5


def test_rounds_are_interleaved_and_end_with_the_time(clock: SimpleNamespace) -> None:
    seen: list[str] = []
    found = measure([taking(name, 0.1, clock, seen) for name in "ab"], CPU, 1.3, least_rounds=2)
    made = seen[4:]
    assert all(set(made[start : start + 2]) == {"a", "b"} for start in range(0, len(made), 2))
    assert {made[start] for start in range(0, len(made), 2)} == {"a", "b"}  # neither is always the first
    assert found["a"].rounds == 7  # the first at which 1.3 s are over
    assert measure([taking("a", 0.1, clock, [])], CPU, 100.0, 1)["a"].rounds == rounds.MOST_ROUNDS


def test_one_disturbed_round_moves_neither_median_nor_error() -> None:
    calm = summarise_rate("FLOP/s", [100.0, 101.0, 99.0, 100.5, 99.5, 100.0, 100.0, 100.2, 99.8])
    disturbed = summarise_rate("FLOP/s", [100.0, 101.0, 99.0, 100.5, 99.5, 100.0, 100.0, 100.2, 10.0])
    assert disturbed.median == pytest.approx(calm.median, rel=0.002) and disturbed.relative_error < 0.01
    # 1.2533 x (IQR / 1.349) / sqrt(n) / median.
    expected = 1.2533141 * calm.interquartile_range / 1.349 / 3 / calm.median
    assert calm.relative_error == pytest.approx(expected)


def test_the_error_is_that_of_the_median() -> None:
    import random

    rng = random.Random(0)
    trials = [summarise_rate("FLOP/s", [rng.gauss(100, 2) for _ in range(25)]) for _ in range(400)]
    middle = sum(trial.median for trial in trials) / 400
    scatter = (sum((trial.median - middle) ** 2 for trial in trials) / 399) ** 0.5
    stated = sum(trial.relative_error for trial in trials) / 400 * 100
    assert stated == pytest.approx(scatter, rel=0.15)


def test_the_work_of_a_convolution_is_that_of_torch() -> None:
    """Against torch's own counter, which also counts what a backward pass leaves out."""
    from torch.utils.flop_counter import FlopCounterMode

    for layer in CONVOLUTIONS:
        conv = torch.nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel, padding=layer.padding)
        images = torch.zeros(2, layer.in_channels, layer.side, layer.side, requires_grad=not layer.is_first)
        with FlopCounterMode(display=False) as counter:
            conv(images).sum().backward()
        assert layer.work(2) == counter.get_total_flops(), layer.name


def test_the_shapes_are_those_of_the_architectures() -> None:
    from harness import registry
    from harness.spec import ImageShape

    found = set()
    for name, options in (("resnet18", {"stem": "cifar"}), ("cnn3", {}), ("vgg11", {})):
        network = registry.build("architecture", name, ImageShape(3, 32, 32), 10, **options)

        def keep(module: Any, inputs: Any, output: Any) -> None:
            side = inputs[0].shape[-1]
            padding = module.padding[0] if isinstance(module.padding, tuple) else 0
            found.add((module.in_channels, module.out_channels, module.kernel_size[0], side, padding))

        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(keep)
        network.eval()(torch.zeros(1, 3, 32, 32))
    for layer in CONVOLUTIONS:
        assert (layer.in_channels, layer.out_channels, layer.kernel, layer.side, layer.padding) in found, layer.name


def test_what_a_cpu_has_and_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx2 avx512f\n")
    assert not cpu_has_bf16(tmp_path)
    for line in ("flags\t\t: fpu avx512_bf16 x", "flags : amx_bf16", "Features\t: fp asimd bf16 i8mm"):
        (tmp_path / "cpuinfo").write_text(f"{line}\n")
        assert cpu_has_bf16(tmp_path)
    monkeypatch.setattr("harness.measure.calibration.workloads.cpu_has_bf16", lambda: False)
    assert precisions(CPU)[0] == ["fp32"] and precisions(CPU)[1]["bf16"] == EMULATED
    monkeypatch.setattr("harness.measure.calibration.workloads.cpu_has_bf16", lambda: True)
    assert precisions(CPU)[0] == ["fp32", "bf16"]
    names = [one.name for one in workloads(CPU, SMALL)[0]]
    assert "conv_vgg.bf16" in names and names[-1] == "memory_copy"


# --- the record ---


def made(system_id: str = "s") -> Calibration:
    rate = Rate(unit="FLOP/s", median=5e10, interquartile_range=1e9, relative_error=0.004, rounds=11)
    return Calibration(
        system_id=system_id,
        system="AMD EPYC, 2 cores",
        measured_at="2026-01-01T00:00:00+00:00",
        device="cpu",
        threads=2,
        seconds=8.0,
        rates={"matmul.fp32": rate, "matmul.bf16": None},
        unavailable={"bf16": EMULATED, "host_to_device": NO_GPU},
    )


def test_a_record_is_found_by_its_system(tmp_path: Path) -> None:
    path = write_calibration(tmp_path, made(), {"system_id": "s"})
    assert path == calibration_path(tmp_path, "s") and path.with_name("system.json").exists()
    assert read_calibration(path) == made()
    write_calibration(tmp_path, made("torn"), {}).write_text('{"calibration_version": 1')
    write_calibration(tmp_path, made("old"), {}).write_text('{"calibration_version": 0}')
    found, unreadable = read_calibrations(tmp_path, ["s", "torn", "old", "none"])
    assert list(found) == ["s"] and [path.parent.name for path in unreadable] == ["torn", "old"]


def test_what_a_person_reads() -> None:
    text = as_text(made())
    assert "matmul.fp32     50.00 GFLOP/s  ± 0.4%; half of 11 rounds within 2.0%" in text
    assert f"not measured: bf16 ({EMULATED})" in text


# --- for real ---


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **environment},
        timeout=250,
    )


SHORT = """
import sys
from pathlib import Path
from harness.measure.calibration import rounds
from harness.measure.calibration.calibrate import calibrate
from harness.measure.calibration.workloads import Sizes
from harness.errors import HarnessError
rounds.LEAST_SECONDS = 0.002
try:
    calibrate(Path(sys.argv[1]), 0.1, sizes=Sizes(64, 2, 2**20), least_rounds=3)
except HarnessError as error:
    sys.exit(f"error: {error}")
"""


@pytest.mark.launch
@pytest.mark.slow
def test_one_process_and_then_two(tmp_path: Path) -> None:
    script = tmp_path / "short.py"
    script.write_text(SHORT)
    two = [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(ROOT / "launch" / "cpu.yaml"),
        "--num_processes",
        "2",
    ]
    refused = run(*two, str(script), str(tmp_path / "results"))
    assert refused.returncode and "first run `harness calibrate` in one process" in refused.stderr

    alone = run(str(script), str(tmp_path / "results"))
    assert alone.returncode == 0, alone.stderr
    [path] = (tmp_path / "results" / "systems").glob("*/calibration.json")
    first = json.loads(path.read_text())
    assert first["device"] == "cpu" and path.parent.name == first["system_id"]
    for name in (*(f"{product}.fp32" for product in PRODUCTS), "memory_copy"):
        assert first["rates"][name]["median"] > 0 and first["rates"][name]["rounds"] >= 3
    assert first["rates"]["matmul.tf32"] is None and first["rates"]["host_to_device.pinned"] is None
    assert first["unavailable"]["tf32"] == first["unavailable"]["host_to_device"] == NO_GPU
    assert "accelerate launch" in first["unavailable"]["all_reduce"]
    assert first["neighbours_cpus"] >= 0
    assert "git_commit" in json.loads(path.with_name("system.json").read_text())

    both = run(*two, str(script), str(tmp_path / "results"))
    assert both.returncode == 0, both.stderr
    second = json.loads(path.read_text())
    assert second["rates"].pop("all_reduce.2")["median"] > 0 and "all_reduce" not in second["unavailable"]
    assert second["rates"] == first["rates"]  # two processes share what the others would measure

    again = run(str(script), str(tmp_path / "results"))
    assert again.returncode == 0, again.stderr
    third = json.loads(path.read_text())
    assert third["rates"]["all_reduce.2"] and third["measured_at"] > first["measured_at"]


@pytest.mark.launch
@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    ran = run("-m", "harness", "calibrate", "--seconds", "0.1", "--output", str(tmp_path), "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["rates"]["matmul.fp32"]["unit"] == "FLOP/s"
    assert "written to" in ran.stderr
    (tmp_path / "file").touch()
    refused = run("-m", "harness", "calibrate", "--seconds", "0.1", "--output", str(tmp_path / "file"))
    assert refused.returncode == 2 and refused.stderr.startswith("error: cannot write to")
