"""The network interface by which the ranks of several machines find each other.

Gloo binds to the address of the host's own name. Where that is a loopback address, as Debian's installer leaves it
(`127.0.1.1`), no other machine reaches it. So the interface is named that leads to the first machine; NCCL leaves
loopback interfaces alone by itself.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from datetime import timedelta

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

VARIABLE = "GLOO_SOCKET_IFNAME"
_KEY = "harness: address of the first machine"
_PATIENCE = timedelta(minutes=10)  # for machines that start later


def name_interface() -> None:
    """Sets `GLOO_SOCKET_IFNAME` in a launch of several machines, unless it is set; every rank calls it first of all."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not several or os.environ.get(VARIABLE) or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    first, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(first, port, is_master=False, wait_for_workers=False, timeout=_PATIENCE)
    address, own = _ways(first, port)
    if os.environ.get("GROUP_RANK") != "0":
        store.set(_KEY, address)
    elif ipaddress.ip_address(own).is_loopback:  # of its own name: the other machines know a better address
        own = store.get(_KEY).decode()
    if name := _interface_of(own):
        os.environ[VARIABLE] = name


def _ways(host: str, port: int) -> tuple[str, str]:
    """Returns the address of a host, and that of this machine on the way there; nothing is sent."""
    family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as way:
        way.connect(where)
        return str(where[0]), str(way.getsockname()[0])


def _interface_of(address: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in addresses):
            return name
    return None
