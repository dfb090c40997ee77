"""Every config of launch/ is one that Accelerate reads, and says when to take it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env

from harness.launching.launch_command import Launcher

CONFIGS = sorted((Path(__file__).parent.parent / "launch").glob("*.yaml"))


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert {path.stem for path in CONFIGS} == {"cpu", "single_gpu", "gtx", "multi_gpu", "multi_node"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_it_without_dropping_a_key(path: Path) -> None:
    written = yaml.safe_load(path.read_text())
    config = vars(load_config_from_file(str(path)))
    assert {key: config[key] for key in written if key != "distributed_type"} == {
        key: value for key, value in written.items() if key != "distributed_type"
    }
    assert str(config["distributed_type"]).rpartition(".")[2] == written["distributed_type"]
    assert config["mixed_precision"] == "no", (
        "precision is the suite's: one that is set here would be part of each run's id"
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_begins_with_when_to_take_it(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 30


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_supervisor_plans_by_it(path: Path) -> None:
    written = yaml.safe_load(path.read_text())
    launcher = Launcher(path)
    assert launcher.num_processes() == written["num_processes"]
    assert launcher.uses_cpu() is written["use_cpu"]


@pytest.mark.parametrize("name", ["single_gpu", "gtx"])
def test_the_shell_says_which_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    call = launch_command_parser().parse_args(["--config_file", str(CONFIGS[0].with_stem(name)), "script.py"])
    arguments, *_ = _validate_launch_command(call)
    _, environment = prepare_simple_launcher_cmd_env(arguments)
    assert environment["CUDA_VISIBLE_DEVICES"] == "3"
