"""What the targets of the Makefile run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def recipe(*words: str) -> str:
    """Returns what `make` would run for a target; a `make` that runs this test hands none of its variables down."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "PYTEST", "WITHOUT_FLOOR")
    }
    asked = ["make", "--dry-run", *words]
    return subprocess.run(asked, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_table_of_faults_is_kept_where_it_is_asked_for() -> None:
    assert "tests.faults.report" in recipe("test-faults") and "results" not in recipe("test-faults")
    assert "--faults-report results/reliability/faults.json" in recipe("test-faults", "KEEP=1")


def test_each_target_leaves_out_what_it_says() -> None:
    assert '-m "not slow and not launch"' in recipe("test-quick")
    assert '-m ""' in recipe("test-all") and "-m pytest" in recipe("test-all")
    assert ".venv-floor" in recipe("test-all") and ".venv-floor" not in recipe("test-all", "WITHOUT_FLOOR=1")
    assert '-m "' not in recipe("test"), "the settings of pyproject.toml hold"
    assert ".ci/twice 123 --numprocesses" in recipe("test-all", "PYTEST=.ci/twice 123")


# Programs that note what they are asked, in the place of those of an environment.
STUBS = {
    "python": "#!/bin/sh\nexit 0\n",
    "uv": """#!/bin/sh
case "$*" in *torch-backend=cu999*) exit 2;; esac
echo "uv $*" >> asked
case "$*" in *"--requirement -") cat > from_stdin;; esac
""",
}


def setup(folder: Path, *words: str, uv: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `make setup` in a folder with stubs for an environment's programs."""
    for name in ("Makefile", "requirements.lock", "requirements-uv.lock", "pyproject.toml"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    (folder / ".venv/bin").mkdir(parents=True, exist_ok=True)
    for name, script in STUBS.items():
        path = folder / ".venv/bin" / name
        path.write_text(script)
        path.chmod(0o755)
    if not uv:  # and pip cannot install it
        (folder / ".venv/bin/uv").unlink()
        (folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    (folder / "asked").write_text("")
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "TORCH_BACKEND")}
    return subprocess.run(["make", "setup", *words], cwd=folder, env=own, capture_output=True, text=True)


def test_torch_comes_from_a_backend_and_all_else_from_the_lock(tmp_path: Path) -> None:
    assert setup(tmp_path, "TORCH_BACKEND=cu126").returncode == 0
    locked = re.findall(r"^([a-z0-9-]+)==", (tmp_path / "from_stdin").read_text(), re.MULTILINE)
    assert {"accelerate", "numpy", "nvidia-ml-py", "timm"} <= set(locked)
    assert not [name for name in locked if re.match("torch|triton|cuda|nvidia-(?!ml-py)", name)]
    _, from_lock, torch, without_dali = (tmp_path / "asked").read_text().splitlines()
    assert "--require-hashes" in from_lock and "--no-deps" in from_lock
    assert "--torch-backend=cu126 --reinstall-package torch --reinstall-package torchvision" in torch
    assert "--no-deps" not in torch, "the bounds of pyproject.toml hold"
    assert "uninstall" in without_dali and "nvidia-dali-cuda130" in without_dali


def test_an_environment_keeps_its_backend_until_another_is_asked_for(tmp_path: Path) -> None:
    assert setup(tmp_path).returncode == 0
    assert "--requirement requirements.lock" in (tmp_path / "asked").read_text()
    assert "backend" not in (tmp_path / "asked").read_text()
    setup(tmp_path, "TORCH_BACKEND=cu126")
    assert "backend=cu126" in (tmp_path / "asked").read_text()
    setup(tmp_path)
    assert not (tmp_path / "asked").read_text(), "nothing to do"
    setup(tmp_path, "TORCH_BACKEND=")
    assert "--requirement requirements.lock" in (tmp_path / "asked").read_text()


def test_a_backend_that_there_is_not_is_one_error(tmp_path: Path) -> None:
    done = setup(tmp_path, "TORCH_BACKEND=cu999")
    assert done.returncode and not (tmp_path / "asked").read_text()
    error, hint, *_ = done.stderr.splitlines()
    assert error == "error: uv has no backend for torch that is called cu999"
    assert hint.startswith("hint: cu126")
    assert not (tmp_path / ".venv/installed").exists()


def test_a_backend_without_uv_is_one_error(tmp_path: Path) -> None:
    done = setup(tmp_path, "TORCH_BACKEND=cu126", uv=False)
    assert done.returncode and not (tmp_path / ".venv/installed").exists()
    assert done.stderr.splitlines()[0] == "error: uv, which installs all else, cannot be installed: pip says why above"
