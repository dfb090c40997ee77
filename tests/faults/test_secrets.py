"""Secrets of the environment and of the git remote are in no byte that the harness writes or says."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import House

pytestmark = [pytest.mark.launch, pytest.mark.slow, pytest.mark.timeout(900)]
# W&B's client takes no shorter key.
CANARIES = {
    "WANDB_API_KEY": "canary1wandb5f0c1d0123456789abcdef01234567",
    "HF_TOKEN": "hf_canary2face77aa",
    "password": "canary3remote9b2e",
}


def in_any_form(secret: str) -> list[bytes]:
    """Returns a secret as it stands in texts, in UTF-16, in hexadecimal digits and in Base64 at each offset."""
    raw = secret.encode()
    in_base64 = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, secret.encode("utf-16-le"), raw.hex().encode(), *in_base64]


def hits_in(content: bytes) -> list[str]:
    """Returns the names of the canaries in some bytes."""
    return [name for name, secret in CANARIES.items() if any(form in content for form in in_any_form(secret))]


def kept_copies(folder: Path) -> str:
    """Returns code for the copy of the package that keeps each launch folder before it is deleted."""
    return (
        "\n\nimport shutil, tempfile\n"
        "_cleanup = tempfile.TemporaryDirectory.cleanup\n"
        "def _keep(self):\n"
        f"    shutil.copytree(self.name, '{folder}/' + self.name.rpartition('/')[2])\n"
        "    _cleanup(self)\n"
        "tempfile.TemporaryDirectory.__exit__ = lambda self, *_: _keep(self)\n"
    )


def test_no_secret_is_written(
    house: House, tmp_path: Path, fault: Callable[..., None], figure: Callable[[str, float], None]
) -> None:
    launches, temporary = tmp_path / "launches", tmp_path / "temporary"
    launches.mkdir()
    temporary.mkdir()
    with (house.path / "harness/launching/supervisor.py").open("a") as file:
        file.write(kept_copies(launches))
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", f"https://user:{CANARIES['password']}@git.example.org/repository.git"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "--message", "x"],
    ):
        subprocess.run(["git", *command], cwd=house.path, check=True)
    suite = house.suite("include: [{model: mlp}, {model: {name: faulty, fault: raise}}]\n")
    secrets = {name: CANARIES[name] for name in ("WANDB_API_KEY", "HF_TOKEN")}
    environment = house.environment(**secrets, TMPDIR=str(temporary), HARNESS_CACHE=str(tmp_path / "cache"))
    environment |= {"HARNESS_TRACKER_PATIENCE": "5"}
    before = {path: path.read_bytes() for path in house.path.rglob("*") if path.is_file()}
    said = b""
    tracked = ["--tracker", "wandb", "--tracker", "tensorboard", "--output"]
    runs = (["run"], ["run", "--isolate"], ["run", *tracked, "online"], ["run", *tracked, "offline"])
    for verb in (*runs, ["status"], ["report", "--json"], ["plan", "--json"]):
        command = [sys.executable, "-m", "harness", verb[0], str(suite), *verb[1:]]
        # No server listens: the key is sent nowhere, and W&B's client says what it has to say of that.
        mode = {"WANDB_MODE": "offline" if "offline" in verb else "online", "WANDB_BASE_URL": "http://127.0.0.1:9"}
        done = subprocess.run(command, cwd=house.path, env=environment | mode, capture_output=True, timeout=250)
        said += done.stdout + done.stderr
        assert done.returncode in (0, 1), done.stderr
    assert {result["status"] for result in house.results().values()} == {"ok", "failed"}
    assert any(launches.iterdir())

    roots = [house.path, temporary, tmp_path / "cache"]
    written = {path: path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}
    written = {path: content for path, content in written.items() if before.get(path) != content}
    assert any(path.suffix == ".wandb" for path in written) and any("tfevents" in path.name for path in written)
    assert {path.name for path in written} >= {"result.json", "events.jsonl", "spec.json", "manifest.jsonl", "table.md"}
    found = {str(path): hits for path, content in written.items() if (hits := hits_in(content))}
    if hits := hits_in(said):
        found["the console"] = hits
    figure("secret_bytes_scanned", sum(map(len, written.values())) + len(said))
    figure("secret_hits", sum(map(len, found.values())))
    fault("secrets in the environment and the git remote", survived=not found, times=len(CANARIES))
    assert not found


def test_a_secret_would_be_found() -> None:
    for name, secret in CANARIES.items():
        for form in (secret, base64.b64encode(f"a{secret}bc".encode()).decode(), secret.encode().hex()):
            assert hits_in(f"xx {form} yy".encode()) == [name]
    assert hits_in(b"nothing") == []
