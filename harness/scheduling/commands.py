"""The command line that starts a launch on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.measure.system import find_gpus

SCRIPT = Path(__file__).parent.parent / "run.py"


@dataclass(frozen=True)
class Launcher:
    """How processes are started here.

    Attributes:
        config_file: an Accelerate config to hand on; None to make one that fits this machine.
    """

    config_file: Path | None = None

    def num_processes(self) -> int:
        """Returns the world size of configs that name none.

        Raises:
            HarnessError: the config file cannot be read.
        """
        count = self._config().get("num_processes", 1) if self.config_file else 1
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise HarnessError(f"{self.config_file}: num_processes is {count!r}", "it should be a count of processes")
        return count

    def uses_cpu(self) -> bool:
        """Tells whether training will run on the CPU."""
        return bool(self._config().get("use_cpu")) if self.config_file else not find_gpus()

    def command(self, num_processes: int, folder: Path, arguments: list[str]) -> list[str]:
        """Returns the command of a launch of so many processes.

        Args:
            num_processes: the world size.
            folder: of the launch; a generated config is written there.
            arguments: of the script.

        Raises:
            HarnessError: there are fewer GPUs than processes.
        """
        if self.config_file is None and num_processes == 1:
            return [sys.executable, str(SCRIPT), *arguments]  # `accelerate launch` would do no more, seconds later
        config = self.config_file or _write_config(num_processes, folder)
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
        return [*launch, "--num_processes", str(num_processes), str(SCRIPT), *arguments]

    def environment(self, num_processes: int) -> dict[str, str]:
        """Returns the environment of a launch: this one's, with the CPU's threads shared between its processes."""
        environment = dict(os.environ)
        if self.uses_cpu():
            environment["ACCELERATE_USE_CPU"] = "true"
        if num_processes > 1:
            threads = max(1, len(os.sched_getaffinity(0)) // num_processes)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        return environment

    def _config(self) -> dict[str, Any]:
        assert self.config_file is not None
        try:
            config = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            hint = "see launch/ for examples"
            raise HarnessError(f"cannot read the Accelerate config {self.config_file}: {error}", hint) from None
        if not isinstance(config, dict):
            raise HarnessError(f"{self.config_file} is no Accelerate config", "see launch/ for examples")
        return config


def _write_config(num_processes: int, folder: Path) -> Path:
    gpus = find_gpus()
    if gpus and num_processes > len(gpus):
        message = f"{num_processes} processes were asked for, and there are {len(gpus)} GPUs"
        raise HarnessError(message, "set train.num_processes, or CUDA_VISIBLE_DEVICES='' to use the CPU")
    config = {
        "compute_environment": "LOCAL_MACHINE",
        # MULTI_GPU with use_cpu starts gloo ranks, which MULTI_CPU, as of Accelerate 1.15, does not.
        "distributed_type": "MULTI_GPU",
        "use_cpu": not gpus,
        "num_machines": 1,
        "num_processes": num_processes,
        "machine_rank": 0,
        "main_process_port": 0,  # any free one: two launches may share a machine
        "mixed_precision": "no",
        "rdzv_backend": "static",
        "same_network": True,
    }
    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
