"""A private SLURM cluster of two nodes on this machine: own ports, munge key and folder; on loopback, or two hosts."""

from __future__ import annotations

import datetime
import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import psutil

from tests.hosts import ADDRESSES, TwoHosts
from tests.processes import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun", "scancel")
NODES = ("n1", "n2")
# `low` is preempted by `high` without notice; `graceful` is sent what --signal names, and has a minute.
CONFIG = """\
ClusterName=private
SlurmctldHost={host}({address})
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
MaxArraySize=2
KillWait=20
"""


def missing_programs() -> list[str]:
    """Returns the programs of slurm-wlm and munge that this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


class Cluster:
    """Two nodes of two CPUs each, `n1` and `n2`, and the partitions `low`, the default, `graceful` and `high`.

    Args:
        folder: for all of its files.
        hosts: that the nodes live on, the controller and the commands of users on the first; None for this machine.
    """

    def __init__(self, folder: Path, hosts: TwoHosts | None = None) -> None:
        self.folder = folder
        self._hosts = hosts
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Self:
        folder = self.folder
        (folder / "state").mkdir()
        for node in NODES:
            (folder / node).mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        names = ("host-0", "host-1") if self._hosts else (socket.gethostname().partition(".")[0],) * 2
        addresses = ADDRESSES if self._hosts else ("127.0.0.1",) * 2
        controller, *ports = _free_ports(1 + len(NODES))
        values = {"host": names[0], "address": addresses[0], "user": getpass.getuser(), "folder": folder}
        lines = [CONFIG.format(controller=controller, **values)]
        lines += [
            f"NodeName={node} NodeHostname={name} NodeAddr={address} Port={port} CPUs=2 State=UNKNOWN\n"
            for node, name, address, port in zip(NODES, names, addresses, ports, strict=True)
        ]
        for name, more in {"low": "Default=YES", "graceful": "GraceTime=60", "high": ""}.items():
            lines.append(f"PartitionName={name} Nodes=ALL PriorityTier={10 if name == 'high' else 1} {more}\n")
        (folder / "slurm.conf").write_text("".join(lines))
        try:
            files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
            options = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
            self._start("munge", "munged", "--foreground", "--force", *options)
            self._start("controller", "slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            up = wait_for(lambda: self.ask("sinfo", "-h", "-o", "%T") == "idle\n", 120)
            assert up, "the nodes never came up"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in NODES:
            self.kill_processes(node)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, *command: str) -> str:
        """Returns what a command of SLURM prints.

        Raises:
            AssertionError: it fails.
        """
        done = subprocess.run(
            [*self.enter(), *command], env=self._environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def enter(self, node: str = NODES[0]) -> list[str]:
        """Returns the words before a command that runs where a node lives, by default the one of the controller."""
        return self._hosts.enter(NODES.index(node)) if self._hosts else []

    def environment(self) -> dict[str, str]:
        """Returns what makes SLURM's commands find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def queue(self) -> list[str]:
        """Returns `JOB_TASK` of each task that has not ended, and lets those begin that SLURM holds back.

        What is queued again waits for two minutes, so that its nodes have done with it; here they have within seconds.
        """
        rows = [line.split() for line in self.ask("squeue", "-h", "-r", "-o", "%i %t %S %r").splitlines()]
        soon = datetime.datetime.now() + datetime.timedelta(seconds=10)
        for task, state, begin, reason in rows:
            held = (state, reason) == ("PD", "BeginTime") and begin != "N/A"
            if held and datetime.datetime.fromisoformat(begin) > soon:
                self.ask("scontrol", "update", f"jobid={task}", "starttime=now+4")
        return [task for task, *_ in rows]

    def start_node(self, node: str) -> None:
        """Starts a node's daemon."""
        self._start(node, "slurmd", "-D", "-N", node)

    def crash_node(self, node: str) -> None:
        """Ends all that runs on a node at once, as a power cut does, and sets it down."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait()
        self.kill_processes(node)
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")

    def processes(self, node: str, *, but: str = "") -> list[psutil.Process]:
        """Returns the processes of jobs on a node, SLURM's own first; without those of the job with an id."""
        daemons, found = [], []
        for process in psutil.process_iter():
            try:
                log = str(self.folder / f"{node}.log")
                if process.name() == "slurmstepd" and any(file.path == log for file in process.open_files()):
                    daemons += [] if but and f"[{but}." in " ".join(process.cmdline()) else [process]
                    continue
                environment = process.environ()
                ours = environment.get("SLURM_CONF") == str(self.folder / "slurm.conf")
                if ours and environment.get("SLURMD_NODENAME") == node and environment.get("SLURM_JOB_ID") != but:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return daemons + found

    def kill_processes(self, node: str) -> None:
        """Ends the processes of jobs on a node at once."""
        for process in self.processes(node):
            process.kill()

    def _start(self, name: str, program: str, *arguments: str) -> None:
        node = name if name in NODES else NODES[0]
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert path
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [*self.enter(node), path, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
