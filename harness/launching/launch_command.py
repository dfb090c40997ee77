"""The command line that starts a launch: on this machine, or on all nodes of the SLURM job that it belongs to."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.counted import counted, is_are
from harness.errors import HarnessError, MachineError
from harness.launching.accelerate_settings import is_true, read_config
from harness.launching.slurm.cluster import Allocation
from harness.measure.system import find_gpus

WORKER = Path(__file__).parent.parent / "worker.py"
LAUNCH = [sys.executable, str(Path(__file__).with_name("accelerate_launcher.py"))]  # as `accelerate launch`


@dataclass(frozen=True)
class Launcher:
    """How processes are started here.

    Attributes:
        config_file: an Accelerate config to hand on; None to make one that fits this machine.
        shared_folder: one that all nodes see, for launches on several of them.
        packed: launches at a time on this machine.
        isolate: a fresh process for each run.
    """

    config_file: Path | None = None
    shared_folder: Path | None = None
    packed: int = 1
    isolate: bool = False

    def launch_folder_parent(self) -> Path | None:
        """Returns where folders of launches go; None for this machine's temporary folder."""
        return self.shared_folder if Allocation.of_this_job() else None

    def num_processes(self) -> int:
        """Returns the world size of configs that name none.

        Raises:
            HarnessError: the config file cannot be read.
        """
        count = self._config().get("num_processes", 1)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise HarnessError(f"{self.config_file}: num_processes is {count!r}", "it should be a count of processes")
        return count

    def uses_cpu(self) -> bool:
        """Tells whether training will run on the CPU."""
        return self.is_told_to_use_cpu() if self.config_file else not find_gpus()

    def is_told_to_use_cpu(self) -> bool:
        """Tells whether training shall run on the CPU also where there is a GPU."""
        return is_true(os.environ.get("ACCELERATE_USE_CPU")) or is_true(self._config().get("use_cpu"))

    def command(self, num_processes: int, folder: Path, *arguments: str) -> list[str]:
        """Returns the command of a launch of so many processes.

        Args:
            folder: of the launch; a generated config is written there.
            arguments: of the worker; by default the folder alone.

        Raises:
            HarnessError: a machine has fewer GPUs than processes, or the nodes of the job cannot share them equally.
        """
        worker = [str(WORKER), *(arguments or [str(folder)])]
        if self.config_file is None and num_processes == 1:
            return [sys.executable, *worker]  # `accelerate launch` would do no more, seconds later
        if allocation := _several_nodes(num_processes):
            return self._on_nodes(allocation, num_processes, folder, worker)
        path = self.config_file or _write_config(_own_config(num_processes, 1), folder)
        return [*LAUNCH, "--config_file", str(path), "--num_processes", str(num_processes), *worker]

    def _on_nodes(self, allocation: Allocation, num_processes: int, folder: Path, worker: list[str]) -> list[str]:
        """Returns the command that starts one `accelerate launch` on each node; they find each other on the first."""
        nodes = allocation.nodes
        config = self._config() if self.config_file else _own_config(num_processes, nodes)
        # With `same_network`, Accelerate 1.15 gives torchrun a master's address, which c10d does not look at.
        path = _write_config({**config, "same_network": False}, folder)
        launch = [*LAUNCH, "--config_file", str(path), "--num_machines", str(nodes)]
        launch += ["--num_processes", str(num_processes), "--rdzv_backend", "c10d"]
        launch += ["--main_process_ip", allocation.first_address(), "--main_process_port", str(allocation.port)]
        # The node that hosts the rendezvous is named: torchrun guesses it by host names, which need not be the address.
        own = '--machine_rank "$SLURM_NODEID" --rdzv_conf "is_host=$((SLURM_NODEID == 0)),read_timeout=300"'
        on_node = f"exec {shlex.join(launch)} {own} {shlex.join(worker)}"
        # One step over all that the job has: its ranks see the CPUs that this process sees.
        srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
        return [*srun, "--export=ALL", "--input=none", "--kill-on-bad-exit=1", "bash", "-c", on_node]

    def environment(self, num_processes: int) -> dict[str, str]:
        """Returns the environment of a launch: this one's, with a node's CPUs shared between all processes on it."""
        environment = dict(os.environ)
        if self.uses_cpu():
            environment["ACCELERATE_USE_CPU"] = "true"
        if num_processes * self.packed > 1:
            allocation = _several_nodes(num_processes)
            here = self.packed * num_processes // (allocation.nodes if allocation else 1)
            threads = max(1, len(os.sched_getaffinity(0)) // here)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        return environment

    def _config(self) -> dict[str, Any]:
        return read_config(self.config_file) if self.config_file else {}


def _several_nodes(num_processes: int) -> Allocation | None:
    """Returns the job's nodes where a launch of so many processes takes several."""
    allocation = Allocation.of_this_job() if num_processes > 1 else None
    if allocation and num_processes % allocation.nodes:
        message = f"{num_processes} processes do not divide into the {allocation.nodes} nodes of this job"
        raise HarnessError(message, "set train.num_processes, or ask for other nodes")
    return allocation


def _own_config(num_processes: int, nodes: int) -> dict[str, Any]:
    gpus = find_gpus()
    if gpus and num_processes // nodes > len(gpus):
        here = f"there {is_are(len(gpus))} {counted(len(gpus), 'GPU')}"
        message = f"{num_processes // nodes} processes were asked for, and {here}"
        raise MachineError(message, "set train.num_processes, or CUDA_VISIBLE_DEVICES='' to use the CPU")
    return {
        "compute_environment": "LOCAL_MACHINE",
        # MULTI_GPU with use_cpu starts gloo ranks, which MULTI_CPU, as of Accelerate 1.15, does not.
        "distributed_type": "MULTI_GPU",
        "use_cpu": not gpus,
        "num_machines": nodes,
        "num_processes": num_processes,
        "machine_rank": 0,
        "main_process_port": 0,  # any free one: two launches may share a machine
        "mixed_precision": "no",
        "rdzv_backend": "static",
        "same_network": True,
    }


def _write_config(config: dict[str, Any], folder: Path) -> Path:
    path = folder / "accelerate.yaml"
    try:
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}", "see to the disk") from None
    return path
