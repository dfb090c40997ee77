"""The energy counters of the CPU packages, in a folder laid out as Linux's power capping framework lays it out."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from harness.measure.host import NO_RAPL, Host, Rapl
from harness.measure.telemetry import Sampler

RANGE = 262_143_328_850  # microjoules, of a real package: after that the counter starts again at 0


def lay_out(folder: Path, **counters: int) -> dict[str, Path]:
    """Makes the zones of packages and of parts of them, and returns the file of each one's counter."""
    files = {}
    for index, (name, value) in enumerate(counters.items()):
        zone = folder / f"intel-rapl:{index}"
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name.replace('_', '-')}\n")
        (zone / "max_energy_range_uj").write_text(f"{RANGE}\n")
        files[name] = zone / "energy_uj"
        files[name].write_text(f"{value}\n")
    return files


def test_the_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    files = lay_out(tmp_path, package_0=1_000_000, package_1=7_000_000, core=5, dram=9)
    rapl = Rapl(tmp_path)
    assert rapl.joules() == 0.0
    files["package_0"].write_text("3500000")
    files["package_1"].write_text("7250000")
    files["core"].write_text("2000000")  # part of its package, and in its counter
    files["dram"].write_text("2000000")
    assert rapl.joules() == pytest.approx(2.75)
    assert rapl.joules() == pytest.approx(2.75)


def test_a_counter_that_starts_again_is_no_loss(tmp_path: Path) -> None:
    files = lay_out(tmp_path, package_0=RANGE - 400_000)
    rapl = Rapl(tmp_path)
    files["package_0"].write_text("600000")
    assert rapl.joules() == pytest.approx(1.0)
    files["package_0"].write_text("1600000")
    assert rapl.joules() == pytest.approx(2.0)


def test_without_packages_the_reason_is_said(tmp_path: Path) -> None:
    lay_out(tmp_path, psys=3)
    with pytest.raises(LookupError, match=NO_RAPL):
        Rapl(tmp_path)
    with pytest.raises(LookupError, match=NO_RAPL):
        Rapl(tmp_path / "none")


def test_the_sampler_counts_the_train_time_alone(tmp_path: Path) -> None:
    files = lay_out(tmp_path, package_0=0)
    with Sampler(None, Host([os.getpid()], Rapl(tmp_path)), {}, period_seconds=60.0) as sampler:
        for trained, between in ((2_000_000, 50_000_000), (3_000_000, 50_000_000)):
            with sampler.training():
                _grow(files["package_0"], trained)
            _grow(files["package_0"], between)
    assert sampler.readings.totals["host_joules"] == pytest.approx(5.0)


def test_a_counter_that_fails_in_mid_run_leaves_its_reason(tmp_path: Path) -> None:
    files = lay_out(tmp_path, package_0=0)
    with Sampler(None, Host([os.getpid()], Rapl(tmp_path)), {}, period_seconds=60.0) as sampler:
        with sampler.training():
            _grow(files["package_0"], 2_000_000)
        with sampler.training():
            files["package_0"].unlink()
    assert "FileNotFoundError" in sampler.readings.unknown["host_joules"]


def _grow(file: Path, microjoules: int) -> None:
    file.write_text(str(int(file.read_text()) + microjoules))


def test_milliseconds_of_processor_time_are_told() -> None:
    shares = []
    for _ in range(20):
        with Sampler(None, Host([os.getpid()]), {}, period_seconds=60.0) as sampler, sampler.training():
            until = time.thread_time() + 0.004  # under a tick of the kernel's clock
            while time.thread_time() < until:
                pass
        shares.append(sampler.readings.totals["host_cpu_seconds"])
    assert min(shares) >= 0.004 and statistics.median(shares) < 0.02
