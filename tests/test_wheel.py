"""A wheel that is installed into a fresh environment is all that a person needs; the repository is not on its path."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness
from tests.house import NO_CHARTS, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.launch]

TINY = ["--set", "seeds=1", "--set", "train.epochs=1", "--only", "model.name=mlp"]
NAME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and an empty folder to work in."""

    programs: Path
    folder: Path

    def call(self, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment as in a shell where it is active."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        own |= {"PATH": f"{self.programs}:/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200"}
        program = self.programs / command[0]
        done = subprocess.run(
            [str(program) if program.exists() else command[0], *command[1:]],
            cwd=self.folder, env=own, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel alone, beside the packages of this environment: those are not installed again."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # Beside the package, as pip would put them: what walks its folder's neighbours walks torch.
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.suffix != ".pth" and not path.name.startswith((NAME.replace("-", "_"), "harness")):
            (packages / path.name).symlink_to(path)
    (packages / "sitecustomize.py").write_text(NO_CHARTS)
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "install", *options, str(wheel)], check=True
    )
    return Installed(home / "bin", tmp_path_factory.mktemp("elsewhere"))


def test_it_holds_what_ships_and_nothing_else(wheel: Path) -> None:
    inside = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    shipped = {path.relative_to("harness/shipped") for path in inside if path.is_relative_to("harness/shipped")}
    here = [*ROOT.glob("benchmarks/*.yaml"), *ROOT.glob("launch/*.yaml"), *ROOT.glob("slurm/*.sbatch")]
    assert shipped == {path.relative_to(ROOT) for path in [*here, ROOT / "benchmarks/suite.schema.json"]}
    assert {path.parts[0] for path in inside} == {
        "harness",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }


def test_its_name_is_not_that_of_the_import_and_its_version_stands_in_one_place(installed: Installed) -> None:
    asked = f"import harness, importlib.metadata as m; print(harness.__file__, m.version({NAME!r}), m.version('torch'))"
    file, version, _ = installed.call("python", "-c", asked).stdout.split()
    assert Path(file).is_relative_to(installed.programs.parent)
    assert version == harness.__version__ in installed.call("harness", "--version").stdout
    search = installed.call("python", "-c", "import sys; print(*sys.path, sep='\\n')").stdout.splitlines()
    assert str(ROOT) not in search


def test_a_suite_that_ships_runs_by_its_name_and_is_reported(installed: Installed) -> None:
    listed = installed.call("harness", "list", "suites").stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == sorted(
        path.stem for path in ROOT.glob("benchmarks/*.yaml")
    )
    assert "quickstart on" in installed.call("harness", "run", "quickstart", *TINY).stdout
    results = installed.folder / "results/quickstart"
    assert len(list(results.glob("*/*/result.json"))) == 2
    assert "mlp, adam" in installed.call("harness", "report", "quickstart", *TINY).stdout
    assert "mlp, adam" in installed.call("harness", "report").stdout
    told = installed.call("harness", "run", "quickstart", *TINY, "--config_file", "cpu").stderr
    assert "2 runs; 2 are done on this system: skipped" in told


def test_accelerate_launches_the_module(installed: Installed) -> None:
    text = installed.call("harness", "list", "files", "cpu.yaml").stdout
    assert text == (ROOT / "launch/cpu.yaml").read_text()
    (installed.folder / "cpu.yaml").write_text(text)
    launch = ["python", "-m", "accelerate.commands.launch", "--config_file", "cpu.yaml", "--num_processes", "2"]
    of_launcher = ["-m", "harness.run", "quickstart", *TINY, "--output", "launched"]
    assert "quickstart on" in installed.call(*launch, *of_launcher).stdout
    records = [path.read_text() for path in (installed.folder / "launched").glob("*/*/*/spec.json")]
    assert len(records) == 2 and all('"num_processes": 2' in text for text in records)


def test_slurm_scripts_find_what_they_need(installed: Installed) -> None:
    dry = installed.call("harness", "submit", "quickstart", "--dry-run").stdout
    script, task = (installed.programs.parent / f"lib/{_python()}/site-packages/harness" / name
                    for name in ("run.py", "launching/slurm/task.sh"))  # fmt: skip
    assert f"source {task}" in dry and str(script) in dry and str(ROOT) not in dry
    job = installed.call("harness", "list", "files", "single_job.sbatch").stdout
    (installed.folder / "job.sbatch").write_text(job)
    as_job = ["env", "SLURM_JOB_ID=1", "SLURMD_NODENAME=n"]
    assert "quickstart on" in installed.call(*as_job, "bash", "job.sbatch", "quickstart", *TINY).stdout


def _python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"
