"""What the end of a launch means: which rank ended it and how, and what can be done about it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import see_doctor
from harness.launching.launch_folder import StackSample, read_exits, read_failures, read_heartbeats
from harness.records.result import Cause, Status

# In the words of torch and its libraries, of what is the machine's.
MACHINE_WORDS = ("CUDA", "NCCL", "cuDNN", "CUDNN", "CUBLAS", "NVIDIA", "NVML", "driver", "shared memory", "libcu")
PACKAGE = Path(__file__).resolve().parents[1]
# A rank whose innermost Python frame is here has given its part and waits for others', or for its device.
WAITS_IN = (
    "/torch/autograd/graph.py",
    "/torch/distributed/",
    "/torch/nn/parallel/distributed.py",
    "/torch/cuda/",
    "/accelerate/",
)
OWN_WAITS_IN = (f"{PACKAGE.name}/training/distributed.py", f"{PACKAGE.name}/training/step_control.py")


def cause_of_failure(folder: Path, returncode: int, num_processes: int) -> tuple[Status, Cause]:
    """Returns the status and cause of a run whose launch failed.

    Args:
        folder: of the launch.
        returncode: of the process that was launched.
        num_processes: of the launch.
    """
    failures, exits, heartbeats = read_failures(folder), read_exits(folder), read_heartbeats(folder)
    if returncode < 0 and num_processes == 1:
        exits = exits or {0: returncode}
    for status, cause in failures.values():
        if status == "oom" or not _lost_a_peer(cause):
            return status, cause
    # One that lost its peer may be aborted by what waits for it in the background.
    if killed := sorted((code == -signal.SIGABRT, rank) for rank, code in exits.items() if code < 0):
        rank = killed[0][1]
        name = signal.Signals(-exits[rank]).name
        where = folder / f"crash-{rank}.txt"
        return "failed", Cause(
            kind=name,
            message=f"rank {rank} was killed by {name}",
            rank=rank,
            step=_last_step(heartbeats.get(rank)),
            traceback=(where.read_text(errors="replace") if where.exists() else "") or None,
        )
    for rank, code in exits.items():
        if rank not in failures:
            return "failed", Cause(
                kind="exit", message=f"rank {rank} ended with code {code} without an error message", rank=rank
            )
    if failures:
        return next(iter(failures.values()))
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return "failed", Cause(kind=name, message=f"the launcher was killed by {name}")
    return "failed", Cause(kind="exit", message=f"the launch ended with code {returncode} without an error message")


def cause_of_hang(
    looks: Mapping[int, StackSample], heartbeats: Mapping[int, Mapping[str, Any]], num_processes: int, seconds: float
) -> Cause:
    """Returns who is stuck where, and who waits.

    Args:
        looks: where each rank is; those that did not answer are missing.
        heartbeats: how far each rank was; those that never began are missing.
        num_processes: of the launch.
        seconds: for which there was no step.
    """
    waiting = [rank for rank, look in looks.items() if num_processes > 1 and _waits(look)]
    culprits = [rank for rank in range(num_processes) if rank not in waiting]
    parts = [f"rank {rank} {_state(rank, looks, heartbeats)}" for rank in culprits]
    parts += [f"rank {rank} waits {_where(looks[rank])}" for rank in waiting]
    blamed = culprits[0] if len(culprits) == 1 else None
    shown = [rank for rank in culprits if rank in looks] or waiting
    return Cause(
        kind="hang",
        message=f"no step for {seconds:g} s: {'; '.join(parts)}",
        rank=blamed,
        step=looks[blamed].steps if blamed is not None and blamed in looks else None,
        traceback="\n".join(f"rank {rank}\n{_traceback(looks[rank])}" for rank in shown) or None,
    )


def hint_for(status: Status, cause: Cause, folder: Path, packed: int = 1) -> str:
    """Returns what a person can do about a run that ended so.

    Args:
        folder: of the run.
        packed: runs at once on its device.
    """
    record, told = folder / "result.json", f"{cause.kind} {cause.message}"
    about_machine = status == "oom" or cause.kind == "SIGKILL" or any(word in told for word in MACHINE_WORDS)
    if status == "oom":
        hint = "raise train.gradient_accumulation_steps, or set train.retry_out_of_memory: true"
        hint = "lower train.eval_batch_size" if in_evaluation(cause) else hint
        hint = f"give fewer than --pack {packed}, or {hint}" if packed > 1 else hint
    elif cause.kind == "hang":
        hint = f"if that takes so long, raise train.timeout_seconds; the stack is in {record}"
    elif cause.kind == "SIGKILL":
        hint = "the kernel does so where the host's memory runs out: see dmesg; the same command tries again"
    elif cause.kind in ("exit", "no start"):
        hint = "its own words stand above"
    else:
        hint = f"the traceback is in {record}" if cause.traceback else "the same command tries again"
    return see_doctor(hint) if about_machine else hint


def in_evaluation(cause: Cause) -> bool:
    """Tells whether an error came from an evaluation."""
    return ", in evaluate\n" in (cause.traceback or "")


def _lost_a_peer(cause: Cause) -> bool:
    """Tells whether an error only says that another rank is gone."""
    if cause.kind in ("DistBackendError", "DistNetworkError"):
        return True
    return cause.kind == "RuntimeError" and ("by peer" in cause.message or "gloo" in cause.message)


def _last_step(heartbeat: Mapping[str, Any] | None) -> int | None:
    at = heartbeat["at"] if heartbeat else None
    return at + 1 if isinstance(at, int) else None


def _waits(look: StackSample) -> bool:
    file = look.stack[-1][0]
    # Our own may lie below a folder that is called `accelerate`.
    return any(part in file for part in (OWN_WAITS_IN if _is_own(file) else WAITS_IN))


def _is_own(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE)


def _state(rank: int, looks: Mapping[int, StackSample], heartbeats: Mapping[int, Mapping[str, Any]]) -> str:
    if rank in looks:
        return f"is stuck {_where(looks[rank])}"
    return "does not answer" if rank in heartbeats else "never began"


def _where(look: StackSample) -> str:
    frames = [look.stack[-1]]
    if not _is_own(look.stack[-1][0]):
        frames += [frame for frame in look.stack if _is_own(frame[0])][-1:]
    after = "" if look.steps is None else f" after step {look.steps}"
    return f"in {', called by '.join(_shown(*frame) for frame in frames)}{after}"


def _shown(file: str, line: int, name: str) -> str:
    path = Path(file)
    short = path.relative_to(PACKAGE.parent) if _is_own(file) else Path(*path.parts[-2:])
    return f"{name} ({short}:{line})"


def _traceback(look: StackSample) -> str:
    return "".join(f'  File "{file}", line {line}, in {name}\n' for file, line, name in look.stack)
