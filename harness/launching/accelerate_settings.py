"""Accelerate's settings: what its launcher or one of its configs asks for, in a suite's words, or refused.

Starting processes is Accelerate's own: devices, machines, ports. The rest is `docs/accelerate.md`'s table. In a rank it
is read from the environment that the launcher made, and from its command line what it leaves out of that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from harness.errors import HarnessError
from harness.launching.launch_folder import launching_process
from harness.paths import LAUNCH_CONFIGS, nearest_file
from harness.problems import shown
from harness.spec import RunSpec
from harness.spec.settings import Settings, value_at

LAUNCHER = "accelerate launch"
DISTRIBUTED_TYPES = ("NO", "MULTI_GPU", "MULTI_CPU")
USES = {
    "ACCELERATE_USE_DEEPSPEED": "DEEPSPEED",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "parallelism_config",
    "ACCELERATE_USE_SAGEMAKER": "AMAZON_SAGEMAKER",
}
# What the name of a variable begins with.
NOT_READ = (
    *USES,
    "ACCELERATE_DYNAMO_",
    "ACCELERATE_MIXED_PRECISION",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
    "ACCELERATE_GRADIENT_CLIPPING",
    "ACCELERATE_TORCH_DEVICE",
)
DYNAMO = ("backend", "mode", "use_fullgraph", "use_dynamic", "use_regional_compilation")
OPTIONS = ("config_file", "cpu", "num_processes", "mixed_precision", "gradient_accumulation_steps", "gradient_clipping")
COMPILE_MODES = {"default": True, "reduce-overhead": "reduce-overhead", "max-autotune": "max-autotune"}


@dataclass(frozen=True)
class LauncherSettings:
    """What is asked for, beyond starting processes.

    Attributes:
        source: who asks: `accelerate launch`, or the path of a config.
        settings: fields for the configs of a suite that leave them open.
        use_cpu: train on the CPU, whatever GPUs there are.
    """

    source: str = ""
    settings: Settings = dataclasses.field(default_factory=dict)
    use_cpu: bool = False

    def sentences(self, specs: Iterable[RunSpec]) -> list[str]:
        """Returns which settings reach the configs, and which ones the suite overrules.

        Args:
            specs: one of each config.
        """
        dumps = [spec.model_dump(mode="json") for spec in specs] if self.settings else []
        found = []
        for path, value in self.settings.items():
            overruling = [shown(given) for dump in dumps if (given := value_at(dump, path)) != value]
            count, said = len(overruling), f"{path}={value if isinstance(value, str) else shown(value)}"
            if count < len(dumps):
                also = "the same --set" if self.source == LAUNCHER else "the same --config_file"
                found.append(f"{self.source} sets {said}, as --set would: `harness report` needs {also}")
            if count:
                of = f"{count} of {len(dumps)} configs" if len(dumps) > 1 else "the config"
                given = ", ".join(sorted(set(overruling)))
                what = f"{self.source} asks for {said}, and the suite gives {of} {given}"
                found.append(f"{what}: the suite's word counts")
        return found


def read_config(path: Path) -> dict[str, Any]:
    """Returns an Accelerate config.

    Raises:
        HarnessError: it cannot be read, or is none.
    """
    hint = "see `harness list files` for examples"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HarnessError(f"there is no Accelerate config {path}", nearest_file(path, LAUNCH_CONFIGS)) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessError(f"cannot read the Accelerate config {path}: {error}", hint) from None
    if not isinstance(config, dict):
        raise HarnessError(f"{path} is no Accelerate config", hint)
    return config


def of_config(path: Path) -> LauncherSettings:
    """Returns what a config asks for.

    `mixed_precision: 'no'`, which `accelerate config` writes into each, leaves the precision to the suite.

    Raises:
        HarnessError: it cannot be read, or asks for what the harness does not have.
    """
    config = read_config(path)
    kind = "parallelism_config" if config.get("parallelism_config") else _kind_of(config)
    dynamo = {"backend": config.get("dynamo_backend")}  # as older versions wrote it
    own = config.get("dynamo_config") or {}
    if not isinstance(own, dict):
        raise HarnessError(
            f"{path}: dynamo_config is {shown(own)}", "write a mapping: dynamo_config: {dynamo_backend: NO}"
        )
    dynamo |= {str(key).removeprefix("dynamo_"): value for key, value in own.items()}
    words = {"mixed_precision": _said(config.get("mixed_precision"))}
    settings = _settings(str(path), kind, dynamo, words)
    _require_as_many(str(path), config.get("num_processes", 1), starts_one=kind != "MULTI_GPU")
    return LauncherSettings(str(path), settings, is_true(config.get("use_cpu")))


def of_launcher() -> LauncherSettings:
    """Returns what the launcher of this rank asks for; nothing where the launcher is not Accelerate's.

    `no`, which the launcher sets where nobody names a precision, counts where its command line has it.

    Raises:
        HarnessError: it asks for what the harness does not have, or started fewer processes than it was asked for.
    """
    words = _command_line()
    return settings_in(os.environ, None if words is None else _options(words))


def refuse_environment(environ: Mapping[str, str]) -> None:
    """Refuses settings of Accelerate's in the environment of a call that no launcher started: they would not count.

    Raises:
        HarnessError: there is one.
    """
    for name, value in environ.items():
        if name.startswith(NOT_READ) and value.lower() not in ("", "no", "false", "0", "none"):
            message = f"{name}={value} is set in the environment, and `harness run` does not read it"
            raise HarnessError(
                message, f"unset {name}; say it in the suite, or by `accelerate launch -m harness.run SUITE`"
            )


def settings_in(environ: Mapping[str, str], options: Mapping[str, str] | None) -> LauncherSettings:
    """Returns and raises as `of_launcher`.

    Args:
        environ: of a rank.
        options: of the launcher's command line, e.g. {"num_processes": "2"}; None where that cannot be seen.
    """
    if "ACCELERATE_MIXED_PRECISION" not in environ:
        return LauncherSettings()
    config = {} if options is None else _config_of(options)
    options = options or {}
    # A config's type that the environment would tell was replaced by an option, e.g. by --multi_gpu.
    kind = "NO" if _kind_of(config) in USES.values() else _kind_of(config)
    kind = next((used for name, used in USES.items() if is_true(environ.get(name))), kind)
    dynamo = {name: environ.get(f"ACCELERATE_DYNAMO_{name.upper()}") for name in DYNAMO}
    words = {
        "mixed_precision": options.get("mixed_precision") or _said(environ["ACCELERATE_MIXED_PRECISION"]),
        "gradient_accumulation_steps": _number(
            environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS") or options.get("gradient_accumulation_steps")
        ),
        "clip_grad_norm": _number(environ.get("ACCELERATE_GRADIENT_CLIPPING") or options.get("gradient_clipping")),
    }
    settings = _settings(LAUNCHER, kind, dynamo, words)
    processes = options.get("num_processes") or config.get("num_processes", 1)
    _require_as_many(LAUNCHER, processes, starts_one="WORLD_SIZE" not in environ)
    use_cpu = is_true(environ.get("ACCELERATE_USE_CPU")) or is_true(config.get("use_cpu"))
    return LauncherSettings(LAUNCHER, settings, use_cpu)


def _settings(source: str, kind: str, dynamo: Mapping[str, Any], words: Mapping[str, Any]) -> Settings:
    """Returns the fields of a suite that are asked for.

    Args:
        source: see `LauncherSettings`.
        kind: how networks are spread over devices: a distributed_type of Accelerate's.
        dynamo: of `DYNAMO`, each None where it is not said.
        words: fields of `train`, each None where it is not said.
    """
    if kind not in DISTRIBUTED_TYPES:
        message = f"{source} asks for {kind}, and the harness trains on CPUs and CUDA GPUs, a whole network on each"
        raise HarnessError(message, "distributed_type: MULTI_GPU, or `accelerate launch --multi_gpu`")
    if words["mixed_precision"] == "fp8":
        message = f"{source} asks for mixed_precision fp8, which the harness does not have"
        raise HarnessError(message, "bf16, fp16 or no")
    found = {f"train.{name}": value for name, value in words.items() if value is not None}
    backend = str(dynamo.get("backend") or "no").lower()
    if backend == "no":
        return found
    mode = str(dynamo.get("mode") or "default")
    extra = [f"dynamo_{name}" for name in DYNAMO[2:] if is_true(dynamo.get(name))]
    if backend != "inductor" or mode not in COMPILE_MODES or extra:
        what = extra[0] if extra else f"dynamo_backend {backend}" if backend != "inductor" else f"dynamo_mode {mode}"
        message = f"{source} asks for {what}, which train.compile does not have"
        raise HarnessError(message, f"dynamo_backend inductor, dynamo_mode {' or '.join(COMPILE_MODES)}")
    return {**found, "train.compile": COMPILE_MODES[mode]}


def _kind_of(config: Mapping[str, Any]) -> str:
    if config.get("compute_environment") == "AMAZON_SAGEMAKER":
        return "AMAZON_SAGEMAKER"
    return str(config.get("distributed_type") or "NO").upper()


def _require_as_many(source: str, asked: Any, *, starts_one: bool) -> None:
    if starts_one and str(asked) != "1":
        message = f"{source} is to start {asked} processes, and starts one: its distributed_type is not MULTI_GPU"
        raise HarnessError(
            message,
            "`harness list files multi_gpu.yaml` shows a config that starts several; MULTI_GPU is for CPUs, too",
        )


def _command_line() -> list[str] | None:
    """Returns the launcher's own words on its command line, or None where they cannot be seen."""
    with contextlib.suppress(psutil.Error):
        if parent := launching_process():
            words = psutil.Process(parent).cmdline()
            own = len(words) - len(sys.argv)  # the script and its arguments are the end
            if words[own + 1 :] == sys.argv[1:]:
                return words[:own]
    return None


def _options(words: list[str]) -> dict[str, str]:
    """Returns those options of a launcher's command line that do not reach the ranks."""
    found = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, assigned, value = word.partition("=")
        if name.startswith("--") and (option := name[2:].replace("-", "_")) in OPTIONS:
            found[option] = value if assigned else following
    return found


def _config_of(options: Mapping[str, str]) -> dict[str, Any]:
    """Returns the config that the launcher read: the one it was given, or the one that `accelerate config` wrote."""
    if "config_file" in options:
        return read_config(Path(options["config_file"]))
    if "cpu" in options:
        return {}
    cache = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    path = Path(cache).expanduser() / "accelerate/default_config.yaml"
    return read_config(path) if path.is_file() else {}


def _said(precision: Any) -> str | None:
    return None if precision in (None, False, "no") else str(precision).lower()


def _number(text: str | None) -> int | float | str | None:
    """Returns a number; what is none is left to the check of the suite's field."""
    for kind in (int, float):
        with contextlib.suppress(TypeError, ValueError):
            return kind(text)  # type: ignore[arg-type]
    return text


def is_true(value: Any) -> bool:
    """Tells whether a value of a config or of the environment means yes, as Accelerate reads it; "false" does not."""
    return str(value).lower() in ("1", "true", "yes", "on", "y", "t")


def under_a_launcher() -> bool:
    """Tells whether `accelerate launch` or `torchrun` started this process."""
    of_one = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND")  # the launcher sets both, a person one of them
    return all(name in os.environ for name in of_one) or "LOCAL_RANK" in os.environ
