"""Verdicts on what is installed, and on the account that metrics go to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.measure.finding import Finding
from harness.trackers.account import places_of_a_key


def check_torch(torch: Mapping[str, Any]) -> Finding:
    """Returns the verdict on torch as such, from what `harness.measure.torch_probe` said."""
    if "problem" in torch:
        return Finding(
            "torch",
            "stop",
            torch["problem"],
            "install it again, see pytorch.org/get-started; in a clone: make clean setup",
        )
    cuda = f"CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
    return Finding("torch", "ok", f"{torch['version']}, {cuda}, {torch['threads']} CPU threads")


def check_dali(package: str, version: str | None, cuda: str | None, *, has_gpu: bool) -> Finding:
    """Returns the verdict on DALI.

    Args:
        package: e.g. `nvidia-dali-cuda130`; empty where none is installed.
        cuda: that torch was built for.
        has_gpu: whether training runs on one.
    """
    major = cuda.partition(".")[0] if cuda else "13"
    wanted = f"pip install nvidia-dali-cuda{major}0"
    if version is None:
        return Finding("DALI", "warning", "not installed: loader dali cannot be had", wanted)
    built_for = re.sub(r"\D", "", package)[:2]
    if has_gpu and cuda and built_for != major:
        message = f"{package} {version}, and torch is built for CUDA {cuda}: two versions of CUDA in one process"
        return Finding("DALI", "warning", message, f"pip uninstall {package}; {wanted}")
    return Finding("DALI", "ok", f"{version} ({package})")


def check_wandb(environment: Mapping[str, str], home: Path, version: str | None) -> Finding:
    """Returns the verdict on W&B, which looks for its key in this order; the key itself is never shown."""
    if version is None:
        return Finding("W&B", "warning", "not installed: runs cannot be sent there", "pip install wandb")
    mode = environment.get("WANDB_MODE", "")
    if mode in ("offline", "disabled", "dryrun"):
        return Finding("W&B", "ok", f"{version}, WANDB_MODE={mode}")
    for place in places_of_a_key(environment, home):
        return Finding("W&B", "ok", f"{version}, a key is in {place}")
    return Finding("W&B", "warning", "not logged in: no key is found", "wandb login, or WANDB_MODE=offline")


def check_source(system: Mapping[str, Any]) -> Finding:
    """Returns the verdict on the harness's own code."""
    commit, clean = system["git_commit"], system["git_clean"]
    if commit is None:
        return Finding("code", "ok", f"no commit: {system['unavailable']['git_commit']}")
    if not clean:
        message = f"harness/ differs from commit {commit[:12]}: results cannot be traced to one"
        return Finding("code", "warning", message, "commit first; a run's record has a hash of the code all the same")
    return Finding("code", "ok", f"commit {commit[:12]}, clean")
