"""Data that a call needs and that are not there: fetched first, asked for, or told how to get."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.data.datasets import cifar
from harness.launching import run_suite
from harness.launching.manifest import Manifest
from harness.launching.run_suite import missing_archives, with_downloads
from harness.measure.system import describe_system
from harness.published_weights import Published
from harness.suite.plan import load_suite
from tests.data.test_cifar import make
from tests.records.test_store import finished

SUITE = """\
name: s
base: {model: {name: mlp, hidden_sizes: [4]}, data: cifar10, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}
matrix: {optimizer.lr: [0.1, 0.2]}
"""
NOT_FETCHED = "holds neither cifar-10-python.tar.gz nor cifar-10-batches-py"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A suite on CIFAR-10, whose publisher is a folder of this machine and whose archive is small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (tmp_path / "published").mkdir()
    monkeypatch.setattr(cifar, "CIFAR10", make(cifar.CIFAR10, tmp_path / "published"))
    monkeypatch.setattr(cifar, "URL", (tmp_path / "published").as_uri() + "/")
    monkeypatch.setattr(run_suite, "run_suite", lambda manifest, *_, **__: 75)
    (tmp_path / "s.yaml").write_text(SUITE)
    return "s.yaml"


def run(*arguments: str, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments])
    assert caught.value.code == code


def terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    """Puts a person before the terminal who answers so; returns what is asked."""
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr("harness.cli.run.typer.confirm", confirm)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return asked


def test_nobody_to_ask(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(suite, code=2)
    error, hint, *more = capsys.readouterr().err.splitlines()
    assert NOT_FETCHED in error and "harness run SUITE --download" in hint and "170 MB" in hint and not more
    assert not Path("data").exists()


@pytest.mark.parametrize("words", [["--download"], ["--set", "data.download=true"]])
def test_what_is_asked_for_is_fetched_before_anything_starts(
    suite: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(suite, *words, code=75)
    assert Path("data/cifar-10-python.tar.gz").is_file()
    told = capsys.readouterr().err
    assert told.count(f"downloading CIFAR-10, 170 MB, to {Path('data').absolute()}") == 1
    run(suite, *words, code=75)
    assert "downloading" not in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [("y", 75), ("n", 2)])
def test_a_person_is_asked(
    suite: str, answer: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = terminal(monkeypatch, answer)
    run(suite, code=code)
    assert asked == [f"CIFAR-10 is not in {Path('data').absolute()}: download 170 MB?"]
    assert Path("data/cifar-10-python.tar.gz").is_file() is (answer == "y")
    assert (NOT_FETCHED in capsys.readouterr().err) is (answer == "n")


def test_without_a_network(suite: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cifar, "URL", "http://host.invalid/")
    run(suite, "--download", code=2)
    *_, error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: http://host.invalid/cifar-10-python.tar.gz cannot be fetched")
    assert hint.endswith(f"put it at {Path('data').absolute()}/cifar-10-python.tar.gz")


def test_a_download_is_no_part_of_an_identity(suite: str) -> None:
    manifest = Manifest.of(load_suite(Path(suite)).plan(lambda section: "f", num_processes=1), Path("results"))
    changed = with_downloads(manifest)
    assert [run.run_id for run in changed.runs] == [run.run_id for run in manifest.runs]
    asked = load_suite(Path(suite), ["data.download=true"]).plan(lambda section: "f", num_processes=1)
    assert changed.runs == asked.runs, "as `--set` would"


def test_runs_that_are_done_need_no_data(suite: str) -> None:
    manifest = Manifest.of(load_suite(Path(suite)).plan(lambda section: "f", num_processes=1), Path("results"))
    system = describe_system(use_cpu=True)["system_id"]
    [(archive, told)] = missing_archives(manifest, system)
    assert archive.title == "CIFAR-10" and not told
    assert [told for _, told in missing_archives(with_downloads(manifest), system)] == [True]
    for run in manifest.runs:
        finished(manifest.output, run.run_id, system)
    assert not missing_archives(manifest, system)


def test_a_plan_says_which_files_are_not_here(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    def plan(*words: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["plan", suite, *words])
        assert caught.value.code == 0
        return capsys.readouterr()

    where = f"CIFAR-10 is not in {Path('data').absolute()}"
    told = f"{where}: `harness run s.yaml --download` fetches cifar-10-python.tar.gz, 170 MB"
    rows, err = plan()
    assert err.splitlines() == ["2 runs: 2 configs, 1 seed", told]
    assert "`harness run s.yaml` fetches cifar-10" in plan("--set", "data.download=true")[1]
    out, err = plan("--json")
    assert [row["missing_data"] for row in json.loads(out)] == [told] * 2 and not err
    run(suite, "--download", code=75)
    capsys.readouterr()
    assert plan() == (rows, "2 runs: 2 configs, 1 seed\n")
    assert [row["missing_data"] for row in json.loads(plan("--json")[0])] == [None] * 2


@pytest.fixture
def pretrained(suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of weights that torchvision publishes of mobilenet_v3_small; the suite asks for them, on digits."""
    published = tmp_path / "published"
    content = b"weights"
    file = published / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)
    one = {"V1": Published(file.as_uri(), files=(file.name,))}
    monkeypatch.setattr("harness.weights_files.published_weights", lambda package, name: one)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    text = SUITE.replace("data: cifar10", "data: digits").replace(
        "{name: mlp, hidden_sizes: [4]}", "{name: torchvision/mobilenet_v3_small, pretrained: true}"
    )
    Path(suite).write_text(text)
    return tmp_path / "torch/hub/checkpoints" / file.name


def test_weights_are_fetched_as_data_are(
    suite: str, pretrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(suite, code=2)
    told = capsys.readouterr().err
    assert f"there is no {pretrained}" in told and "`harness run SUITE --download` fetches them" in told
    asked = terminal(monkeypatch, "n")
    run(suite, code=2)
    assert [question.partition(":")[0] for question in asked] == [
        "the weights of torchvision/mobilenet_v3_small (V1) are not here"
    ]
    assert not pretrained.exists()
    capsys.readouterr()
    run(suite, "--download", code=75)
    assert pretrained.read_bytes() == b"weights"
    assert capsys.readouterr().err.count("downloading file://") == 1
    run(suite, "--download", code=75)
    assert "downloading" not in capsys.readouterr().err


def test_weights_whose_name_has_no_hash_are_fetched_before_the_plan(
    suite: str, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "published/net.pth").write_bytes(b"weights")
    one = {"V1": Published((tmp_path / "published/net.pth").as_uri(), files=("net.pth",))}
    monkeypatch.setattr("harness.weights_files.published_weights", lambda package, name: one)
    run(suite, code=2)
    assert f"there is no {pretrained.with_name('net.pth')}" in capsys.readouterr().err
    run(suite, "--download", code=75)
    [told] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("downloading")]
    assert told.endswith("/net.pth") and pretrained.with_name("net.pth").is_file()
