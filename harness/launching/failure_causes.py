"""What the end of a launch means: which rank ended it and how, and what can be done about it."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import see_doctor
from harness.launching.launch_folder import read_exits, read_failures, read_heartbeats, steps_done
from harness.records.result import Cause, Status

# In the words of torch and its libraries, of what is the machine's.
MACHINE_WORDS = ("CUDA", "NCCL", "cuDNN", "CUDNN", "CUBLAS", "NVIDIA", "NVML", "driver", "shared memory", "libcu")
Stack = Sequence[tuple[str, int, str]]  # see `harness.launching.launch_folder.Heartbeat`
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
    """Returns the status and cause of a run whose launch failed."""
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
            step=steps_done(heartbeats.get(rank)),
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
    heartbeats: Mapping[int, Mapping[str, Any]], silent: Collection[int], num_processes: int, seconds: float
) -> Cause:
    """Returns who is stuck where, and who waits.

    Args:
        heartbeats: the last of each rank; those that never began are missing.
        silent: ranks of which none has come for a while.
        num_processes: of the launch.
        seconds: for which there was no step.
    """
    states, stuck, waiting = [], [], []
    for rank in range(num_processes):
        if rank not in heartbeats or rank in silent:
            states.append(f"rank {rank} {'does not answer' if rank in silent else 'never began'}")
        elif num_processes > 1 and _waits(heartbeats[rank]["stack"]):
            waiting.append(rank)
        else:
            stuck.append(rank)
            states.append(f"rank {rank} is stuck {_where(heartbeats[rank])}")
    blamed = next(rank for rank in range(num_processes) if rank not in waiting) if len(states) == 1 else None
    states += [f"rank {rank} waits {_where(heartbeats[rank])}" for rank in waiting]
    stacks = [f"rank {rank}\n{_traceback(heartbeats[rank]['stack'])}" for rank in stuck or waiting]
    return Cause(
        kind="hang",
        message=f"no step for {seconds:g} s: {'; '.join(states)}",
        rank=blamed,
        step=steps_done(heartbeats[blamed]) if blamed is not None and blamed in stuck else None,
        traceback="\n".join(stacks) or None,
    )


def hint_for(status: Status, cause: Cause, folder: Path, packed: int = 1) -> str:
    """Returns what a person can do about a run that ended so."""
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


def _waits(stack: Stack) -> bool:
    file = stack[-1][0]
    # Our own may lie below a folder that is called `accelerate`.
    return any(part in file for part in (OWN_WAITS_IN if _is_own(file) else WAITS_IN))


def _is_own(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE)


def _where(heartbeat: Mapping[str, Any]) -> str:
    stack: Stack = heartbeat["stack"]
    frames = [stack[-1]]
    if not _is_own(stack[-1][0]):
        frames += [frame for frame in stack if _is_own(frame[0])][-1:]
    steps = steps_done(heartbeat)
    after = "" if steps is None else f" after step {steps}"
    return f"in {', called by '.join(_shown(*frame) for frame in frames)}{after}"


def _shown(file: str, line: int, name: str) -> str:
    path = Path(file)
    short = path.relative_to(PACKAGE.parent) if _is_own(file) else Path(*path.parts[-2:])
    return f"{name} ({short}:{line})"


def _traceback(stack: Stack) -> str:
    return "".join(f'  File "{file}", line {line}, in {name}\n' for file, line, name in stack)
