"""Stages of `first_contact.py`: runs that are compared, with options on one device, compiled, in a group of one rank.

    python benchmarks/performance/first_contact_runs.py options|graphs|ranks

Prints one line of JSON a case, as soon as it is through; `problem` is null where it is right. On a GPU each step but
the first of an epoch runs under `torch.cuda.set_sync_debug_mode("error")`: an operation for which the host would wait
fails. `difference` is the largest one of the losses to those of another case, over that one's largest loss; it may be
`limit`, which is 0 where the same bits must come out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.util
import json
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for `deterministic: true`; read when CUDA starts

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from torch import Tensor

from harness import registry
from harness.contracts import loader as contract
from harness.data.files import ImageFiles
from harness.data.prepare import prepare
from harness.data.source import Split
from harness.errors import HarnessError
from harness.records.checkpoints import CheckpointFolder
from harness.running.build import ddp_options, global_batches, group_options
from harness.running.execute import CheckpointPolicy, Observer, Outcome, execute
from harness.spec import RunSpec, parse_run_spec
from harness.training.epochs import Stopped

CUDA = torch.cuda.is_available()
BATCH, STEPS = (512, 16) if CUDA else (8, 6)  # steps of an epoch
MOVED = {"crop": 4, "flip": True}
IMAGES = {"name": "synthetic", "size": 32 if CUDA else 16, "train": STEPS * BATCH, "test": 2 * BATCH, "augment": MOVED}
TAIL = IMAGES | {"train": STEPS * BATCH + BATCH // 2}  # one step more, with a smaller batch
CNN = {"name": "cnn3", "padding": "same"} | ({} if CUDA else {"filters": [4, 4, 4], "hidden_size": 8})
RESIDENT = {"name": "resident", "compile": False}
FUSED = {"name": "torch/SGD", "lr": 0.05, "kwargs": {"momentum": 0.9, "fused": True}}
GRAPHS = "reduce-overhead"
DECODED_LEVELS = 3  # of grey, that nvJPEG differs by from libjpeg at the most, as met on an H200
NEAR = 1e-3  # the same sums in another order, in float32, over two epochs
# What the record of a run on a GPU must hold; the driver may hide what a process of its own has.
MEASURED = {
    "memory": ("max_allocated_bytes", "max_reserved_bytes", "device_bytes"),
    "energy": ("train_joules", "joules_per_epoch"),
    "telemetry": ("gpu_power_watts", "gpu_utilization", "gpu_sm_clock_hertz", "gpu_temperature_celsius"),
}


def main() -> None:
    """Runs a stage."""
    stages: dict[str, Callable[[], Cases]] = {"options": options, "graphs": graphs, "ranks": ranks}
    gc.freeze()  # each run collects garbage, and would walk through all that was imported
    raise SystemExit(int(stages[sys.argv[1]]().failed))


def train(**options: Any) -> dict[str, Any]:
    """Returns the section of a run."""
    return {"train": options}


def options() -> Cases:
    """Runs every precision, layout and loader, and what a step may do besides."""
    bf16, pinned = {"mixed_precision": "bf16"}, {"loader": {"name": "pinned", "workers": 0}}
    with contextlib.nullcontext() if CUDA else stand_in() as gpu:
        cases = Cases(Accelerator(), gpu, {"data": TAIL, **train(mixed_precision="no", deterministic=True)})
        cases.compare("fp32")
        cases.compare("fp32 again", {}, "fp32")
        cases.compare("pinned", pinned, "fp32")
        cases.compare("pinned with workers", {"loader": {"name": "pinned", "workers": 2 if CUDA else 1}}, "fp32")
        if CUDA and importlib.util.find_spec("nvidia.dali"):
            cases.compare("dali", {"loader": "dali"}, "fp32", NEAR)
            cases.decode("dali, files of 4:4:4", 0)
            cases.decode("dali, files of 4:2:0", 2)
        cases.compare("moving average", train(ema_decay=0.9), "fp32")
        cases.compare("clipped to more than there is", train(clip_grad_norm=1e6), "fp32")
        cases.compare("clipped", train(clip_grad_norm=0.1))
        cases.compare("micro-batches", train(gradient_accumulation_steps=4), "fp32", NEAR)
        cases.compare("not deterministic", train(deterministic=False), "fp32", NEAR)
        cases.compare("channels last", train(channels_last=True), "fp32", NEAR)
        cases.compare("tf32", train(tf32=True), "fp32", 0.02)
        cases.compare("bf16", train(**bf16), "fp32", 0.05)
        cases.compare("bf16, pinned", pinned | train(**bf16), "bf16")
        cases.compare("bf16, channels last", train(**bf16, channels_last=True), "fp32", 0.05)
        cases.compare("bf16 weights", train(mixed_precision="bf16-true"), "fp32", 0.2)
        # It asks at each step for infinite gradients, unless the optimizer is fused.
        cases.compare("fp16", train(mixed_precision="fp16"), "fp32", 0.05, may_wait=True)
        cases.compare("fp16, fused", train(mixed_precision="fp16") | {"optimizer": FUSED}, "fp16", 0.05)
        cases.resume({"model": CNN | {"dropout": 0.5}, **train(ema_decay=0.9, checkpoint_every_steps=STEPS - 4)})
        cases.measure()
    return cases


def graphs() -> Cases:
    """Compiles, and records CUDA graphs."""
    model = {} if CUDA else {"model": {"name": "mlp", "hidden_sizes": [8]}}  # soon compiled
    cases = Cases(Accelerator(cpu=not CUDA), None, model | train(mixed_precision="no"))
    cases.compare("eager")
    cases.compare("compiled", train(compile=True), "eager", NEAR)
    cases.compare("graphs", train(compile=GRAPHS), "eager", NEAR)
    if CUDA:
        cases.compare("augmentation compiled", {"loader": RESIDENT | {"compile": True}}, "eager", NEAR)
        micro_batches = train(compile=GRAPHS, gradient_accumulation_steps=4)
        cases.compare("graphs and micro-batches", micro_batches, "eager", NEAR)
        cases.compare("bf16 in graphs", train(compile=GRAPHS, mixed_precision="bf16"), "eager", 0.05)
        cases.compare("tf32, tuned", train(compile="max-autotune", tf32=True), "eager", 0.02)
        vgg = {"model": "fast_vgg"}
        cases.compare("fast_vgg in bf16", vgg | train(mixed_precision="bf16"))
        cases.compare("fast_vgg compiled", vgg | train(mixed_precision="bf16", compile=True), "fast_vgg in bf16", 0.05)
    return cases


def ranks() -> Cases:
    """Runs in a group of one rank, NCCL's on a GPU, where Accelerate wraps the network in DDP all the same."""
    cases = Cases(Accelerator(cpu=not CUDA), None, train(mixed_precision="no", deterministic=True))
    cases.compare("alone")
    AcceleratorState._reset_state(reset_partial_state=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rank = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in rank.items()}}
    handlers = [ddp_options(), group_options([cases.spec({}).train], supervised=False)]
    cases.accelerator = Accelerator(cpu=not CUDA, kwargs_handlers=handlers)
    cases.compare("DDP", {}, "alone")
    cases.compare("DDP, micro-batches", train(gradient_accumulation_steps=4), "alone", NEAR)
    if CUDA:
        cases.compare("DDP, compiled", train(compile=True, deterministic=False), "alone", NEAR)
        cases.compare("DDP in graphs", train(compile=GRAPHS, deterministic=False), "alone", NEAR)
    torch.distributed.destroy_process_group()
    return cases


class Cases:
    """Runs that are compared.

    Args:
        accelerator: the device.
        gpu: the stand-in for one, where it is none.
        base: sections of all runs.
    """

    def __init__(self, accelerator: Accelerator, gpu: Any, base: dict[str, Any]) -> None:
        self.accelerator, self.base = accelerator, base
        self.failed = False
        self._gpu = gpu
        self._losses: dict[str, Tensor] = {}

    def spec(self, sections: dict[str, Any]) -> RunSpec:
        """Returns a run."""
        sgd = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
        common = {"model": CNN, "data": IMAGES, "optimizer": sgd, "loader": RESIDENT, **self.base, **sections}
        few = {"epochs": 2, "global_batch_size": BATCH, "eval_batch_size": BATCH, "num_processes": 1}
        return parse_run_spec({**common, "train": few | self.base["train"] | sections.get("train", {})})

    def compare(
        self,
        name: str,
        sections: dict[str, Any] | None = None,
        beside: str = "",
        limit: float = 0.0,
        *,
        may_wait: bool = False,
    ) -> None:
        """Runs a case, and compares its losses with those of one before."""
        with self._case(name, beside, limit):
            self._losses[name] = self._run(self.spec(sections or {}), may_wait=may_wait).losses

    def resume(self, sections: dict[str, Any]) -> None:
        """Runs a case without and with checkpoints, and once more in two parts."""
        self.compare("whole", sections)
        spec, stop = self.spec(sections), STEPS + 5
        with tempfile.TemporaryDirectory() as name:
            policy = CheckpointPolicy(CheckpointFolder(Path(name)), {"run_id": "first contact"}, lambda: True)
            with self._case("with checkpoints", "whole"):
                self._losses["with checkpoints"] = self._run(spec, policy).losses
        with tempfile.TemporaryDirectory() as name, self._case("resumed", "whole"):
            policy = dataclasses.replace(policy, folder=CheckpointFolder(Path(name)))
            with contextlib.suppress(Stopped):
                self._run(spec, policy, stop_after=stop)
            checkpoint, problems = policy.folder.newest()
            if checkpoint is None or checkpoint.step != stop:
                raise HarnessError(f"no checkpoint of step {stop}: {problems}")
            self._losses["resumed"] = self._run(spec, dataclasses.replace(policy, resume_from=checkpoint)).losses

    def decode(self, name: str, subsampling: int) -> None:
        """Holds what DALI decodes, of photographs of noise and of smooth ones, against Pillow's pixels."""
        with self._case(name) as facts, tempfile.TemporaryDirectory() as folder:
            random, paths = np.random.default_rng(0), [f"{folder}/{number:03}.jpg" for number in range(contract.COUNT)]
            for number, path in enumerate(paths):
                image = Image.fromarray(random.integers(0, 256, (33, 33, 3) if number % 2 else (4, 4, 3), np.uint8))
                image.resize((33, 33), Image.Resampling.BICUBIC).save(path, quality=90, subsampling=subsampling)
            pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
            split = Split(ImageFiles(paths, channels=3), np.arange(len(paths)))
            feed = dataclasses.replace(contract.feed(split), device=self.accelerator.device)
            loader = registry.build("loader", "dali", feed)
            found = [(images.cpu(), labels.cpu()) for images, labels in loader.epoch(0)]
            loader.close()
            expected = contract.expected_epoch(dataclasses.replace(feed, device=contract.CPU), pixels, 0)
            scale = torch.tensor(feed.recipe.scale).view(1, -1, 1, 1)
            pairs = zip(found, expected, strict=True)
            facts["levels"] = max(float(((one - other).abs() / scale).max()) for (one, _), (other, _) in pairs)
            contract.require_same(found, expected, feed, DECODED_LEVELS)

    def measure(self) -> None:
        """Trains for long enough that samples of the GPU's state fall into it, as suites do."""
        model = {"name": "resnet18"} if CUDA else CNN
        data = IMAGES | ({"train": 40 * BATCH} if CUDA else {})
        asked = {"epochs": 12 if CUDA else 3, "mixed_precision": "bf16", "channels_last": True, "deterministic": False}
        with self._case("measured") as facts:
            spec = self.spec({"model": model, "data": data, "train": asked})
            record: Any = self._run(spec).measured.model_dump()
            facts |= {part: record[part] for part in ("clock", "throughput", *MEASURED)}
            names = [f"{part}.{name}" for part in MEASURED for name in MEASURED[part] if record[part][name] is None]
            if names:
                raise HarnessError("; ".join(f"{name} is null: {record['unavailable'].get(name)}" for name in names))

    def _run(
        self,
        spec: RunSpec,
        policy: CheckpointPolicy | None = None,
        stop_after: int | None = None,
        *,
        may_wait: bool = False,
    ) -> Outcome:
        splits = prepare(spec.data)
        steps, every = len(global_batches(spec, splits).sizes), spec.train.checkpoint_every_steps if policy else None
        waits: list[str] = []
        done, watched = 0, False

        def on_step(step: int) -> None:
            nonlocal done, watched
            done = step + 1
            if self._gpu and watched:
                waits.extend(self._gpu.waits)
            # What follows an epoch, or comes before a checkpoint, waits for the GPU, and the next step is its first.
            watched = not may_wait and done % steps != 0 and not (every and done % every == 0) and done != stop_after
            if self._gpu:
                self._gpu.waits.clear()
            elif CUDA:
                torch.cuda.set_sync_debug_mode("error" if watched else "default")

        observer = Observer(on_step, lambda epoch: None, stop_requested=lambda: done == stop_after)
        try:
            outcome = execute(spec, splits, self.accelerator, observer, fingerprint="", checkpoint_policy=policy)
        finally:
            if CUDA:
                torch.cuda.set_sync_debug_mode("default")
        if waits:
            raise HarnessError(f"the host waits for the GPU: {', '.join(sorted(set(waits)))}")
        return outcome

    @contextlib.contextmanager
    def _case(self, name: str, beside: str = "", limit: float = 0.0) -> Iterator[dict[str, Any]]:
        """Prints what comes of a case, whatever that is; it puts its losses where they are looked for."""
        facts: dict[str, Any] = {"case": name, "problem": None}
        began = time.perf_counter()
        try:
            yield facts
            if beside:
                if beside not in self._losses:
                    raise HarnessError(f"{beside} has no losses to compare with")
                losses, others = self._losses[name].double(), self._losses[beside].double()
                difference = ((losses - others).abs().max() / others.abs().max()).item()
                facts |= {"beside": beside, "difference": difference, "limit": limit}
                if not difference <= limit:
                    raise HarnessError(f"losses differ by {difference:.2g} from those of {beside}, not by {limit:g}")
        except HarnessError as error:
            facts["problem"] = error.message
        except Exception as error:  # whatever it is, the other cases go on
            facts["problem"] = f"{type(error).__name__}: {(str(error).strip() or '?').splitlines()[0]}"
            traceback.print_exc()
        facts["seconds"] = time.perf_counter() - began
        self.failed |= facts["problem"] is not None
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def stand_in() -> Iterator[Any]:
    """Gives this process a GPU that is none, and whose state NVML tells all the same."""
    import pytest

    from tests.gpu.stand_in import stand_in_gpu
    from tests.measure.replayed_nvml import NORMAL, install

    with pytest.MonkeyPatch.context() as patch, stand_in_gpu() as gpu:
        install(dataclasses.replace(NORMAL, energy=tuple(range(0, 10**7, 1000))), patch)
        yield gpu


if __name__ == "__main__":
    main()
