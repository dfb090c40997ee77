"""Two hosts on one machine, joined by a wire, with a network and /etc/hosts of their own. Needs root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDRESSES = ("10.200.7.1", "10.200.7.2")
ENTER = 'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'


class TwoHosts:
    """See `two_hosts`.

    Args:
        folder: for what processes print.
        name: of the network namespaces, with the number of the host behind it.
        loopback_names: whether a host's own name is a loopback address to it, as Debian's installer leaves it.
    """

    def __init__(self, folder: Path, name: str, *, loopback_names: bool) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._folder, self._spaces = folder, [f"{name}-{number}" for number in range(2)]
        for number in range(2):
            own = "127.0.1.1" if loopback_names else ADDRESSES[number]
            names = {number: own, 1 - number: ADDRESSES[1 - number]}
            lines = ["127.0.0.1 localhost", *(f"{address} host-{host}" for host, address in names.items())]
            (folder / f"hosts-{number}").write_text("\n".join(lines) + "\n")

    def connect(self) -> None:
        """Makes the hosts."""
        for space in self._spaces:
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        first, second = self._spaces
        _ip("link", "add", "wire0", "netns", first, "type", "veth", "peer", "name", "wire1", "netns", second)
        for number, space in enumerate(self._spaces):
            _ip("-n", space, "addr", "add", f"{ADDRESSES[number]}/24", "dev", f"wire{number}")
            _ip("-n", space, "link", "set", f"wire{number}", "up")

    def enter(self, number: int) -> list[str]:
        """Returns the words before a command that runs on a host; the process stays one, so a signal reaches it."""
        # Not `ip netns exec`: it hides /sys/fs/cgroup, which slurmd wants.
        enter = ["nsenter", f"--net=/run/netns/{self._spaces[number]}", "unshare", "--uts", "--mount"]
        return [*enter, "bash", "-c", ENTER, "host", f"host-{number}", str(self._folder / f"hosts-{number}")]

    def start(self, number: int, *command: str, cwd: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a command on a host; what it prints is in `host-NUMBER.log`."""
        with (self._folder / f"host-{number}.log").open("w") as log:
            process = subprocess.Popen(
                [*self.enter(number), *command],
                cwd=cwd,
                env=os.environ | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    def printed(self, number: int) -> str:
        """Returns what the command on a host has printed."""
        return (self._folder / f"host-{number}.log").read_text()

    def lose(self, number: int) -> None:
        """Takes a host away: first its wire, so that the other hears nothing, then its processes."""
        _ip("-n", self._spaces[number], "link", "set", f"wire{number}", "down")
        self._kill(self._spaces[number])

    def remove(self) -> None:
        """Ends all that runs on the hosts, and them."""
        for space in self._spaces:
            self._kill(space)
            subprocess.run(["ip", "netns", "del", space], capture_output=True)
        for process in self._started:
            process.wait(10)

    @staticmethod
    def _kill(space: str) -> None:
        found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True).stdout.split()
        subprocess.run(["kill", "-9", *found], capture_output=True)


@contextmanager
def two_hosts(folder: Path, *, loopback_names: bool = False) -> Iterator[TwoHosts]:
    """Gives two hosts, `host-0` and `host-1`; they share this machine's disk and cores."""
    hosts = TwoHosts(folder, f"harness-{uuid.uuid4().hex[:6]}", loopback_names=loopback_names)
    try:
        hosts.connect()
        yield hosts
    finally:
        hosts.remove()


def why_not() -> str:
    """Returns why this machine cannot play two hosts; empty where it can."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        return "needs iproute2 and util-linux"
    name = f"harness-{uuid.uuid4().hex[:6]}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return f"no network namespace can be made: {tried.stderr.strip()}" if tried.returncode else ""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
