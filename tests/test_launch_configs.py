"""Every config of launch/ is one that Accelerate reads, and says when to take it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

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
