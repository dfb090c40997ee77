"""The verbs, called in this process; a process of its own only where that is the point."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.app import tell_what_counts
from harness.suite.schema import suite_schema
from tests.records.test_store import finished

ROOT = Path(__file__).parent.parent
SUITE = """\
name: s
base:
  model: {name: mlp, hidden_sizes: [4]}
  data: digits
  optimizer: {name: sgd, lr: 0.1}
matrix: {train.epochs: [1, 2]}
seeds: 2
"""


@pytest.fixture
def suite(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SUITE)
    return "s.yaml"


@pytest.fixture
def call(capsys):
    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert caught.value.code == code, err
        return out, err

    return run


VERBS = [
    "init",
    "list",
    "plan",
    "run",
    "submit",
    "status",
    "report",
    "compare",
    "infer",
    "visualize",
    "reproduce",
    "calibrate",
    "doctor",
    "schema",
    "wandb",
]


def test_help_names_every_verb(call):
    out, err = call("--help")
    assert not err and all(f"\n  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(call, verb):
    out, _ = call(verb, "-h")
    assert f"Usage: harness {verb}" in out


@pytest.mark.parametrize(
    "arguments",
    [["plam"], ["plan"], ["plan", "s.yaml", "--olny", "a=b"], ["plan", "s.yaml", "--set"], ["list", "a", "b", "c"]],
)
def test_a_call_that_is_wrong(call, arguments):
    out, err = call(*arguments, code=2)
    assert not out and err


def test_plan(call, suite):
    out, err = call("plan", suite)
    lines = out.splitlines()
    assert lines[0].split() == ["run_id", "seed", "label"]
    rows = [line.split()[1:] for line in lines[1:]]
    assert [seed for seed, _ in rows] == ["0", "0", "1", "1"]  # each round has an order of its own
    assert sorted(rows) == [["0", "epochs=1"], ["0", "epochs=2"], ["1", "epochs=1"], ["1", "epochs=2"]]
    assert err == "4 runs: 2 configs, 2 seeds\n"


def test_plan_for_programs(call, suite):
    out, err = call("plan", suite, "--json", "--set", "seeds=[7]", "--only", "train.epochs=2")
    rows = json.loads(out)
    assert not err and [(row["seed"], row["label"]) for row in rows] == [(7, "epochs=2")]
    assert rows[0]["spec"]["train"]["epochs"] == 2 and rows[0]["spec"]["seed"] == 7
    assert rows[0]["run_id"] in call("plan", suite, "--set", "seeds=8")[0]


def test_plan_shows_which_runs_are_anchors(call, suite):
    Path(suite).write_text(SUITE + "anchors: {runs: 2}\n")
    out, err = call("plan", suite)
    assert [line.split(maxsplit=2)[2] for line in out.splitlines()][1::5] == [
        "epochs=1 · anchor 1", "epochs=1 · anchor 2"
    ]  # fmt: skip
    assert out.count("anchor") == 2 and err == "6 runs: 2 configs, 2 seeds, 2 anchors\n"
    rows = json.loads(call("plan", suite, "--json")[0])
    assert [row["anchor"] for row in rows] == [True, False, False, False, False, True]


def test_set_and_only_may_stand_several_times(call, suite):
    out, _ = call("plan", suite, "--set", "seeds=1", "--set", "train.tf32=true", "--only", "label=epochs=1", "--json")
    assert [(row["label"], row["spec"]["train"]["tf32"]) for row in json.loads(out)] == [("epochs=1", True)]


def test_list(call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    out, err = call("list")
    kinds = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert kinds == [
        "architectures:",
        "datasets:",
        "loaders:",
        "optimizers:",
        "schedules:",
        "pictures:",
        "metrics:",
        "suites:",
        "files:",
    ]
    assert not err and re.search(r"\n  quickstart +Which small network", out)
    assert list(json.loads(call("list", "loaders", "--json")[0])) == ["loaders"]


def test_list_of_a_file_that_ships_is_its_text(call):
    assert call("list", "suites", "quickstart")[0] == (ROOT / "benchmarks/quickstart.yaml").read_text()
    assert call("list", "files", "gtx.yaml")[0] == (ROOT / "launch/gtx.yaml").read_text()
    assert json.loads(call("list", "file", "task.sh", "--json")[0]).startswith("# What batch scripts source")
    assert "hint: did you mean 'gtx.yaml'?" in call("list", "files", "gtx.yml", code=2)[1]
    assert all(text.endswith(".") for text in json.loads(call("list", "files", "--json")[0])["files"].values())


def test_a_suite_that_ships_is_planned_by_its_name_from_any_folder(call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    by_name, err = call("plan", "quickstart", "--json")
    assert not err
    assert by_name == call("plan", str(ROOT / "benchmarks/quickstart.yaml"), "--json")[0]
    assert call("plan", "quickstart", "--config_file", "cpu", "--json")[0] == by_name
    assert "did you mean 'quickstart'?" in call("plan", "quickstrat", code=2)[1]
    assert "did you mean 'vgg16_features'?" in call("plan", "benchmarks/vgg16_features.yaml", code=2)[1]
    assert "did you mean 'gtx'?" in call("plan", "quickstart", "--config_file", "gxt", code=2)[1]
    long = "x" * 300
    assert "error: cannot read" in call("plan", long, code=2)[1]


def test_a_file_wins_over_a_suite_of_its_name_and_a_line_says_so(call, suite, monkeypatch):
    tell_what_counts.cache_clear()  # a process says it once
    Path("quickstart.yaml").write_text(SUITE)
    out, err = call("plan", "quickstart", "--json")
    assert out == call("plan", suite, "--json")[0]
    told = "'quickstart' is quickstart.yaml of this folder, not the one of that name that ships with the harness\n"
    assert err == told
    assert call("plan", "s", "--json") == (out, ""), "a name that no suite of the harness has"
    monkeypatch.chdir(ROOT / "benchmarks")
    assert "folder" not in call("plan", "precision")[1], "the very file"


def test_list_of_one_name(call):
    out, _ = call("list", "architectures", "resnet18")
    assert "architecture resnet18: Residual network" in out and "\n  width  " in out
    out, _ = call("list", "optimizer", "sgd", "--json")
    own, shared = json.loads(out).values()
    assert own["lr"].startswith("required") and own["momentum"].startswith("default 0.0")
    assert list(shared) == ["weight_decay_on", "norm_bias_lr_scale"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "architcture"], "error: there is no kind 'architcture'\nhint: did you mean 'architectures'?\n"),
        (["list", "models", "x"], "error: there is no kind 'models'\nhint: "),
        (["list", "datasets", "cifar"], "error: unknown dataset 'cifar'\nhint: did you mean 'cifar10"),
    ],
)
def test_list_of_what_is_not_there(call, arguments, message):
    out, err = call(*arguments, code=2)
    assert not out and err.startswith(message)


def test_local_asks_for_micro_batches_that_fit_unless_set_says_otherwise(call, suite, monkeypatch):
    allocator, asked = "PYTORCH_CUDA_ALLOC_CONF", []
    monkeypatch.setattr(
        importlib.import_module("harness.cli.run"), "_do", lambda runs, *_, **__: asked.append(runs) or 75
    )
    monkeypatch.setenv(allocator, "")  # so that it is as before afterwards
    monkeypatch.delenv(allocator)
    for arguments, fits in (
        ([], False),
        (["--local"], True),
        (["--local", "--set", "train.retry_out_of_memory=false"], False),
    ):
        call("run", suite, *arguments, code=75)
        assert {run.spec.train.retry_out_of_memory for run in asked.pop().runs} == {fits}
        assert os.environ.get(allocator) == ("expandable_segments:True" if "--local" in arguments else None)
    monkeypatch.setenv(allocator, "max_split_size_mb:64")
    call("run", suite, "--local", code=75)
    assert os.environ[allocator] == "max_split_size_mb:64"


def test_schema(call, tmp_path):
    out, err = call("schema")
    assert not err and json.loads(out) == suite_schema()
    out, err = call("schema", str(tmp_path / "new" / "suite.schema.json"))
    assert not out and not err
    assert json.loads((tmp_path / "new" / "suite.schema.json").read_text()) == suite_schema()


def test_status_before_any_run(call, suite):
    out, err = call("status", suite)
    assert out == "s: 4 runs\n  none has been run yet\n" and not err
    assert not Path("results").exists()


def test_status(call, suite):
    run_ids = [row["run_id"] for row in json.loads(call("plan", suite, "--json")[0])]
    cause = {"kind": "OutOfMemoryError", "message": "out of memory", "rank": 0}
    finished(Path("results"), run_ids[0], "m")
    finished(Path("results"), run_ids[1], "m", "oom", cause=cause, label="epochs=2")
    finished(Path("results"), "of another plan", "m")
    finished(Path("results"), run_ids[0], "n")
    out, _ = call("status", suite)
    first, second, *lines = out.splitlines()
    assert first == "s: 4 runs" and second in (  # in the order of the plan
        "  on machine m (m): 1 ok, 1 oom, 2 open",
        "  on machine m (m): 1 oom, 1 ok, 2 open",
    )
    assert lines == [
        "    epochs=2 · seed 0 · oom: out of memory",
        "  on machine n (n): 1 ok, 3 open",
    ]
    found = json.loads(call("status", suite, "--json")[0])
    assert found["total"] == 4 and found["systems"]["n"]["counts"] == {"ok": 1, "open": 3}
    assert call("status", suite, "--output", "elsewhere")[0].endswith("none has been run yet\n")


def test_a_reader_that_leaves_is_no_error(suite):
    command = f"{sys.executable} -m harness plan {suite} --set seeds=5000 | head -n 1"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=environment())
    assert ran.stdout.split() == ["run_id", "seed", "label"]
    assert ran.returncode == 0 and "Traceback" not in ran.stderr


FULL = (
    "error: cannot write to stdout: No space left on device\nhint: free space on its disk, or send stdout elsewhere\n"
)


@pytest.mark.launch
@pytest.mark.parametrize(
    ("arguments", "unbuffered"), [("plan s.yaml", ""), ("plan s.yaml --json", "1"), ("--help", "1")]
)
def test_a_stdout_that_cannot_be_written_is_one_sentence(suite, arguments, unbuffered):
    variables = {**environment(), "PYTHONUNBUFFERED": unbuffered}
    command = f"{sys.executable} -m harness {arguments}"
    for redirected, code in ((">/dev/full", 2), ("| true", 0), (">&-", 0)):
        line = ["bash", "-o", "pipefail", "-c", f"{command} {redirected}"]
        ran = subprocess.run(line, capture_output=True, text=True, env=variables)
        assert ran.returncode == code, ran.stderr
        assert ran.stderr.endswith(FULL) if code else "rror" not in ran.stderr
        assert "Traceback" not in ran.stderr and "ignored" not in ran.stderr


@pytest.mark.launch
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["list", "architectures", "resnet18"],
        ["plan", "s.yaml"],
        ["plan", "s.yaml", "--set", "model=torchvision/resnet18"],
        ["plan", "s.yaml", "--forecast", "--seconds", "0.5"],
        ["status", "s.yaml"],
        ["report", "s.yaml"],
        ["compare", "s.yaml"],
        ["doctor"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_a_login_node_needs_no_torch(suite, arguments):
    program = f"""
import atexit, sys
heavy = ("torch", "torchvision", "accelerate", "timm")
atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))
from harness.cli import main
main({arguments!r})
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert ran.stderr.splitlines()[-1] == "[]", ran.stderr
    assert "Traceback" not in ran.stderr


def test_run_by_its_path_imports_the_package_and_not_its_folder(suite):
    script = ROOT / "harness" / "run.py"
    ran = subprocess.run([sys.executable, str(script), "none.yaml"], capture_output=True, text=True, env=environment())
    assert ran.returncode == 2 and ran.stderr.startswith("error: cannot read none.yaml"), ran.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


@pytest.mark.parametrize("at", ["60", "1:30", "-5s", "a minute"])
def test_an_unknown_form_of_time_is_one_sentence(call, suite, at):
    _, err = call("report", suite, f"--at={at}", code=2)
    assert err == f"error: --at {at} is no duration\nhint: write a number and s, min or h, e.g. 60s, 1.5min or 2h\n"


def test_a_report_without_results_writes_nothing(call, suite):
    for arguments in (["report", suite], ["report", suite, "--at", "60s", "--html"], ["compare", suite]):
        _, err = call(*arguments, "--output", "mistyped", code=2)
        assert err == (
            "error: no results of s in mistyped yet\nhint: run it: harness run SUITE, or name the root: --output\n"
        )
        assert not Path("mistyped").exists()


def test_a_suite_names_a_budget(call, suite):
    Path(suite).write_text(SUITE + "budget: 1.5min\n")
    call("plan", suite)
    Path(suite).write_text(SUITE + "budget: 90\n")
    _, err = call("plan", suite, code=2)
    assert err.startswith("error: s.yaml:8: budget is 90\nhint: '90' is no duration: write a number and s, min or h")


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_a_stderr_that_cannot_be_written_changes_neither_output_nor_exit_code(suite, call, stderr):
    out, _ = call("plan", suite)
    # What fails to be written stays in a buffer, which Python writes again when it ends: it would exit with 120.
    command = f"{sys.executable} -m harness plan {suite} {stderr}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], env=environment, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (0, out)
