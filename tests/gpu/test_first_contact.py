"""What `benchmarks/performance/first_contact.py` brings home, whatever becomes of its stages."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from tests.gpu.stand_in import stand_in_gpu

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "performance"
MACHINE: dict[str, Any] = {
    "can_run": True,
    "findings": [],
    "system": {"name": "a host", "torch": "2", "cuda": None, "driver": None},
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a script by its name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def archived(archive: Path) -> dict[str, bytes]:
    """Returns the files of an archive, without the folder that holds them all."""
    with tarfile.open(archive) as tar:
        files = {entry.name.partition("/")[2]: tar.extractfile(entry) for entry in tar if entry.isfile()}
        return {name: file.read() for name, file in files.items() if file}


@pytest.mark.launch
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_a_cpu_every_stage_passes_and_is_in_the_archive(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(260):
        folder = tmp_path / "data" / ("train" if number < 220 else "test") / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.jpg")
    seconds = 120 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others may want the cores, too
    command = [sys.executable, str(FOLDER / "first_contact.py"), "--seconds", str(seconds)]
    command += ["--output", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    files = archived(tmp_path / "out" / "first_contact.tar.gz")
    summary = json.loads(files["summary.json"])
    names = ["machine", "options", "graphs", "ranks", "calibrate", "training", "speedrun"]
    names += ["overhead", "loaders", "memory", "start", "small_card"]
    assert list(summary) == names
    lines = done.stdout.splitlines()
    for line, (name, stage) in zip(lines, summary.items(), strict=True):
        assert stage["problem"] is None and line.startswith(f"{name}: {stage['figure']} (")
    cases = {case["case"]: case for case in map(json.loads, files["options.jsonl"].splitlines())}
    for name in ("fp32 again", "pinned with workers", "moving average", "bf16, pinned", "with checkpoints", "resumed"):
        assert cases[name]["difference"] == 0.0 == cases[name]["limit"]
    assert 0 < cases["bf16"]["difference"] < 0.05
    assert cases["measured"]["telemetry"]["gpu_power_watts"] > 0 and cases["measured"]["energy"]["train_joules"] > 0
    results = [json.loads(files[name]) for name in files if name.endswith("/result.json")]
    trained = [result for result in results if result["suite"] == "first_contact"]
    accuracies = {result["resolved"]["loader"]: result["metrics"]["test"]["accuracy"] for result in trained}
    assert set(accuracies) == {"resident", "pinned"}
    assert all(result["data"]["train_samples"] == 200 for result in trained)
    assert f"resident.metrics.test.accuracy {accuracies['resident']:.4g}" in summary["training"]["figure"]
    [fast] = [result for result in results if result["suite"].startswith("speedrun")]
    told = json.loads(files["speedrun.json"])["recipes"]["airbench94"]["seconds"]["mean"]
    assert told == fast["clock"]["speedrun_seconds"] > fast["clock"]["train_seconds"] + fast["clock"]["eval_seconds"]
    assert b"| pinned" in files["results/first_contact/table.md"]
    start = json.loads(files["start.json"])
    assert start["pairs"] == 1 and start["median"] == pytest.approx(start["rank_seconds"] / start["torch_seconds"])
    assert start["rank_seconds"] > 0 and start["torch_seconds"] > 0


def test_what_came_home_becomes_a_table(script: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text('{"median": 1.125, "system": "a host"}')
    (tmp_path / "peer.json").write_text('{"recipes": ')
    lines = ['{"case": "bf16", "problem": null, "difference": 0.015625}', '{"case": "fp16", "prob']
    (tmp_path / "options.jsonl").write_text("\n".join(lines))
    script("gpu_check").write_table(tmp_path)
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert rows == [
        "| options: bf16: difference | 0.015625 |",
        "| start: median | 1.125 |",
        "| start: system | a host |",
    ]


@pytest.fixture
def drive(
    script: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, list[str], dict[str, bytes]]]:
    """Runs scripts as stages of one share each, the first of which tells what the machine is, within seconds.

    Those whose names begin with `cases` print a case a line. Returns the exit code, the lines, and the archive's files.
    """
    first_contact = script("first_contact")
    monkeypatch.setattr(first_contact, "HERE", tmp_path)
    monkeypatch.setattr(first_contact, "RUNS", "cases")

    def run(seconds: float, **scripts: str) -> tuple[int, list[str], dict[str, bytes]]:
        for name, text in scripts.items():
            (tmp_path / f"{name}.py").write_text(text)
        stages = [first_contact.Stage(name, (1, 1), f"{name}.py", "on-gpu", "on-cpu", "^told") for name in scripts]
        folder, output = tmp_path / "first_contact", tmp_path / "out"
        folder.mkdir()
        output.mkdir()
        given, end = {"{data}": [], "{peers}": []}, time.monotonic() + seconds
        code = first_contact.run_stages(stages, folder, given, dict(os.environ), end, output)
        return code, capsys.readouterr().out.splitlines(), archived(output / "first_contact.tar.gz")

    return run


CASES = """\
import json, subprocess, sys, time
print(json.dumps({"case": "fp32", "problem": None}), flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(json.dumps({"case": "bf16", "problem": None, "difference": 0.01, "limit": 0.05, "child": child.pid}), flush=True)
print('{"case": "to', end="", flush=True)
time.sleep(600)
"""
ARCHIVE = """\
import json, sys, tarfile
names = tarfile.open(sys.argv[0].replace("last.py", "out/first_contact.tar.gz")).getnames()
print(json.dumps({"told": dict.fromkeys(sys.argv[1:] + names, 1), "untold": 2}))
"""


@pytest.mark.launch
def test_a_stage_that_fails_is_one_sentence_and_the_next_goes_on(
    drive: Callable[..., tuple[int, list[str], dict[str, bytes]]],
) -> None:
    findings = [
        {"about": "CPU", "verdict": "warning", "says": "it is busy", "hint": "wait"},
        {"about": "torch", "verdict": "ok", "says": "2"},
    ]
    machine = MACHINE | {"findings": findings, "system": MACHINE["system"] | {"gpu": None}}
    code, lines, files = drive(
        12,
        machine=f"print({json.dumps(json.dumps(machine))})",
        broken="import sys; sys.stderr.write('one\\nerror: it is broken\\nhint: mend it\\n'); sys.exit(2)",
        silent="pass",
        cases_some="""import json
for number in range(5):
    print(json.dumps({"case": f"case {number}", "problem": "CUDA error" if number else None}))
raise SystemExit(1)""",
        cases=CASES,
        last=ARCHIVE,
    )
    machine_line, broken, silent, some, cases, last = lines
    named = "machine: a host, torch 2, CUDA None, driver None; CPU: it is busy (hint: wait) ("
    assert code == 1 and machine_line.startswith(named)
    assert broken.startswith("broken: failed: it is broken (")
    assert silent.startswith("silent: failed: what it printed has no figure (")
    errors = "case 1: CUDA error; case 2: CUDA error; case 3: CUDA error; and 1 more"
    assert some.startswith(f"cases_some: failed: {errors} (")
    figure = "2 of 2 cases are right"
    assert cases.startswith("cases: failed: it ran out of its ") and f"s, when {figure} (" in cases
    assert (
        last.startswith("last: told.on-cpu 1, told.first_contact 1, ") and ", told.first_contact/cases.jsonl 1" in last
    )
    assert "untold" not in last
    assert files["broken.log"].startswith(b"one\nerror: it is broken")
    torn = files["cases.jsonl"].splitlines()
    assert torn[-1] == b'{"case": "to'
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(json.loads(torn[1])["child"]).status() == psutil.STATUS_ZOMBIE
    limits = [stage["limit_seconds"] for stage in json.loads(files["summary.json"]).values()]
    assert limits[0] == pytest.approx(12 * 2 / 7, abs=0.1)
    left = limits[4] * 3 / 2  # what those before did not take goes to it, and a third is the last one's
    assert 6 < left < 12 and limits[5] == pytest.approx(left / 3, rel=0.5)


@pytest.mark.launch
def test_a_machine_that_cannot_run_suites_ends_it(
    drive: Callable[..., tuple[int, list[str], dict[str, bytes]]],
) -> None:
    findings = [
        {
            "about": "driver",
            "verdict": "stop",
            "says": "driver 470 is too old for torch's CUDA 13.0",
            "hint": "a newer",
        },
        {"about": "GPU 0", "verdict": "warning", "says": "used by 1 other process", "hint": ""},
    ]
    refused = json.dumps(MACHINE | {"can_run": False, "findings": findings})
    code, [line], _ = drive(60, machine=f"print({refused!r}); raise SystemExit(1)", last=ARCHIVE)
    assert code == 2 and line.startswith(
        "machine: failed: driver 470 is too old for torch's CUDA 13.0 (hint: a newer) ("
    )


@pytest.mark.launch
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--data", "nowhere"], "nowhere has no train/<class>/ and test/<class>/ with images"),
        (["--only", "peer"], "stage peer runs the scripts of --peer"),
        (["--peer", "peer.py"], "peers read the images of --data"),
        (["--wheels", "nowhere"], "nowhere has no wheels"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(words: list[str], problem: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "first_contact.py"), "--output", str(tmp_path / "out"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith(f"error: {problem}\n")
    assert not (tmp_path / "out").exists()


def test_stages_find_the_package_and_what_is_in_wheels(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first_contact, seen = script("first_contact"), []
    with zipfile.ZipFile(tmp_path / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried/__init__.py", "")

    def run_stages(stages: Any, folder: Path, given: Any, variables: dict[str, str], *_: Any) -> int:
        paths = variables["PYTHONPATH"].split(os.pathsep)
        seen.append([path for path in paths if (Path(path) / "harness").is_dir() or (Path(path) / "carried").is_dir()])
        return len(stages)

    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(first_contact, "run_stages", run_stages)
    words = ["--output", str(tmp_path), "--wheels", str(tmp_path), "--only", "ranks", "training"]
    monkeypatch.setattr(sys, "argv", ["first_contact.py", *words])
    with pytest.raises(SystemExit) as ended:
        first_contact.main()
    assert ended.value.code == 3  # the machine comes first, whatever is asked for
    assert len(seen[0]) == 2 and seen[0][0] == str(ROOT)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the last case that was printed."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_case_is_wrong_where_a_step_waits_or_losses_differ(
    script: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = script("first_contact_runs")
    with runs.stand_in() as gpu:
        cases = runs.Cases(runs.Accelerator(), gpu, {"train": {"mixed_precision": "no"}})
        cases.compare("fp32")
        assert told(capsys)["problem"] is None and not cases.failed
        cases.compare("fp16", {"train": {"mixed_precision": "fp16"}}, "fp32", 0.05)
        assert told(capsys)["problem"] == "the host waits for the GPU: item"
        assert cases.failed
        cases.compare("bf16", {"train": {"mixed_precision": "bf16"}}, "fp32")
        case = told(capsys)
        assert case["difference"] > 0 and case["problem"].startswith("losses differ by 0.00")
        assert case["problem"].endswith(" from those of fp32, not by 0")
        cases.compare("beside nothing", {}, "fp16")
        assert told(capsys)["problem"] == "fp16 has no losses to compare with"
        cases.compare("no such network", {"model": "cnn4"})
        assert "cnn4" in told(capsys)["problem"]


def test_on_a_gpu_torch_refuses_that_a_step_waits_but_the_first_of_each_part(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, modes = script("first_contact_runs"), []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: modes.append(mode[0]))
    with runs.stand_in():
        cases = runs.Cases(runs.Accelerator(), None, {"data": runs.TAIL, "train": {"mixed_precision": "no"}})
        monkeypatch.setattr(runs, "CUDA", True)
        cases.resume({"train": {"checkpoint_every_steps": runs.STEPS - 1}})  # two epochs of seven steps
        cases.compare("fp16", {"train": {"epochs": 1, "mixed_precision": "fp16"}}, may_wait=True)
    assert not cases.failed
    # What each step sets for the next one: "error", or "default" at the end of a part and of the run.
    whole, with_checkpoints, stopped, resumed = "eeeeeedeeeeeedd", "eeeededeedeeedd", "eeeededeedd" + "d", "eedd"
    assert "".join(modes) == whole + with_checkpoints + stopped + resumed + "d" * 8


def test_a_record_without_power_is_wrong(script: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    runs = script("first_contact_runs")
    with stand_in_gpu() as gpu:
        runs.Cases(runs.Accelerator(), gpu, {"train": {"mixed_precision": "no"}}).measure()
    problem = told(capsys)["problem"]
    assert "energy.train_joules is null: NVML" in problem and "telemetry.gpu_power_watts is null: NVML" in problem
