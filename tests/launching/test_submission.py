"""What is submitted to a cluster, without one: scripts against golden files, which runs, which lines, which nodes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.cli import main
from harness.data.prepare import fingerprint
from harness.errors import HarnessError
from harness.launching.launch_command import Launcher
from harness.launching.manifest import Manifest
from harness.launching.slurm import cluster
from harness.launching.slurm.batch import Array, Resources, arrays, render
from harness.launching.slurm.submission import TEMPLATE, read_queue
from harness.running.all_runs import _open_of
from harness.suite.plan import Plan, PlannedRun, load_suite
from tests.house import ROOT
from tests.records.test_store import finished

GOLDEN = Path(__file__).parent / "golden"
SUITE = """\
name: s
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}
matrix: {train.epochs: [1, 2, 3], train.num_processes: [2, 1]}
"""
Answers = dict[str, str]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of six runs, of two world sizes, in the folder where the verbs are called."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What SLURM's commands answer; sbatch takes all, as jobs 11, 12, ..."""
    answers = {"scontrol": "MaxArraySize            = 3\n", "squeue": ""}
    taken = iter(range(11, 99))

    def ask(name: str, *_: str) -> str:
        if name == "sbatch":
            return f"{next(taken)};cluster\n"
        return answers[name]

    monkeypatch.setattr(cluster, "_ask", ask)
    return answers


def queue(*tasks: str) -> str:
    """Returns what squeue answers."""
    return "".join(f"{cluster.ANSWER}{task}\n" for task in tasks)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Calls a verb; returns its exit code, stdout and stderr."""
    try:
        main(list(arguments))
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def plan_of(path: Path) -> Plan:
    """Returns the plan as the verbs make it."""
    return load_suite(path).plan(fingerprint, num_processes=1)


CASES: dict[str, tuple[Array, Resources]] = {
    "cpu": (Array(1, 1, 1, 1, 1), Resources()),
    "all": (
        Array(7, 24, 4, 16, 2),
        Resources(
            partition="gpu",
            account="lab",
            time="1-12",
            constraint="a100&nvme",
            memory="64G",
            gpus_per_node="a100:8",
            cpus_per_task=32,
            max_tasks=3,
            runs_per_task=4,
            stop_early_seconds=600,
            max_restarts=9,
            sbatch=("--mail-type=END", "--requeue"),
            setup=("module load cuda", 'export DATA="$HOME/data"'),
        ),
    ),
}


def test_an_array_index_beyond_the_plan_is_one_sentence(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    text = render(TEMPLATE.read_text(), Array(1, 5, 2, 1, 1), Resources(), name="s", manifest=manifest, python="echo")
    for task, code, words in (
        ("2", 0, "--lines 5-5"),
        ("3", 2, "error: task 3 is beyond the plan, whose last task is 2"),
    ):
        environment = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_JOB_ID": "1", "SLURMD_NODENAME": "n"}
        done = subprocess.run(["bash"], input=text, env=environment, capture_output=True, text=True)
        assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done


@pytest.mark.parametrize(("script", "log"), [("single_job", "%x-%j.out"), ("array_job", "%x-%A_%a.out")])
def test_scripts_by_hand_are_complete(script: str, log: str, tmp_path: Path) -> None:
    path = ROOT / f"slurm/{script}.sbatch"
    options = re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", path.read_text(), re.MULTILINE)
    asked = dict(options)
    assert {"time", "signal", "requeue", "open-mode"} <= asked.keys()
    assert (asked["signal"], asked["output"]) == ("B:USR1@300", log)
    assert "##SBATCH --gpus-per-node=1" in path.read_text(), "to fill in"
    none = {"PATH": "/usr/bin:/bin"}
    elsewhere = subprocess.run(
        ["bash", str(path), "suite.yaml"], cwd=tmp_path, env=none, capture_output=True, text=True
    )
    assert elsewhere.returncode == 2
    assert re.fullmatch(
        r"error: there is neither .venv/bin/harness in .* nor a harness on PATH\nhint: .*\n", elsewhere.stderr
    )


def test_no_rights_in_the_folder_of_logs_is_one_sentence(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, out, err = call(capsys, "submit", str(suite))
    assert (code, out) == (2, "")
    assert re.search(
        r"cannot make the folder of logs .*/logs: Permission denied\nhint: choose another with --output", err
    )


@pytest.mark.parametrize("name", CASES)
def test_scripts_are_as_the_golden_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    array, resources = CASES[name]
    template = TEMPLATE.read_text()
    manifest = Path("/shared/50% of it/results/s/submissions/20261121T120000Z/manifest.jsonl")
    text = render(template, array, resources, name="s", manifest=manifest, python="/shared/python")
    text = text.replace(str(ROOT), "/repository")
    assert text == (GOLDEN / f"{name}.sbatch").read_text()
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_runs_are_divided_by_world_size_nodes_and_array_size(suite: Path) -> None:
    def divided(resources: Resources, sizes: list[int], most: int = 1001) -> list[tuple[int, int, int, int, int]]:
        [run, *_] = plan_of(suite).runs
        runs = [with_processes(run, size) for size in sizes]
        return [(a.first_line, a.last_line, a.num_processes, a.nodes, a.tasks) for a in arrays(runs, resources, most)]

    assert divided(Resources(), [1, 1, 1, 4]) == [(1, 3, 1, 1, 3), (4, 4, 4, 1, 1)]
    assert divided(Resources(gpus_per_node="4"), [1, 4, 8]) == [(1, 1, 1, 1, 1), (2, 2, 4, 1, 1), (3, 3, 8, 2, 1)]
    assert divided(Resources(runs_per_task=2), [1] * 7, most=3) == [(1, 6, 1, 1, 3), (7, 7, 1, 1, 1)]
    assert [list(Array(3, 7, 2, 1, 1).lines(task)) for task in range(3)] == [[3, 4], [5, 6], [7]]
    with pytest.raises(HarnessError, match="7 processes do not divide into 4 equal nodes"):
        divided(Resources(processes_per_node=2), [7])


def with_processes(run: PlannedRun, size: int) -> PlannedRun:
    """Returns a run of another world size."""
    train = run.spec.train.model_copy(update={"num_processes": size})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"train": train})})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"time": "4h"}, "--time 4h"),
        ({"time": "5"}, "less than half"),
        ({"time": "0:30", "stop_early_seconds": 16}, "less than half"),
        ({"gpus_per_node": "many"}, "--gpus-per-node many"),
        ({"gpus_per_node": "2", "processes_per_node": 4}, "4 processes on a node with 2 GPUs"),
        ({"sbatch": ("mail",)}, "no option of sbatch"),
        ({"sbatch": ("--a\nrm -r /",)}, "--sbatch '--a.*cannot be printed"),
        ({"partition": "x\ntouch ran"}, "--partition 'x.*cannot be printed"),
        ({"account": "x\rtouch ran"}, "--account 'x.*cannot be printed"),
        ({"time": "60\n"}, "--time '60.*cannot be printed"),
        ({"constraint": "x\x85"}, "--constraint 'x.*cannot be printed"),
        ({"memory": "1G\x00"}, "--memory '1G.*cannot be printed"),
        ({"gpus_per_node": "1\n"}, "--gpus-per-node '1.*cannot be printed"),
    ],
)
def test_what_sbatch_would_not_take_is_refused(asked: dict[str, object], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        Resources(**asked)  # pyright: ignore[reportArgumentType]
    assert Resources(time="1-0:10", stop_early_seconds=43000)
    assert Resources(time="UNLIMITED")


def test_a_newline_in_an_option_is_refused_before_anything_is_submitted(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "submit", str(suite), "--partition", "gpu\ntouch ran #")
    assert (code, out) == (2, "")
    assert "--partition 'gpu\\ntouch ran #' has a character that cannot be printed\nhint: " in err
    assert not (suite.parent / "results").exists()


@pytest.mark.parametrize(
    "option",
    ["partition", "account", "time", "constraint", "memory", "gpus-per-node", "sbatch", "setup", "only"],
)
def test_an_empty_text_is_not_taken_for_a_default(suite: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    told = f"error: --{option} is empty\nhint: give it a value, or leave the option out\n"
    assert call(capsys, "submit", str(suite), "--dry-run", f"--{option}=") == (2, "", told)


def test_a_folder_with_a_newline_is_refused() -> None:
    template, array = TEMPLATE.read_text(), Array(1, 1, 1, 1, 1)
    with pytest.raises(HarnessError, match=r"the path '/a.*cannot be printed"):
        render(template, array, Resources(), name="s", manifest=Path("/a\nb/manifest.jsonl"), python="/python")


def test_open_runs_are_frozen_and_submitted_once(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "submit", str(suite), "--processes-per-node", "1", "--runs-per-task", "2")
    assert code == 0, err
    assert "s: 6 runs; to submit: 6" in err
    assert out.startswith("job 11: 2 tasks of 2 runs at most, 1 node each\njob 12: 2 tasks of 2 runs at most, 2 nodes")
    [folder] = (suite.parent / "results/s/submissions").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "array-0.sbatch",
        "array-1.sbatch",
        "logs",
        "manifest.jsonl",
        "submission.json",
    ]
    suite.write_text("name: other\n")
    manifest = folder / "manifest.jsonl"
    whole = Manifest.read(manifest)
    assert (whole.suite, whole.output) == ("s", suite.parent / "results")
    assert [run.spec.train.num_processes for run in whole.runs] == [1, 1, 1, 2, 2, 2]
    assert Manifest.read(manifest, "3-4").runs == whole.runs[2:4]
    suite.write_text(SUITE)
    assert {run.run_id for run in whole.runs} == {run.run_id for run in plan_of(suite).runs}

    slurm["squeue"] = queue("11|1|RUNNING|None", "12|0|PENDING|Resources", "12|7|PENDING|None", "13|N/A|RUNNING|None")
    _, out, err = call(capsys, "submit", str(suite), "--dry-run")
    assert "6 runs; left out: 3 in the queue; to submit: 3" in err, "line 3, and lines 4 and 5"
    assert "first=$((1 + SLURM_ARRAY_TASK_ID * 1))" in out
    found = read_queue(Path("results"), "s")
    assert found.text() == "queue: tasks: 1 running, 1 pending (Resources); with 3 runs; jobs 11, 12"
    assert found.as_json()["runs"] == 3

    slurm["squeue"] = ""
    assert len(list((suite.parent / "results/s/submissions").iterdir())) == 1, "a dry run writes nothing"
    assert "queue: empty; logs:" in call(capsys, "status", str(suite), "--watch")[1]


def test_the_trackers_of_a_suite_are_frozen_with_it(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.write_text(SUITE + "trackers: [wandb]\nwandb: {project: p, entity: e}\n")
    assert call(capsys, "submit", str(suite))[0] == 0
    [manifest] = suite.parent.glob("results/s/submissions/*/manifest.jsonl")
    suite.write_text(SUITE)
    mirroring = Manifest.read(manifest).mirroring
    assert (mirroring.trackers, mirroring.wandb.project, mirroring.wandb.entity) == (("wandb",), "p", "e")


def test_a_manifest_that_lost_runs_of_the_queue_is_an_error(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "submit", str(suite), "--runs-per-task", "2")[0] == 0
    [manifest] = suite.parent.glob("results/s/submissions/*/manifest.jsonl")
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:2]))
    slurm["squeue"] = queue("11|1|RUNNING|None")
    code, _, err = call(capsys, "status", str(suite), "--watch")
    assert (code, f"cannot read {manifest.relative_to(suite.parent)}: " in err) == (2, True), err


def test_what_is_done_on_any_system_is_left_out(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third, fourth, *_ = plan_of(suite).runs
    for run, system, status in ((first, "aa", "ok"), (second, "bb", "diverged"), (third, "aa", "failed")):
        finished(Path("results"), run.run_id, system, status)
    assert "left out: 2 done; to submit: 4" in call(capsys, "submit", str(suite))[2]

    # A task that starts again leaves out what it did before, wherever that was.
    [folder] = (suite.parent / "results/s/submissions").iterdir()
    manifest = folder / "manifest.jsonl"
    assert len(Manifest.read(manifest).without_done().runs) == 4
    finished(Path("results"), fourth.run_id, "bb")
    left = {run.run_id for run in Manifest.read(manifest).without_done().runs}
    assert fourth.run_id not in left and third.run_id in left and len(left) == 3
    # Ranks of one launch must agree on it: they read all runs, and rank 0 leaves out what is done.
    whole = Manifest.read(manifest)
    rank: Any = SimpleNamespace(manifest=whole, system={"system_id": "cc"}, is_done=lambda run: False)
    assert {whole.runs[place].run_id for place in _open_of(rank, list(whole.runs))} == left


def test_a_refused_array_leaves_those_before_it_recorded(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*command: str) -> str:
        if command[0] == "sbatch" and "array-1" in command[-1]:
            raise HarnessError("sbatch: error: invalid partition", "the words are SLURM's own")
        return "11" if command[0] == "sbatch" else slurm[command[0]]

    monkeypatch.setattr(cluster, "_ask", refuse)
    code, _, err = call(capsys, "submit", str(suite), "--runs-per-task", "2")
    assert (code, "invalid partition" in err) == (2, True)
    slurm["squeue"] = queue("11|0|RUNNING|None", "11|1|RUNNING|None")
    assert "left out: 3 in the queue; to submit: 3" in call(capsys, "submit", str(suite), "--dry-run")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lines", "0-1"], "has 6 runs"),
        (["--lines", "6-7"], "has 6 runs"),
        (["--lines", "2"], "has 6 runs"),
        (["--set", "train.epochs=1"], "frozen manifest"),
        (["--smoke"], "frozen manifest"),
        (["--local"], "frozen manifest"),
    ],
)
def test_a_manifest_is_run_as_it_is(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    call(capsys, "submit", str(suite))
    [manifest] = suite.parent.glob("results/s/submissions/*/manifest.jsonl")
    code, _, err = call(capsys, "run", str(manifest), *arguments)
    assert (code, words in err) == (2, True), err


def test_a_manifest_of_another_meaning_is_refused(
    suite: Path, slurm: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "submit", str(suite))
    [manifest] = suite.parent.glob("results/s/submissions/*/manifest.jsonl")
    head, first, *rest = manifest.read_text().splitlines()
    for spoilt, words in (
        ([head, first.replace('"lr":0.1', '"lr":0.2')], "is another config now"),
        ([head, first.replace('"lr"', '"rate"')], "rate"),
        ([head, first[:-9]], ": Invalid JSON"),
        ([head[:-9], first], ": Invalid JSON"),
        ([head.replace('"suite"', '"later"'), first], ": suite: Field required"),
        ([], ": Invalid JSON"),
    ):
        manifest.write_text("\n".join([*spoilt, *rest] if spoilt else []))
        code, _, err = call(capsys, "run", str(manifest))
        assert (code, f"error: cannot read {manifest}: " in err, words in err) == (2, True, True), err
    manifest.write_text("\n".join([head, first[:-9], *rest]))
    assert len(Manifest.read(manifest, "2-6").runs) == 5, "the others are not looked at"
    assert call(capsys, "run", str(suite), "--lines", "1-2")[0] == 2


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of two nodes."""
    job = {"SLURM_JOB_ID": "30017", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    answers = {"hostnames": "n1\nn2\n", "node": "NodeName=n1 NodeAddr=10.0.0.1 NodeHostName=n1\n"}
    monkeypatch.setattr(cluster, "_ask", lambda *command: answers[command[2]])


@pytest.mark.usefixtures("two_nodes")
def test_a_launch_over_two_nodes(tmp_path: Path) -> None:
    launcher = Launcher(shared_folder=tmp_path)
    assert launcher.launch_folder_parent() == tmp_path
    *srun, bash, option, line = launcher.command(4, tmp_path)
    assert (srun[0], bash, option) == ("srun", "bash", "-c")
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1"} <= set(srun)
    echo = line.replace(f"exec {sys.executable}", "printf '%s\\n'", 1)
    words = subprocess.run(["bash", "-c", echo], env={"SLURM_NODEID": "1"}, capture_output=True, text=True)
    shown = " ".join(words.stdout.splitlines())
    assert "--num_machines 2 --num_processes 4 --rdzv_backend c10d" in shown
    assert "--main_process_ip 10.0.0.1 --main_process_port 15017 --machine_rank 1" in shown
    assert "--rdzv_conf is_host=0,read_timeout=300" in shown
    assert shown.endswith(f"worker.py {tmp_path}")
    config = yaml.safe_load((tmp_path / "accelerate.yaml").read_text())
    assert (config["same_network"], config["num_machines"]) == (False, 2)

    assert launcher.command(1, tmp_path)[0] == sys.executable, "one process needs one node"
    with pytest.raises(HarnessError, match="3 processes do not divide into the 2 nodes"):
        launcher.command(3, tmp_path)


@pytest.mark.usefixtures("two_nodes")
def test_a_config_of_ones_own_goes_over_two_nodes_too(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_GPU\nuse_cpu: true\nsame_network: true\nnum_processes: 2\n")
    line = Launcher(own).command(2, tmp_path)[-1]
    assert str(tmp_path / "accelerate.yaml") in line
    config = yaml.safe_load((tmp_path / "accelerate.yaml").read_text())
    assert config == {"distributed_type": "MULTI_GPU", "use_cpu": True, "same_network": False, "num_processes": 2}


def test_outside_of_a_job_a_launch_stays_on_this_machine(tmp_path: Path) -> None:
    assert Launcher(shared_folder=tmp_path).launch_folder_parent() is None


Answer = Callable[[str, str], None]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Puts scripts in the place of SLURM's commands."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def put(command: str, script: str) -> None:
        (tmp_path / command).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / command).chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 3", "squeue: exit code 3"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", ""),  # SLURM has forgotten the job
        ("echo Welcome; echo 'from 7|8'", ""),
        ("echo 'harness|3|x|RUNNING|None'", "squeue answered in an unknown form: '3|x|RUNNING|None'"),
        ("echo 'harness|3|1|RUN'", "squeue answered in an unknown form: '3|1|RUN'"),
        ("echo 'harness|'", "squeue answered in an unknown form: nothing"),
        (r"printf 'harness|\377|1|RUNNING|None\n'", "squeue answered in an unknown form"),
    ],
)
def test_odd_answers_of_squeue(answer: Answer, script: str, expected: str) -> None:
    answer("squeue", script)
    if expected:
        with pytest.raises(HarnessError, match=re.escape(expected)):
            cluster.queued_tasks([3])
    else:
        assert cluster.queued_tasks([3]) == []


def test_the_queue_after_a_login_banner(answer: Answer) -> None:
    answer("squeue", "printf 'Welcome\\n\\nharness|3|1|PENDING|a|b\\nharness|3|N/A|RUNNING|None\\n'")
    assert cluster.queued_tasks([3]) == [cluster.QueuedTask(3, 1, "PENDING", "a|b")]
    assert cluster.queued_tasks([4]) == [], "of another job"


def test_a_login_banner_before_the_job_id_does_not_lose_it(answer: Answer, tmp_path: Path) -> None:
    for banner, line in (("Welcome to n1", "17"), ("2026\\n* 3 jobs *", "17;cluster"), ("", "17 ")):
        answer("sbatch", f"printf '{banner}\\n{line}\\n'")
        assert cluster.submit(tmp_path / "script") == 17


@pytest.mark.parametrize("words", ["", "Welcome", "Submitted batch job 17", "17 queued", ";17"])
def test_an_answer_without_a_job_id_is_a_sentence(answer: Answer, tmp_path: Path, words: str) -> None:
    answer("sbatch", f"echo '{words}'")
    with pytest.raises(HarnessError, match=r"sbatch answered without a job id: (nothing|')") as raised:
        cluster.submit(tmp_path / "script")
    assert "scancel it" in raised.value.hint


def test_odd_answers_of_scontrol(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    answer("scontrol", "printf 'Welcome\\nMaxArraySize            = 4\\n'")
    assert cluster.max_array_size() == 4
    for words, expected in (
        ("MaxArraySize = 0", "without a MaxArraySize above 0"),
        ("MaxArraySize = many", "without a MaxArraySize above 0: 'MaxArraySize = many'"),
        ("", "without a MaxArraySize above 0: nothing"),
        ("x" * 500, r"without a MaxArraySize above 0: 'x{120}\.\.\.'"),
    ):
        answer("scontrol", f"echo '{words}'")
        with pytest.raises(HarnessError, match=expected):
            cluster.max_array_size()

    nodes = cluster.Allocation(3, 2)
    for words in ("", "n1"):
        answer("scontrol", f"echo '{words}'")
        with pytest.raises(HarnessError, match=f"named {len(words.split())} of the 2 nodes"):
            nodes.first_address()
    answer("scontrol", "echo Welcome; [ $2 = hostnames ] && printf 'n1\\nn2\\n' || echo NodeName=$4 NodeAddr=a-of-$4")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    assert nodes.first_address() == "a-of-n1"


def test_a_command_that_cannot_be_called_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeue").write_bytes(b"\x7fELF, and no more")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="cannot call squeue: Exec format error"):
        cluster.queued_tasks([3])


def test_without_slurm_the_array_size_is_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster.max_array_size() == 1001
    with pytest.raises(HarnessError, match="cannot call squeue: No such file"):
        cluster.queued_tasks([3])
