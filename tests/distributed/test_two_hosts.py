"""A launch over two hosts, each with a network of its own: `accelerate launch` on both, as docs/multi_gpu.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.hosts import ADDRESSES, TwoHosts, two_hosts, why_not
from tests.house import ROOT, House
from tests.processes import wait_for

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.launch,
    pytest.mark.skipif(bool(WHY_NOT) and not os.environ.get("CI_REQUIRE_HOSTS"), reason=WHY_NOT),
]
SUITE = {
    "name": "two_hosts",
    "base": {
        "model": "mlp",
        "data": "digits",
        "optimizer": {"name": "sgd", "lr": 0.05},
        "train": {"epochs": 2, "global_batch_size": 64, "num_processes": 2},
    },
    "seeds": 2,
}


def launch(hosts: TwoHosts, folder: Path, suite: dict[str, object], script: Path) -> list[subprocess.Popen[bytes]]:
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    config = yaml.safe_load((ROOT / "launch" / "multi_node.yaml").read_text()) | {"use_cpu": True, "num_processes": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    accelerate = [str(Path(sys.executable).with_name("accelerate")), "launch", "--config_file", "config.yaml"]
    return [
        hosts.start(
            rank,
            *(*accelerate, "--main_process_ip", ADDRESSES[0], "--machine_rank", str(rank)),
            *(str(script), "suite.yaml", "--output", "results"),
            cwd=folder,
        )
        for rank in range(2)
    ]


@pytest.mark.parametrize("loopback_names", [False, True], ids=["names", "loopback names"])
def test_runs_over_two_hosts_are_recorded(loopback_names: bool, tmp_path: Path) -> None:
    with two_hosts(tmp_path, loopback_names=loopback_names) as hosts:
        for process in launch(hosts, tmp_path, SUITE, ROOT / "harness" / "run.py"):
            assert process.wait(300) == 0, hosts.printed(0) + hosts.printed(1)
    results = [json.loads(path.read_text()) for path in tmp_path.glob("results/two_hosts/*/*/result.json")]
    assert [(result["status"], result["num_processes"]) for result in results] == [("ok", 2)] * 2


def test_a_host_that_disappears_ends_the_launch(house: House, tmp_path: Path) -> None:
    slow = {"name": "faulty", "slow": 0.1}
    train = {"epochs": 1000, "global_batch_size": 64, "num_processes": 2, "timeout_seconds": 10}
    suite = {**SUITE, "base": {**SUITE["base"], "model": slow, "train": train}, "seeds": 1}  # type: ignore[dict-item]
    with two_hosts(tmp_path) as hosts:
        first, second = launch(hosts, tmp_path, suite, house.path / "harness" / "run.py")
        assert wait_for(lambda: any(tmp_path.glob("results/two_hosts/*/*/events.jsonl")), 120), hosts.printed(0)
        time.sleep(2.0)
        hosts.lose(1)
        assert wait_for(lambda: second.poll() is not None, 60)
        assert first.wait(180) != 0
    [path] = tmp_path.glob("results/two_hosts/*/*/result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "failed" and "Timed out waiting" in result["cause"]["message"]
