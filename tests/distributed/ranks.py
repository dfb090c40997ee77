"""One rank: runs scenarios in order and leaves what each came to. Started by test_ranks.py, through torchrun."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from harness.data.augment.draws import Draws
from harness.data.augment.fused import Fused
from harness.data.prepare import prepare
from harness.measure.clock import EpochTime
from harness.running import execute as execute_module
from harness.running import micro_batch_search
from harness.running.build import build_train_state, ddp_options
from harness.running.execute import Observer, execute
from harness.spec import RunSpec, parse_run_spec
from harness.training.distributed import agree_on_time, gather_predictions, sum_tally
from harness.training.loop import Diverged
from harness.training.metrics import Tally


def run(accelerator: Accelerator, values: dict[str, Any], poisoned_step: int | None) -> dict[str, Any]:
    spec = parse_run_spec(values)
    built: list[Any] = []
    syncs: list[bool] = []
    calls = 0
    normalise = Fused.train

    def spied_build(*arguments: Any, **named: Any) -> Any:
        built.append(build_train_state(*arguments, **named))
        model = built[-1].model
        model.register_forward_pre_hook(
            lambda module, inputs: syncs.append(getattr(module, "require_backward_grad_sync", True))
        )
        return built[-1]

    def poisoned(self: Fused, store: Any, rows: Any, draws: Draws) -> torch.Tensor:
        nonlocal calls
        batch = normalise(self, store, rows, draws)
        if len(batch) == 1:  # the loader compiles with one image
            return batch
        if calls == poisoned_step and accelerator.process_index == accelerator.num_processes - 1:
            batch[0] = torch.nan
        calls += 1
        return batch

    def step_with_little_memory(spec: RunSpec, *arguments: Any) -> None:
        if spec.train.micro_batch_size > 8 and accelerator.process_index == accelerator.num_processes - 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        step(spec, *arguments)

    execute_module.build_train_state, Fused.train = spied_build, poisoned
    step, micro_batch_search._step = micro_batch_search._step, step_with_little_memory
    try:
        observer = Observer(lambda step: None, lambda epoch: None)
        outcome = execute(spec, prepare(spec.data), accelerator, observer, fingerprint="f")
    except Diverged as error:
        return {"diverged": error.step}
    finally:
        execute_module.build_train_state, Fused.train = build_train_state, normalise
        micro_batch_search._step = step
    return {
        "weights": {key: value.clone() for key, value in built[0].network.state_dict().items()},
        "average": {key: value.clone() for key, value in built[0].ema.state_dict().items()} if built[0].ema else {},
        "metrics": {split: metrics.model_dump() for split, metrics in outcome.measured.metrics.items()},
        "resolved": dict(outcome.measured.resolved or {}),
        "samples": outcome.measured.throughput.samples,
        "arrays": outcome.arrays,
        "train_seconds": outcome.measured.clock.train_seconds,
        "wrapped": type(built[0].model).__name__,
        "broadcast_buffers": getattr(built[0].model, "broadcast_buffers", None),
        "syncs": syncs,
        "seed_of_dropout": torch.initial_seed(),
    }


def exchange(accelerator: Accelerator) -> dict[str, Any]:
    """What ranks exchange, on numbers that can be checked in the head."""
    rank, world = accelerator.process_index, accelerator.num_processes
    counts = Tally(3, torch.device("cpu"))
    counts.add(torch.eye(3)[[rank, rank]], torch.tensor([0, rank]))
    own = torch.arange(7)[rank::world] * 10
    return {
        "time": agree_on_time(accelerator, EpochTime(10.0 - rank, 1.0 + rank, 5.0 + rank, 7)),
        "confusion": sum_tally(accelerator, counts).confusion.view(3, 3),
        "gathered": gather_predictions(accelerator, own, 7),
        "gathered_one": gather_predictions(accelerator, own[: 1 if rank == 0 else 0], 1),
        "compiler": "torch._dynamo" in sys.modules,
    }


def main(folder: Path) -> None:
    gc.freeze()  # as a launch does: each run collects garbage, and would walk through all that was imported
    accelerator = Accelerator(cpu=True, mixed_precision="no", kwargs_handlers=[ddp_options()])
    for name, (values, poisoned_step) in json.loads((folder / "scenarios.json").read_text()).items():
        values["train"]["num_processes"] = accelerator.num_processes
        found = run(accelerator, values, poisoned_step)
        torch.save(found, folder / f"{name}.{accelerator.process_index}.pt")
    torch.save(exchange(accelerator), folder / f"exchange.{accelerator.process_index}.pt")
    accelerator.end_training()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
