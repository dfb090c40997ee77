"""A forecast for a system that is not at hand, from two calibrations that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.forecast.elsewhere import MEMORY, PRODUCTS, Elsewhere
from harness.forecast.forecast import ConfigForecast
from harness.measure.system import describe_system
from harness.records.calibration import Calibration, Rate, write_calibration
from harness.records.forecast import Span
from tests.forecast.test_forecast import spec_of

pytestmark = pytest.mark.usefixtures("threads_as_calibrated")
NAMES = [*(f"{product}.fp32" for product in PRODUCTS), MEMORY]


@pytest.fixture
def threads_as_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def calibration(system_id: str, rates: dict[str, float], **more) -> Calibration:
    found: dict[str, Rate | None] = {
        name: Rate(unit="FLOP/s", median=rate, interquartile_range=0.0, relative_error=0.01, rounds=7)
        for name, rate in rates.items()
    }
    values = {"device": "cpu", "threads": 2, "seconds": 8.0, "measured_at": "2026-11-30T12:00:00+00:00", **more}
    return Calibration(system_id=system_id, system=f"the {system_id}", rates=found, **values)


def alike(system_id: str, rate: float = 1e9, **more) -> Calibration:
    return calibration(system_id, dict.fromkeys(NAMES, rate), **more)


def test_a_system_that_is_slower_in_everything_takes_as_much_longer() -> None:
    ratio = Elsewhere(alike("here"), alike("there", 0.5e9)).ratio("fp32")
    assert ratio
    assert ratio.middle == pytest.approx(2.0)
    assert 1.9 < ratio.low < 2.0 < ratio.high < 2.1
    assert Elsewhere(alike("here"), alike("there")).ratio("bf16") is None


def test_the_interval_holds_for_one_more_operation_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        *logs, network = rng.normal(np.log(3.0), 0.3, len(NAMES) + 1)
        there = calibration("there", {name: 1e9 * np.exp(-log) for name, log in zip(NAMES, logs, strict=True)})
        ratio = Elsewhere(alike("here"), there).ratio("fp32")
        assert ratio
        held += ratio.low < np.exp(network) < ratio.high
    assert 935 <= held <= 965, "95 %, within two standard errors"


def test_what_was_stepped_is_scaled_and_what_cannot_be_is_told() -> None:
    span = Span(seconds=10.0, low=8.0, high=13.0)
    own = ConfigForecast(
        config_id="a", label="a", open_runs=2, source="stepped", step_seconds=0.1, train=span, wall=span,
        total=span.times(2), device_bytes=2**30, peak_bytes=2**20,
    )  # fmt: skip
    slower = Elsewhere(alike("here"), alike("there", 0.5e9))
    found = slower.config(own, spec_of())
    assert found.total and found.train
    assert found.step_seconds == pytest.approx(0.2)
    assert found.total.seconds == pytest.approx(40.0)
    assert found.train.low is not None and found.train.high is not None
    assert found.train.low < 16.0 and found.train.high > 26.0, "both errors"
    assert (found.peak_bytes, found.device_bytes) == (2**20, None)
    for told, changes in {
        "bf16 is not calibrated on both systems": {"mixed_precision": "bf16"},
        "several processes exchange gradients": {"num_processes": 2},
    }.items():
        found = slower.config(own, spec_of(train={"epochs": 1, **changes}))
        assert told in found.problem
        assert found.total is None
    measured = own.model_copy(update={"source": "records"})
    assert slower.config(measured, spec_of()) == measured, "records are of that system itself"


def test_what_disturbed_a_calibration_is_told() -> None:
    [first, second] = Elsewhere(alike("here"), alike("there", neighbours_cpus=1.0)).notes()
    assert first.startswith("stepped on the here, not on the there: its times are those of here x 1.00 (")
    assert second.startswith("the there: calibrated while other processes kept 1 CPUs busy")


def test_another_systems_calibration_is_found_by_id_and_by_path(tmp_path: Path) -> None:
    root, away = tmp_path / "results", tmp_path / "away"
    for folder, one in ((root, alike("here")), (root, alike("there")), (away, alike("other"))):
        write_calibration(folder, one, {})
    assert Elsewhere.of(root, "here", "there").there.system_id == "there"
    folder = away / "systems/other"
    assert Elsewhere.of(root, "here", str(folder)) == Elsewhere.of(root, "here", str(folder / "calibration.json"))


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ("nowhere", "--system nowhere: that system was not calibrated", "run `harness calibrate` on it"),
        ("here", "--system here is this system", "leave --system out"),
        ("card", "the card trains on a GPU, and a calibration tells no time", "step it there"),
        ("torn", "cannot read ", "run `harness calibrate` on that system again"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path, wanted: str, message: str, hint: str) -> None:
    for one in (alike("here"), alike("there"), alike("card", device="cuda"), alike("torn")):
        path = write_calibration(tmp_path, one, {})
    path.write_text("{")
    with pytest.raises(HarnessError) as caught:
        Elsewhere.of(tmp_path, "here", wanted)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    with pytest.raises(HarnessError, match=r"this system \(elsewhere\) was not calibrated"):
        Elsewhere.of(tmp_path, "elsewhere", "there")


def test_other_threads_than_those_of_the_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (alike("here"), alike("there")):
        write_calibration(tmp_path, one, {})
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    Elsewhere.of(tmp_path, "here", "there")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(HarnessError, match="calibrated here with 2 threads, and OMP_NUM_THREADS=1 now"):
        Elsewhere.of(tmp_path, "here", "there")


@pytest.mark.launch
def test_a_forecast_for_another_system_as_people_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    suite = "name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 40}}\n"
    Path("s.yaml").write_text(suite)

    def call(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["plan", "s.yaml", *arguments])
        assert caught.value.code == code
        return capsys.readouterr()

    own = describe_system(use_cpu=True)["system_id"]
    write_calibration(Path("results"), alike(own), {})
    write_calibration(Path("results"), alike("slow", 1e8), {})
    assert "--system belongs to a forecast" in call("--system", "slow", code=2)[1]
    out, _ = call("--forecast", "--seconds", "2", "--system", "slow")
    assert out.startswith("s on the slow: about ")
    assert "its times are those of here x 10.00 (" in " ".join(out.split())
    kept = json.loads(Path("results/s/forecast.json").read_text())
    assert kept["system_id"] == "slow"
    [config] = kept["configs"]
    assert config["step_seconds"] > 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["submit", "s.yaml", "--time", "forecast", "--dry-run"])
    assert "on the slow" in capsys.readouterr().err
