"""Suites through a real SLURM: whatever ends a task, its runs end well, once, and leave nobody behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.records.read import read_result
from tests.slurm.conftest import Lab

pytestmark = [pytest.mark.launch, pytest.mark.slow]

# All suites have one results root, where a run that two of them have is done once: each has runs of its own.
ON_N2 = ("--sbatch", "--nodelist=n2", "--cpus-per-task", "2")


def test_arrays_run_what_was_planned_and_a_failed_run_ends_no_other(lab: Lab) -> None:
    text = "one_at_a_time: {train.global_batch_size: [32, 128, 256], model.fault: [raise]}\n"
    suite = lab.suite("several", f"{text}anchors: {{label: global_batch_size=32, runs: 2}}\n")
    text = suite.read_text()
    jobs = lab.submit(suite, "--runs-per-task", "2", "--sbatch", "--hold")  # else they may have ended when asked about
    assert len(jobs) == 2, "this cluster takes two tasks an array"
    suite.write_text(text.replace("lr: 0.1", "lr: 0.001"))  # the live file is not read again
    again = lab.harness("submit", str(suite), "--set", "optimizer.lr=0.1")
    assert "several: 7 runs; left out: 7 in the queue; to submit: 0" in again.stderr
    shown = lab.harness("status", str(suite), "--watch", "--set", "optimizer.lr=0.1")
    assert "with 7 runs; jobs" in shown.stdout, shown
    for job in jobs:
        lab.cluster.ask("scontrol", "release", str(job))
    for job in jobs:
        lab.wait_for_end(job)

    results = lab.house.results("several")
    assert {label: result["status"] for label, result in results.items()} == {
        "base 0": "ok",
        "global_batch_size=32 0": "ok",
        "global_batch_size=128 0": "ok",
        "global_batch_size=256 0": "ok",
        "fault=raise 0": "failed",
    }, lab.log(suite)
    assert {result["spec"]["optimizer"]["lr"] for result in results.values()} == {0.1}
    stored = [read_result(path) for path in (lab.house.path / "results/several").glob("*/*/result.json")]
    anchors = {(result.label, result.seed, result.spec["repeat"]) for result in stored if result.is_anchor}
    assert anchors == {("global_batch_size=32", 0, 1), ("global_batch_size=32", 0, 2)}
    assert "several on" not in lab.log(suite), "no table: other tasks have not ended"

    suite.write_text(text)
    gaps = lab.harness("submit", str(suite), "--dry-run")
    assert "7 runs; left out: 6 done; to submit: 1" in gaps.stderr
    assert "queue: empty" in lab.harness("status", str(suite), "--watch").stdout


def test_two_nodes_train_one_run_and_count_each_test_image_once(lab: Lab) -> None:
    suite = lab.suite("two_nodes", "matrix: {train.num_processes: [2]}\n")
    with (lab.house.path / "harness/models/faulty.py").open("a") as file:
        file.write("open(f\"rank-{os.environ.get('RANK')}-of-{os.environ.get('SLURMD_NODENAME')}\", \"a\").close()\n")
    [job] = lab.submit(suite, "--processes-per-node", "1")
    lab.wait_for_end(job)
    result = lab.result(suite)
    assert (result["status"], result["num_processes"]) == ("ok", 2), lab.log(suite)
    [path] = (lab.house.path / "results/two_nodes").glob("*/*/predictions.npz")
    with np.load(path) as stored:
        assert stored["confusion_test"].sum() == 359
        assert (stored["label"] == stored["prediction"]).sum() == np.trace(stored["confusion_test"])
    ranks = {file.name.partition("-of-")[2] for file in lab.house.path.glob("rank-[01]-of-*")}
    assert ranks >= {"n1", "n2"}, "a rank on each"


def resumed(lab: Lab, suite: Path) -> None:
    """Asserts that the only run of a suite was taken up again where it stopped, once, and ended well."""
    result = lab.result(suite)
    assert result["status"] == "ok", lab.log(suite)
    assert len(result["resumed_at_steps"]) == 1, lab.log(suite)
    assert 2 <= result["resumed_at_steps"][0] < 23
    assert result["attempt"] == 2
    assert "restart 1" in lab.log(suite)


def test_requeued_in_mid_run_it_goes_on(lab: Lab) -> None:
    suite = lab.suite("requeued", "matrix: {model.slow: [0.5]}\n")
    [job] = lab.submit(suite)
    lab.wait_for_checkpoint(suite)
    lab.cluster.ask("scontrol", "requeue", f"{job}_0")
    lab.wait_for_end(job)
    resumed(lab, suite)


@pytest.mark.parametrize(("partition", "slow"), [("low", 0.51), ("graceful", 0.52)])
def test_preempted_it_goes_on(lab: Lab, partition: str, slow: float) -> None:
    suite = lab.suite(f"preempted_{partition}", f"matrix: {{model.slow: [{slow}]}}\n")
    [job] = lab.submit(suite, "--partition", partition, *ON_N2)
    lab.wait_for_checkpoint(suite)
    lab.cluster.ask("sbatch", "-p", "high", "-w", "n2", "-c", "2", "-o", "/dev/null", "--wrap", "sleep 2")
    lab.wait_for_end(job)
    resumed(lab, suite)


def test_its_node_crashes_and_it_ends_elsewhere(lab: Lab) -> None:
    suite = lab.suite("crashed", "matrix: {model.slow: [0.53]}\n")
    lab.cluster.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=other")
    [job] = lab.submit(suite)
    lab.wait_for_checkpoint(suite)
    lab.cluster.ask("scontrol", "update", "nodename=n1", "state=resume")
    lab.cluster.crash_node("n2")
    try:
        lab.wait_for_end(job)
    finally:
        lab.cluster.start_node("n2")
        lab.cluster.ask("scontrol", "update", "nodename=n2", "state=resume")
    resumed(lab, suite)


def test_cancelled_it_stays_away(lab: Lab) -> None:
    suite = lab.suite("cancelled", "matrix: {model.slow: [0.54]}\n")
    [job] = lab.submit(suite, *ON_N2)
    lab.wait_for_checkpoint(suite)
    lab.cluster.ask("scancel", str(job))
    lab.wait_for_end(job)
    assert lab.result(suite)["status"] == "preempted"
    assert "restart 1" not in lab.log(suite)
    assert "to submit: 1" in lab.harness("submit", str(suite), "--dry-run").stderr


def test_the_trackers_of_a_suite_follow_it_to_the_cluster(lab: Lab) -> None:
    suite = lab.suite("mirrored", "matrix: {model.slow: [0.001]}\ntrackers: [wandb, tensorboard]\n")
    [job] = lab.submit(suite)  # W&B is offline here
    lab.wait_for_end(job)
    folder = lab.house.path / "results/mirrored"
    assert len(list(folder.glob("*/*/wandb/offline-run-*/*.wandb"))) == 1, lab.log(suite)
    assert list((folder / "tensorboard").rglob("events.out.tfevents.*")), lab.log(suite)


def test_one_job_by_hand_saves_queues_again_and_goes_on(lab: Lab) -> None:
    suite = lab.suite("by_hand", "matrix: {model.slow: [0.55]}\n")
    job = lab.sbatch("slurm/single_job.sbatch", suite.name)
    lab.wait_for_checkpoint(suite)
    lab.cluster.ask("scancel", "--batch", "--signal=USR1", str(job))  # as --signal does before the limit
    lab.wait_for_end(job)
    [log] = lab.out(job).values()
    result = lab.result(suite)
    assert (result["status"], len(result["resumed_at_steps"]), result["attempt"]) == ("ok", 1, 2), log
    assert "SIGUSR1: saving" in log and "restart 1" in log
    assert "by_hand on" in log, "the table"


def test_an_array_by_hand_divides_the_runs_and_tries_each_once(lab: Lab) -> None:
    text = "matrix: {model.slow: [0.1, 0.11, 0.12]}\ninclude: [{model.fault: raise}]\nseeds: 2\n"
    suite = lab.suite("array_by_hand", text)
    job = lab.sbatch("--array=0-1", "slurm/array_job.sbatch", suite.name)
    lab.wait_for_end(job)
    logs = lab.out(job)
    assert list(logs) == [f"harness-{job}_0.out", f"harness-{job}_1.out"]
    results = lab.house.results("array_by_hand")
    assert [result["status"] for _, result in sorted(results.items())] == ["failed"] * 2 + ["ok"] * 6, logs
    assert {result["attempt"] for result in results.values()} == {1}, logs
    shares = [log.count("✓") for log in logs.values()]
    assert sum(shares) == 6 and min(shares) > 0, logs
    beyond = lab.sbatch("--array=1", "slurm/array_job.sbatch", suite.name, "--only", "label=slow=0.1")
    lab.wait_for_end(beyond)
    assert "skipped" in lab.out(beyond)[f"harness-{beyond}_1.out"]


def test_at_its_time_limit_it_saves_queues_again_and_goes_on(lab: Lab, limited: tuple[Path, int]) -> None:
    suite, job = limited
    lab.wait_for_end(job)
    result = lab.result(suite)
    assert result["status"] == "ok", lab.log(suite)
    assert result["resumed_at_steps"], lab.log(suite)
    assert "SIGUSR1: saving" in lab.log(suite)


PLUGIN = """from torch import nn
from harness.registry import architecture


@architecture("mine")
def mine(image, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(image.height * image.width, num_classes))
"""


def test_a_task_trains_a_plugin_from_outside_unless_it_has_changed(lab: Lab) -> None:
    file = lab.house.path / "mine.py"
    file.write_text(PLUGIN)
    suite = lab.suite("outside", "plugins: [mine.py]\ninclude: [{model: mine}]\n")
    [job] = lab.submit(suite, "--sbatch", "--hold")
    file.write_text(PLUGIN.replace("nn.Flatten()", "nn.Flatten(1)"))
    lab.cluster.ask("scontrol", "release", str(job))
    lab.wait_for_end(job)
    assert f"error: {file}: it, or a module that it imports, has changed" in lab.log(suite)
    file.write_text(PLUGIN)
    [job] = lab.submit(suite)
    lab.wait_for_end(job)
    assert lab.result(suite)["status"] == "ok", lab.log(suite)


def test_the_rounds_of_a_race_follow_each_other(lab: Lab) -> None:
    text = "matrix: {optimizer.lr: [0.00001, 0.101, 0.102]}\nseeds: {race: best, looks: [2, 3], margin: 0.09}\n"
    suite = lab.suite("raced", text)
    first = lab.harness("submit", str(suite), "--runs-per-task", "6")
    assert first.returncode == 0, first.stderr
    assert "look 1 of 2 comes at 2 seeds" in first.stderr
    followed = lab.harness("submit", str(suite), "--runs-per-task", "6", "--follow")
    assert followed.returncode == 0, followed.stderr
    assert "left out: 6 in the queue" in followed.stderr or "look 1 of 2, at 2 seeds" in followed.stderr
    assert "Race over" in followed.stderr
    [race] = (lab.house.path / "results/raced/races").iterdir()
    decisions = [path.read_text() for path in sorted(race.glob("look-*.json"))]
    assert 1 <= len(decisions) <= 2
    again = lab.harness("submit", str(suite), "--follow")
    assert again.stdout == ""
    assert [path.read_text() for path in sorted(race.glob("look-*.json"))] == decisions
    manifests = sorted(lab.house.path.glob("results/raced/submissions/*/manifest.jsonl"))
    assert [len(path.read_text().splitlines()) - 1 for path in manifests] in ([6], [6, 2], [6, 3])
