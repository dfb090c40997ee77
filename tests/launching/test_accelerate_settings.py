"""What Accelerate's launcher and its configs ask for: honoured or refused, and each setting stands in the document."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from harness.errors import HarnessError
from harness.launching import accelerate_settings
from harness.launching.accelerate_settings import LauncherSettings, of_config, settings_in
from harness.suite.plan import Plan, load_suite
from harness.training.precision import require_launched_precision
from tests.gpu.stand_in import stand_in_gpu
from tests.house import ROOT

SUITE = """\
name: asked
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}
"""
OPEN = {"distributed_type": "NO", "num_processes": 1}


def asked_by(*options: str, monkeypatch: pytest.MonkeyPatch) -> LauncherSettings:
    """Returns what ranks are asked for, in the environment that Accelerate makes for these options."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # of bf16 Accelerate asks the GPU
    arguments = launch_command_parser().parse_args([*options, "harness/run.py", "suite.yaml", "--num_processes", "7"])
    arguments, _, _ = _validate_launch_command(arguments)
    if arguments.multi_gpu or arguments.use_fsdp or arguments.use_megatron_lm:
        arguments.main_process_port = 0
        environment = {**prepare_multi_gpu_env(arguments), "WORLD_SIZE": str(arguments.num_processes)}
    else:
        _, environment = prepare_simple_launcher_cmd_env(arguments)
    return settings_in(environment, accelerate_settings._options(list(options)))


@pytest.fixture(autouse=True)
def no_config_of_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides what `accelerate config` may have written here."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr("accelerate.commands.launch.default_config_file", str(tmp_path / "nobody.yaml"))


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], {}),
        (["--mixed_precision", "bf16"], {"train.mixed_precision": "bf16"}),
        (["--mixed-precision=fp16"], {"train.mixed_precision": "fp16"}),
        (["--mixed_precision", "no"], {"train.mixed_precision": "no"}),
        (["--gradient_accumulation_steps", "4"], {"train.gradient_accumulation_steps": 4}),
        (["--gradient_clipping", "0.5"], {"train.clip_grad_norm": 0.5}),
        (["--dynamo_backend", "inductor"], {"train.compile": True}),
        (
            ["--dynamo_backend", "inductor", "--dynamo_mode", "reduce-overhead"],
            {"train.compile": "reduce-overhead"},
        ),
        (["--dynamo_mode", "max-autotune"], {}),
        (["--debug", "--num_cpu_threads_per_process", "2"], {}),
    ],
)
@pytest.mark.parametrize("start", [["--cpu"], ["--config_file", str(ROOT / "launch/cpu.yaml"), "--num_processes", "2"]])
def test_options_become_fields(
    start: list[str], options: list[str], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_by(*start, *options, monkeypatch=monkeypatch)
    assert asked == LauncherSettings("accelerate launch", settings, use_cpu=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--use_fsdp", "--num_processes", "2"], "asks for FSDP, and the harness trains on"),
        (["--use_megatron_lm", "--num_processes", "2"], "asks for MEGATRON_LM"),
        (["--dynamo_backend", "eager"], "asks for dynamo_backend eager, which train.compile does not have"),
        (["--dynamo_backend", "inductor", "--dynamo_use_fullgraph"], "asks for dynamo_use_fullgraph"),
        (["--dynamo_backend", "inductor", "--dynamo_use_dynamic"], "asks for dynamo_use_dynamic"),
        (["--num_processes", "2"], "is to start 2 processes, and starts one"),
        (["--cpu", "--num_processes", "2"], "is to start 2 processes, and starts one"),
    ],
)
def test_options_that_the_harness_does_not_have(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarnessError, match=f"^accelerate launch {message}") as caught:
        asked_by(*options, monkeypatch=monkeypatch)
    assert caught.value.hint


@pytest.mark.parametrize("name", accelerate_settings.USES)
def test_each_way_to_spread_a_network_is_refused(name: str) -> None:
    with pytest.raises(HarnessError, match="a whole network on each"):
        settings_in({"ACCELERATE_MIXED_PRECISION": "no", name: "true"}, None)


def test_fp8_is_refused() -> None:
    with pytest.raises(HarnessError, match="asks for mixed_precision fp8"):
        settings_in({"ACCELERATE_MIXED_PRECISION": "fp8"}, None)


def test_without_a_command_line_no_is_nobodys_word() -> None:
    assert settings_in({"ACCELERATE_MIXED_PRECISION": "no", "RANK": "0"}, None).settings == {}
    assert settings_in({"RANK": "0", "WORLD_SIZE": "2"}, {"mixed_precision": "no"}) == LauncherSettings(), (
        "torchrun's own"
    )


@pytest.mark.parametrize(
    ("config", "settings", "use_cpu"),
    [
        ({"mixed_precision": "no"}, {}, False),
        ({"mixed_precision": False, "use_cpu": True}, {}, True),
        ({"mixed_precision": "bf16", "distributed_type": "MULTI_GPU"}, {"train.mixed_precision": "bf16"}, False),
        (
            {"dynamo_config": {"dynamo_backend": "INDUCTOR", "dynamo_mode": "max-autotune"}},
            {"train.compile": "max-autotune"},
            False,
        ),
        ({"dynamo_backend": "INDUCTOR"}, {"train.compile": True}, False),
        ({"dynamo_config": {"dynamo_mode": "default"}, "parallelism_config": {}}, {}, False),
    ],
)
def test_configs(tmp_path: Path, config: dict[str, Any], settings: dict[str, Any], use_cpu: bool) -> None:
    assert of_config(written(tmp_path, {**OPEN, **config})) == LauncherSettings(
        str(tmp_path / "c.yaml"), settings, use_cpu
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"distributed_type": "FSDP"}, "asks for FSDP"),
        ({"distributed_type": "DEEPSPEED"}, "asks for DEEPSPEED"),
        ({"distributed_type": "MULTI_XPU"}, "asks for MULTI_XPU"),
        ({"compute_environment": "AMAZON_SAGEMAKER"}, "asks for AMAZON_SAGEMAKER"),
        ({"parallelism_config": {"parallelism_config_tp_size": 2}}, "asks for parallelism_config"),
        ({"mixed_precision": "fp8"}, "asks for mixed_precision fp8"),
        ({"dynamo_config": {"dynamo_backend": "TVM"}}, "asks for dynamo_backend tvm"),
        (
            {"dynamo_config": {"dynamo_backend": "INDUCTOR", "dynamo_mode": "lite-mode"}},
            "asks for dynamo_mode lite-mode",
        ),
        ({"dynamo_config": {"dynamo_backend": "INDUCTOR", "dynamo_use_regional_compilation": True}}, "asks for dynamo"),
        ({"distributed_type": "MULTI_CPU", "num_processes": 2}, "is to start 2 processes, and starts one"),
    ],
)
def test_configs_that_the_harness_does_not_have(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    path = written(tmp_path, {**OPEN, **config})
    with pytest.raises(HarnessError, match=f"^{path} {message}") as caught:
        of_config(path)
    assert caught.value.hint


def written(folder: Path, config: dict[str, Any]) -> Path:
    """Writes an Accelerate config."""
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def plan(folder: Path, more: str = "", *overrides: str, **launched: Any) -> Plan:
    """Plans a suite under a launcher that asks for fields of `train`."""
    path = folder / "suite.yaml"
    path.write_text(SUITE + more)
    settings = {f"train.{name}": value for name, value in launched.items()}
    return dataclasses.replace(load_suite(path, overrides), launched=settings).plan(lambda section: "data")


def test_what_a_suite_leaves_open_is_as_set_would_make_it(tmp_path: Path) -> None:
    launched = plan(tmp_path, mixed_precision="bf16", gradient_accumulation_steps=2).runs
    both = ["train.mixed_precision=bf16", "train.gradient_accumulation_steps=2"]
    assert [run.run_id for run in launched] == [run.run_id for run in plan(tmp_path, "", *both).runs]
    assert [run.run_id for run in launched] != [run.run_id for run in plan(tmp_path).runs]


def test_what_a_suite_names_it_keeps_and_a_sentence_says_so(tmp_path: Path) -> None:
    matrix = "matrix: {train.mixed_precision: [auto, 'no', bf16]}\n"
    planned = plan(tmp_path, matrix, mixed_precision="bf16")
    found = [spec.train.mixed_precision for spec in planned.configs().values()]
    assert found == ["bf16", "no"], "two configs have become one, as by --set"
    asked = LauncherSettings("accelerate launch", {"train.mixed_precision": "bf16"})
    assert asked.sentences(planned.configs().values()) == [
        "accelerate launch sets train.mixed_precision=bf16, as --set would: `harness report` needs the same --set",
        "accelerate launch asks for train.mixed_precision=bf16, and the suite gives 1 of 2 configs "
        '"no": the suite\'s word counts',
    ]


def test_set_is_the_last_word(tmp_path: Path) -> None:
    [run] = plan(tmp_path, "", "train.mixed_precision=auto", mixed_precision="bf16").runs
    assert run.spec.train.mixed_precision == "auto"


def test_a_value_that_is_none_is_an_error_of_its_field(tmp_path: Path) -> None:
    asked = settings_in({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto"}, None)
    with pytest.raises(HarnessError, match=r'train\.gradient_accumulation_steps is "auto"'):
        plan(tmp_path, **{name.removeprefix("train."): value for name, value in asked.settings.items()})


def test_a_precision_that_the_device_would_emulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    asks, names_another = (
        [run.spec.train for run in plan(tmp_path, more, mixed_precision="bf16").runs]
        for more in ("", "include: [{train.mixed_precision: fp16}]\n")
    )
    with stand_in_gpu((6, 1), "NVIDIA GeForce GTX 1060 3GB"):
        require_launched_precision(names_another, torch.device("cuda"))
        with pytest.raises(HarnessError, match="bf16: NVIDIA GeForce GTX 1060 3GB has no bfloat16 units") as caught:
            require_launched_precision(asks, torch.device("cuda"))
    assert "fp16, no or auto" in caught.value.hint


def test_the_document_names_every_setting() -> None:
    document = (ROOT / "docs/accelerate.md").read_text()
    named = set(re.findall(r"`([a-z0-9_]+)", document))
    missing = {name for name in ClusterConfig.__dataclass_fields__ if not name.startswith("tpu_")} - named
    assert not missing


@pytest.mark.parametrize(("text", "wanted"), [("false", False), ("'false'", False), ("true", True), ("'true'", True)])
def test_use_cpu_may_be_a_text(tmp_path: Path, text: str, wanted: bool) -> None:
    (tmp_path / "c.yaml").write_text(f"distributed_type: 'NO'\nnum_processes: 1\nuse_cpu: {text}\n")
    assert of_config(tmp_path / "c.yaml").use_cpu is wanted
