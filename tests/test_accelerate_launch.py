"""Under a real `accelerate launch`: its words count, and bad input is one error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import refusing
from tests.house import ROOT, House

CPU = str(ROOT / "launch/cpu.yaml")
GPU = str(ROOT / "launch/single_gpu.yaml")  # one process, which Accelerate starts without torchrun
LAUNCH = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]


@pytest.fixture
def suite(house: House) -> House:
    """A house with a suite of one run."""
    house.suite("seeds: 1\n")
    return house


@pytest.mark.launch
def test_the_launchers_precision_and_accumulation_are_recorded(suite: House) -> None:
    asked = ["--mixed_precision", "bf16", "--gradient_accumulation_steps", "2"]
    ended = suite.run("suite.yaml", launcher=[*LAUNCH, "--config_file", CPU, "--num_processes", "2", *asked])
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("accelerate launch sets train.mixed_precision=bf16, as --set would") == 1
    [result] = suite.results().values()
    assert (result["resolved"]["mixed_precision"], result["num_processes"]) == ("bf16", 2)
    sets = ["--set", "train.mixed_precision=bf16", "--set", "train.gradient_accumulation_steps=2"]
    plan = [sys.executable, "-m", "harness", "plan", "suite.yaml", "--set", "train.num_processes=2", "--json", *sets]
    planned = subprocess.run(plan, cwd=suite.path, env=suite.environment(), capture_output=True, text=True, check=True)
    assert [run["run_id"] for run in json.loads(planned.stdout)] == [result["run_id"]]


@pytest.mark.launch
def test_bad_input_of_two_ranks_is_said_once(suite: House) -> None:
    launcher = [*LAUNCH, "--config_file", CPU, "--num_processes", "2", "--main_process_port", "0"]
    ended = suite.run("suite.yaml", "--nonsense", launcher=launcher)
    assert ended.returncode == 1 and not ended.stdout
    assert ended.stderr.startswith("Usage: harness run"), ended.stderr
    assert ended.stderr.count("No such option: --nonsense") == 1
    assert "traceback : bad input, see the error above" in ended.stderr
    assert "<NO_OTHER_FAILURES>" in ended.stderr, "torchrun has one failure to tell of"
    assert len(ended.stderr.splitlines()) <= 42, "the launcher's own traceback and table"


@pytest.mark.launch
@pytest.mark.slow
def test_data_that_are_not_there_are_said_once(suite: House) -> None:
    launcher = [*LAUNCH, "--config_file", CPU, "--num_processes", "2", "--main_process_port", "0"]
    (suite.path / "images/train/a").mkdir(parents=True)
    data = ["--set", "data={name: image_folder, root: images, size: 8}"]
    ended = suite.run("suite.yaml", *data, launcher=launcher)
    assert ended.returncode == 1
    assert ended.stderr.count("error: ") == 1, ended.stderr
    assert "<NO_OTHER_FAILURES>" in ended.stderr


@pytest.mark.launch
def test_one_process_and_quiet_is_the_error_alone(suite: House) -> None:
    ended = suite.run("none.yaml", launcher=[*LAUNCH, "--quiet", "--config_file", GPU])
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "error: cannot read none.yaml: No such file or directory",
        "hint: did you mean 'suite.yaml'?",
    ]


@pytest.mark.launch
@pytest.mark.slow
def test_a_config_that_accelerate_refuses_is_one_error(suite: House) -> None:
    (suite.path / "c.yaml").write_text("{distributed_type: 'NO', num_processes: 1, gradient_accumulation_steps: 2}")
    ended = suite.run("suite.yaml", "--config_file", "c.yaml")
    assert ended.returncode == 2
    assert "error: Accelerate: The config file at c.yaml had unknown keys" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_config_file_under_a_launcher_is_an_error(suite: House, monkeypatch, capsys) -> None:
    from harness.cli import main

    monkeypatch.chdir(suite.path)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    with pytest.raises(SystemExit):
        main(["run", "suite.yaml", "--config_file", CPU])
    assert "error: --config_file is for `harness run`, and a launcher has started" in capsys.readouterr().err


PLAIN = "name: plain\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_USE_FSDP", "true"),
        ("ACCELERATE_DYNAMO_BACKEND", "inductor"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),
    ],
)
def test_a_setting_in_the_shell_alone_is_refused_and_not_ignored(
    tmp_path: Path, monkeypatch, capsys, name: str, value: str
) -> None:
    from harness.cli import main

    monkeypatch.chdir(tmp_path)
    Path("plain.yaml").write_text(PLAIN)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["run", "plain.yaml"])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith(
        f"error: {name}={value} is set in the environment, and `harness run` does not read it\nhint: "
    )


def test_a_value_that_accelerate_sets_is_not_blamed_on_the_suite(tmp_path: Path, monkeypatch, capsys) -> None:
    from harness.cli import main

    monkeypatch.chdir(tmp_path)
    Path("plain.yaml").write_text(PLAIN)
    Path("c.yaml").write_text("distributed_type: 'NO'\nnum_processes: 1\nmixed_precision: bf17\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "plain.yaml", "--config_file", "c.yaml"])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith('error: c.yaml sets train.mixed_precision=bf17: train.mixed_precision is "bf17"\nhint: ')


def test_a_dynamo_config_that_is_no_mapping_is_one_sentence(tmp_path: Path, monkeypatch, capsys) -> None:
    from harness.cli import main

    monkeypatch.chdir(tmp_path)
    Path("plain.yaml").write_text(PLAIN)
    Path("c.yaml").write_text("distributed_type: 'NO'\nnum_processes: 1\ndynamo_config: inductor\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "plain.yaml", "--config_file", "c.yaml"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith('error: c.yaml: dynamo_config is "inductor"\nhint: ')


@pytest.mark.parametrize("first_is_wrong", [True, False])
def test_a_rank_that_is_wrong_alone_says_it(tmp_path: Path, monkeypatch, first_is_wrong: bool) -> None:
    files = [tmp_path / str(rank) / "error.json" for rank in range(2)]
    for file in files:
        file.parent.mkdir()
    if first_is_wrong:
        files[0].write_text("{}")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(files[1]))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(refusing, "PEERS_SECONDS", 0.1)
    said, codes = [], []
    monkeypatch.setattr("os._exit", codes.append)
    with pytest.raises(SystemExit):  # which os._exit would not have left to do
        refusing.refuse(lambda: said.append("error"))
    assert (said, codes) == (([], [0]) if first_is_wrong else (["error"], [2]))
    assert json.loads(files[1].read_text())["message"]["message"] == "bad input, see the error above"
