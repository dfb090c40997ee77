"""`.ci/twice`: what failed is tried once more, alone and last; it fails where it fails again, and no crash passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.launch, pytest.mark.slow]
FLAKY = """
import os
from pathlib import Path

import pytest

def once(name):
    path = Path(__file__).with_name(name)
    if not path.exists():
        path.touch()
        pytest.fail("the machine was busy")

def test_good():
    with Path(__file__).with_name("good").open("a") as file:
        file.write(".")

def test_flaky():
    once("flaky")
    assert "PYTEST_XDIST_WORKER" not in os.environ and Path(__file__).with_name("ended").exists(), "it is not alone"
"""
BROKEN = "\ndef test_broken():\n    assert False\n"
OTHER_NAME = """
@pytest.mark.parametrize("now", [os.getpid()])
def test_of_another_name(now):
    once("named")
"""
BROKEN_MODULE = "import nothing_of_this_name\n"
INTERNAL_ERROR = "def pytest_runtest_logreport(report):\n    assert report.passed, 'pytest itself'\n"
KILLED = "import os\n\ndef pytest_runtest_logreport(report):\n    os.kill(os.getpid(), 9)\n"


def twice(folder: Path, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
    """Runs the tests that files hold, beside a process that ends after three seconds."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -q\n")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    other = subprocess.Popen(["sh", "-c", "sleep 3; touch ended"], cwd=folder)
    threading.Thread(target=other.wait).start()  # it is there until someone asks how it ended
    return subprocess.run(
        [str(ROOT / ".ci/twice"), str(other.pid), *arguments],
        cwd=folder,
        env={**environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_passes_at_the_second_try_is_listed_and_no_failure(tmp_path: Path) -> None:
    done = twice(tmp_path, "--numprocesses", "2", "--dist", "loadscope", test_flaky=FLAKY)
    first, told, second = done.stdout.partition("second try, of what failed:\n")
    assert done.returncode == 0 and told, done.stdout + done.stderr
    assert "1 failed, 1 passed" in first.splitlines()[-1]
    assert "PASSED test_flaky.py::test_flaky" in second and second.splitlines()[-1].startswith("1 passed")
    assert (tmp_path / "good").read_text() == ".", "what passed is not run again"


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    done = twice(tmp_path, test_flaky=FLAKY + BROKEN)
    assert done.returncode == 1
    second = done.stdout.partition("second try, of what failed:\n")[2]
    assert "PASSED test_flaky.py::test_flaky" in second and "FAILED test_flaky.py::test_broken" in second
    assert second.splitlines()[-1].startswith("1 failed, 1 passed")


def test_what_cannot_be_tried_again_fails(tmp_path: Path) -> None:
    done = twice(tmp_path, test_flaky=FLAKY + OTHER_NAME)
    assert done.returncode == 1 and "1 passed" in done.stdout.splitlines()[-1]
    assert done.stderr == "not all that failed was tried again\n"


@pytest.mark.parametrize(
    "files",
    [{"test_broken": BROKEN_MODULE}, {"conftest": INTERNAL_ERROR}, {"conftest": KILLED}, {"conftest": BROKEN_MODULE}],
    ids=["collection", "internal error", "killed", "settings"],
)
def test_there_is_no_second_try_where_pytest_itself_fails(tmp_path: Path, files: dict[str, str]) -> None:
    done = twice(tmp_path, test_flaky=FLAKY, **files)
    assert done.returncode not in (0, 1) and "second try" not in done.stdout


def test_where_all_pass_there_is_no_second_try(tmp_path: Path) -> None:
    done = twice(tmp_path, test_good="def test_good():\n    pass\n")
    assert done.returncode == 0 and "second try" not in done.stdout


def test_triton_is_there() -> None:
    """Its bindings report at the end what was not freed."""
    assert pytest.importorskip("triton.compiler")


def test_the_verdict_is_the_last_line() -> None:
    test = f"{Path(__file__).relative_to(ROOT)}::{test_triton_is_there.__name__}"
    # What a module has imported is frozen before the next one.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "", test, "tests/test_durations.py"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert re.match(r"\d+ passed in ", done.stdout.splitlines()[-1]), done.stdout
