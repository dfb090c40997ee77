"""`harness plan --forecast`, as people call it, on the digits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.forecast.ask import on_login_node
from harness.launching.launch_command import Launcher
from harness.launching.slurm import cluster
from tests.house import House
from tests.processes import processes_in, wait_for

pytestmark = pytest.mark.launch

SUITE = """\
name: s
base: {data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 40}}
matrix: {model: [{name: mlp, hidden_sizes: [4]}, {name: cnn3, padding: same, hidden_size: 128}]}
seeds: 2
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / "s.yaml").write_text(SUITE)
    return "s.yaml"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert caught.value.code == code, err
        return out, err

    return run


def test_a_forecast_is_like_the_runs_that_follow(suite, call) -> None:
    out, err = call("plan", suite, "--forecast", "--seconds", "6", "--within", "1s", "--price-per-hour", "3600")
    first, *rest = out.splitlines()
    assert first.startswith("s on ") and "for 4 open runs" in " ".join([first, *rest[:2]])
    assert max(map(len, out.splitlines())) <= 80
    assert "within 1 s: not even one config or one seed" in out and "at 3600 an hour: " in out
    assert err.splitlines()[-1] == "written to results/s/forecast.json" and "stepping 2 configs for 6 s in all" in err
    forecast = json.loads(Path("results/s/forecast.json").read_text())
    assert len(forecast["runs"]) == 4 and forecast["complete"] and not forecast["done_runs"]
    assert sum(config["share"] for config in forecast["configs"]) == pytest.approx(1.0)
    assert forecast["cost"]["seconds"] == pytest.approx(forecast["wall"]["seconds"])
    for config in forecast["configs"]:
        train = config["train"]
        assert train["low"] < train["seconds"] < train["high"] and config["peak_bytes"] > 2**26

    _, err = call("run", suite, "--only", "seed=0")
    for path in Path("results/s").glob("*/*/result.json"):
        result = json.loads(path.read_text())
        expected = forecast["runs"][result["run_id"]]["seconds"]
        assert 1 / 8 < expected / result["clock"]["total_seconds"] < 8, "others compute beside this test"
    [line] = [line for line in err.splitlines() if line.startswith("forecast for 2 runs: ")]
    assert "; it took " in line


def test_runs_that_are_done_are_not_in_the_sum(suite, call) -> None:
    call("run", suite, "--set", "train.epochs=1", "--only", "model.name=mlp")
    small = ("--set", "train.epochs=1", "--forecast", "--seconds", "1")
    out, err = call("plan", suite, *small, "--only", "model.name=mlp")
    assert out.startswith("s: nothing to run: 2 runs are done on ") and "stepping" not in err
    found = json.loads(call("plan", suite, *small, "--json")[0])
    assert (found["open_runs"], found["done_runs"]) == (2, 2)
    assert [config["label"] for config in found["configs"]] == ["cnn3"]
    kept = Path("results/s/forecast.json").read_text()
    call("plan", suite, *small, "--only", "model.name=mlp")
    assert Path("results/s/forecast.json").read_text() == kept, "nothing to run: the forecast of what is done stays"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--forecast", "--within", "8"], "error: --within 8 is no duration\nhint: write a number and s, min or h"),
        (["--within", "8h"], "error: --within belongs to a forecast\nhint: harness plan s.yaml --forecast --within"),
        (["--seconds", "8"], "error: --seconds belongs to a forecast"),
        (["--forecast", "--seconds", "0"], "Invalid value for '--seconds'"),
        (["--forecast", "--set", "data=cifar10", "--only", "model.name=cnn3"], "holds neither cifar-10"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(suite, call, arguments, told) -> None:
    _, err = call("plan", suite, *arguments, code=2)
    assert told in err and "Traceback" not in err


def test_under_a_launcher_it_is_refused(suite, call, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    _, err = call("plan", suite, "--forecast", code=2)
    assert err.startswith("error: --forecast starts a process itself, and a launcher has started this one\nhint: ")


def test_without_torch_it_names_the_command_for_a_compute_node(suite, call, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["harness", "plan", "s.yaml", "--forecast"])
    _, err = call("plan", suite, "--forecast", code=2)
    assert (
        "torch is not installed here" in err and "srun --gpus=1 --cpus-per-task=8 harness plan s.yaml --forecast" in err
    )


def test_a_login_node_is_a_machine_of_a_cluster_outside_of_a_job(monkeypatch) -> None:
    for name in ("SLURM_JOB_ID", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("harness.forecast.ask.find_gpus", list)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/sbatch")
    assert on_login_node(Launcher())
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert not on_login_node(Launcher())
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setattr("harness.forecast.ask.find_gpus", lambda: [{}])
    assert not on_login_node(Launcher())
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not on_login_node(Launcher())


def test_the_stepping_process_ends_with_its_caller(suite, tmp_path) -> None:
    (here := tmp_path / "here").mkdir()
    command = [sys.executable, "-m", "harness", "plan", f"../{suite}", "--forecast", "--seconds", "250"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (tmp_path / "words").open("wb") as words:
        caller = subprocess.Popen(command, cwd=here, env=environment, stdout=words, stderr=words)
    assert wait_for(lambda: len(processes_in(here)) == 2, 60)
    caller.kill()
    caller.wait()
    assert wait_for(lambda: not processes_in(here), 60)


FAULTS = """\
matrix:
  model:
    - {name: faulty, fault: FAULT, rank: 0, step: 1}
    - {name: faulty, fault: raise, rank: 1}
"""


def forecast_of(house: House, *arguments: str) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", "harness", "plan", "suite.yaml", "--forecast", "--json", *arguments]
    environment = house.environment(ACCELERATE_USE_CPU="true")
    done = subprocess.run(command, cwd=house.path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize(
    ("fault", "told"), [("oom", "out of memory: CUDA out of memory"), ("kill", "SIGKILL ended its process")]
)
def test_a_config_that_fails_is_told_and_the_others_go_on(house, fault, told) -> None:
    house.suite(FAULTS.replace("FAULT", fault))
    found, _ = forecast_of(house, "--seconds", "10")
    by_problem = {bool(config["problem"]): config for config in found["configs"]}
    assert told in by_problem[True]["problem"] and by_problem[True]["total"] is None
    assert by_problem[False]["total"]["seconds"] > 0 and not found["complete"]


@pytest.mark.parametrize(
    ("fault", "told"), [("oom", "out of memory: CUDA out of memory"), ("kill", "SIGKILL ended its process")]
)
def test_configs_of_two_processes_are_stepped_in_two_and_a_rank_that_fails_is_told(house, fault, told) -> None:
    faults = FAULTS.replace("FAULT", fault).replace("rank: 0", "rank: 1").replace("raise, rank: 1", "raise, rank: 5")
    house.suite(f"{faults}  train.num_processes: [1, 2]\n")
    found, _ = forecast_of(house, "--seconds", "10")
    of = {config["label"]: config for config in found["configs"]}
    bad, *more = [config for config in of.values() if config["problem"]]
    assert not more, [config["problem"] for config in of.values()]
    assert told in bad["problem"] and bad["total"] is None and "num_processes=2" in bad["label"]
    assert sum(config["total"] is not None for config in of.values()) == 3 and not found["complete"]


def test_more_processes_than_gpus_are_told(house, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    house.suite("matrix: {train.num_processes: [1, 2]}\n")
    found, _ = forecast_of(house, "--seconds", "1")
    [told] = [config["problem"] for config in found["configs"] if config["problem"]]
    assert told == "trains on the 2 nodes of this job, and a forecast steps on one"


def test_a_loss_that_is_not_finite_is_told_and_timed(house) -> None:
    house.suite("matrix: {model: [mlp], optimizer.lr: [1.0e+30]}\n")
    found, _ = forecast_of(house, "--seconds", "1")
    [config] = found["configs"]
    assert "is not finite" in config["problem"] and config["total"]["high"] > 0


def test_what_there_was_no_time_for_is_told(house) -> None:
    slow = "[{name: faulty, slow: 0.3, rank: 1}, {name: faulty, slow: 0.31, rank: 1}]"
    house.suite(f"matrix: {{model: {slow}}}\n")
    found, _ = forecast_of(house, "--seconds", "0.4")
    assert any("1 of 2 configs were stepped in 0.4 s, 1 is not in the sum" in note for note in found["notes"])
    assert not found["complete"] and (house.path / "results/faults/forecast.json").is_file()


def test_submit_takes_the_time_limit_of_a_task_from_a_forecast(suite, call, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_ask", lambda name, *_: "MaxArraySize = 1001\n" if name == "scontrol" else "")
    submit = ("submit", suite, "--dry-run", "--time", "forecast", "--runs-per-task", "3", "--stop-early", "90")
    _, err = call(*submit, code=2)
    assert "--time forecast: there is no forecast in results/s" in err and "harness plan SUITE --forecast" in err
    call("plan", suite, "--forecast", "--seconds", "6")
    path = Path("results/s/forecast.json")
    kept = json.loads(path.read_text())
    kept["runs"] = {
        run_id: {"seconds": 80.0 * k, "low": 10.0, "high": 100.0 * k} for k, run_id in enumerate(kept["runs"])
    }
    kept["once"]["high"] = 30.0
    path.write_text(json.dumps(kept))
    out, err = call(*submit)
    assert "#SBATCH --time=0:12:00" in out, "100 + 200 + 300 + 30 + 90 s"
    assert "--time 0:12:00: 3 runs in at most 1" in err and ", and 90 s to stop early" in err
    kept["runs"].popitem()
    path.write_text(json.dumps(kept))
    assert "has no time for 1 run, e.g. " in call(*submit, code=2)[1]
