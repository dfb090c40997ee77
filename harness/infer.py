"""Times the trained networks of a suite in use, and adds that to the records of runs that kept their weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as of a run; read when CUDA starts

from accelerate import Accelerator
from accelerate.utils import parse_flag_from_env

from harness.errors import HarnessError
from harness.measure.environment import timing_variables
from harness.measure.memory import keep_freed_memory
from harness.measure.system import describe_system
from harness.measure.torch_probe import probe
from harness.measure.usable_gpus import has_usable_gpu
from harness.records.comparable import told_apart
from harness.records.result import Inference, RunResult
from harness.records.store import RunFolder
from harness.results.study import Study
from harness.running.build import prepare_network
from harness.running.inference import measure_inference
from harness.spec.settings import Settings
from harness.training.precision import apply_switches, round_weights
from harness.visualize.trained import Trained, read_run


class Inferred(NamedTuple):
    """A run, and what its network costs to use; or why that is not known."""

    run: str
    inference: Inference | None
    problem: str = ""


def infer(study: Study, settings: Settings) -> Iterator[Inferred]:
    """Yields each run that ended ok, when its network was timed; one that has been timed is left as it is.

    One process times one network after the other, on the device that trained it: records of other systems are left
    alone. Each record is written anew as soon as it is known.

    Args:
        study: the suite with its results.
        settings: by dotted path, what to change in a run's spec, e.g. {"data.root": "/data"}.

    Raises:
        HarnessError: no run of the suite was trained on this system.
    """
    keep_freed_memory()
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not has_usable_gpu(probe())
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="no", dynamo_backend="no")
    system = describe_system(use_cpu=accelerator.device.type == "cpu", with_source=False)
    ok = [run for run in study.results if run.status == "ok" and not run.is_anchor]
    here = [run for run in ok if run.system_id == system["system_id"]]
    if not here:
        message = f"no run of {study.name} has ended ok on this system, {system['name']} ({system['system_id']})"
        raise HarnessError(message, "call it on the machine and with the environment that trained them")
    for result in here:
        assert result.folder
        folder, name = RunFolder(result.folder), f"{result.label}, seed {result.seed}"
        try:
            yield Inferred(name, result.inference or _add(folder, settings, accelerator))
        except HarnessError as error:
            yield Inferred(name, None, error.message)


def _add(folder: RunFolder, settings: Settings, accelerator: Accelerator) -> Inference:
    trained = read_run(folder, settings)
    trained.network  # noqa: B018 - where it cannot be had, nobody need own the run
    if (claimed := folder.claim()) is None:
        raise HarnessError("another process owns the run")
    claim, own = claimed
    with claim:
        result = own.result()
        if result is None or result.attempt != trained.result.attempt:
            raise HarnessError("another process has trained the run again")
        inference = result.inference or _time(trained, result, accelerator)
        own.amend(result, "inference")
        return inference


def _time(trained: Trained, result: RunResult, accelerator: Accelerator) -> Inference:
    """Times a network and adds that to the result."""
    train = trained.spec.train
    here = timing_variables(accelerator.device.type)
    if result.environment not in (None, here):
        message = f"it was trained in another environment ({told_apart(result.environment or {}, here)})"
        raise HarnessError(message, "set that environment: latencies of two do not compare")
    if result.resolved is None:
        raise HarnessError("its record does not say in which precision it ran")
    apply_switches(train)
    network = round_weights(trained.network, result.resolved.mixed_precision)
    network, _ = prepare_network(network, train.model_copy(update={"compile": False}), accelerator)
    found = measure_inference(network, train, trained.image_shape, result.resolved.mixed_precision, accelerator)
    if found.inference is None:
        raise HarnessError(found.unavailable["inference"])
    found.add_to(result)
    return found.inference
