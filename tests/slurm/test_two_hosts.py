"""`harness submit` on a SLURM whose two nodes are two hosts: networks and names of their own, one process on each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hosts import two_hosts, why_not
from tests.house import build_house
from tests.slurm.cluster import Cluster, missing_programs
from tests.slurm.conftest import Lab

WHY_NOT = why_not() or ", ".join(missing_programs())
pytestmark = [
    pytest.mark.slow,
    pytest.mark.launch,
    pytest.mark.skipif(bool(WHY_NOT) and not os.environ.get("CI_REQUIRE_HOSTS"), reason=WHY_NOT),
]
# Notes the host on which each rank has trained; its own name is all that tells two hosts of one disk apart.
NOTE = 'open(f"rank-{os.environ.get(\'RANK\')}-on-{os.uname().nodename}", "a").close()\n'


def test_runs_over_two_hosts_are_recorded(tmp_path: Path) -> None:
    house = build_house(tmp_path / "house")
    with (house.path / "harness/models/faulty.py").open("a") as file:
        file.write(NOTE)
    (tmp_path / "slurm").mkdir()
    with two_hosts(tmp_path, loopback_names=True) as hosts, Cluster(tmp_path / "slurm", hosts) as cluster:
        lab = Lab(cluster, house)
        suite = lab.suite("two_hosts", "matrix: {train.num_processes: [2]}\nseeds: 2\n")
        [job] = lab.submit(suite, "--processes-per-node", "1", "--runs-per-task", "2")
        lab.wait_for_end(job)
    results = house.results("two_hosts").values()
    assert [(one["status"], one["num_processes"]) for one in results] == [("ok", 2)] * 2, lab.log(suite)
    assert {path.name for path in house.path.glob("rank-*")} >= {"rank-0-on-host-0", "rank-1-on-host-1"}
