"""One rank that is interrupted and goes on, and that pauses. Started by test_resume.py, through torchrun."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list

from harness.data.prepare import prepare
from harness.records.checkpoints import Checkpoint, CheckpointFolder
from harness.running.execute import CheckpointPolicy, Observer, execute
from harness.spec import parse_run_spec
from harness.training.epochs import Stopped
from harness.training.step_control import StepAction, StepControl


class Killed(BaseException):
    """Stands for SIGKILL of both ranks: nothing is saved."""


def newest(accelerator: Accelerator, folder: CheckpointFolder) -> Checkpoint | None:
    """Returns what rank 0 finds."""
    found = folder.newest()[0] if accelerator.is_main_process else None
    return broadcast_object_list([found])[0]


def go(
    accelerator: Accelerator, values: dict[str, Any], folder: Path | None, fate: dict[str, int]
) -> dict[str, Any] | None:
    """Goes on with a run; `fate` may hold `killed_after`, or `stopped_after` on rank `stopped_rank`."""
    spec, steps, rank = parse_run_spec(values), list[int](), accelerator.process_index
    checkpoints = CheckpointFolder(folder) if folder else None
    identity = {"run_id": "r", "num_processes": 2}
    checkpoint_policy = (
        CheckpointPolicy(checkpoints, identity, lambda: True, newest(accelerator, checkpoints)) if checkpoints else None
    )
    waiting = Signal(fate, rank, steps)

    def on_step(step: int) -> None:
        steps.append(step)
        time.sleep(fate.get("milliseconds", 0) / 1000)
        if step + 1 == fate.get("killed_after"):
            raise Killed

    torch.manual_seed(1000 + rank + time.monotonic_ns() % 1000)
    observer = Observer(on_step, lambda epoch: None, lambda step, problem: None, waiting)
    try:
        outcome = execute(
            spec, prepare(spec.data), accelerator, observer, fingerprint="f", checkpoint_policy=checkpoint_policy
        )
    except Stopped as stopped:
        return {"stopped": stopped.step, "kept": stopped.kept}
    except Killed:
        dist.barrier()
        return {"killed": len(steps)}
    return {
        "weights": {name: value.clone() for name, value in outcome.network.state_dict().items()},
        "losses": outcome.losses,
        "arrays": outcome.arrays,
        "metrics": {split: metrics.model_dump() for split, metrics in outcome.measured.metrics.items()},
        "random": torch.get_rng_state(),
        "resumed_at": outcome.measured.resumed_at_steps,
    }


class Signal:
    """A signal that one of the ranks gets."""

    def __init__(self, fate: dict[str, int], rank: int, steps: list[int]) -> None:
        self._after = fate.get("stopped_after") if fate.get("stopped_rank", 0) == rank else None
        self._steps = steps

    def __call__(self) -> bool:
        return bool(self._after and self._steps and self._steps[-1] + 1 >= self._after)


def pauses_of(
    make: Callable[[Callable[[], bool]], StepControl], rank: int, stopped_after: int | None, seconds: float
) -> list[tuple[int, str]]:
    """Returns at which steps a rank paused, and for what; rank 1 alone gets the signal, and is slower."""
    step = 0
    pauses = make(lambda: rank == 1 and stopped_after is not None and step >= stopped_after)
    found: list[tuple[int, str]] = []
    while step < 400 and not (found and found[-1][1] in ("STOP", "LEAVE")):
        time.sleep(seconds * (1 + rank))
        dist.all_reduce(torch.zeros(1))  # the gradients'
        step += 1
        if pauses():
            found.append((step, StepAction(pauses.action).name))
            pauses.done()
    pauses.close()
    return found


def main(folder: Path) -> None:
    gc.freeze()  # as a launch does: each run collects garbage, and would walk through all that was imported
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    accelerator = Accelerator(cpu=True, mixed_precision="no", kwargs_handlers=[ddp])
    rank = accelerator.process_index
    for name, (values, fates, removed) in json.loads((folder / "scenarios.json").read_text()).items():
        own = folder / name
        found: dict[str, Any] = {"never stopped": go(accelerator, values, None, {}), "parts": []}
        for fate in fates:
            found["parts"].append(go(accelerator, values, own, fate))
            accelerator.wait_for_everyone()
        if removed and accelerator.is_main_process:
            path = sorted(own.glob("step-*"))[-1]
            shutil.copytree(path, folder / f"{name} whole")
            (path / removed).unlink()
        accelerator.wait_for_everyone()
        found["resumed"] = go(accelerator, values, own, {})
        torch.save(found, folder / f"{name}.{rank}.pt")
    paused = {
        "time": pauses_of(lambda signal: StepControl(2, signal, 0.3, None), rank, None, 0.002),
        "steps": pauses_of(lambda signal: StepControl(2, signal, None, 70), rank, None, 0.0),
        "stop": pauses_of(lambda signal: StepControl(2, signal, None, None), rank, 30, 0.002),
        "leave": pauses_of(lambda signal: StepControl(2, lambda: False, None, 50, is_lost=signal), rank, 30, 0.002),
    }
    torch.save(paused, folder / f"paused.{rank}.pt")
    accelerator.end_training()
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
