"""Tries the loaders on the machine at hand and takes the fastest."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator

import torch

from harness import registry
from harness.data.copies import of_one_loader
from harness.data.loaders.pinned import usual_workers
from harness.data.loading import Batch, Feed, Loader, of_all_ranks
from harness.errors import HarnessError, MachineError
from harness.parameters import NonNegativeInt, PositiveFloat
from harness.registry import loader

DECODED = ("resident", "pinned")  # loaders of images that are decoded before
WARM_UP_BATCHES = 3


@loader("auto")
def auto(feed: Feed, *, seconds: PositiveFloat = 1.0, workers: NonNegativeInt | None = None) -> Loader:
    """Tries each candidate for a moment and takes the fastest; the record has what was measured.

    Args:
        seconds: for how long each is tried.
        workers: of the pinned loader; null: none on a CPU, where handing batches over costs more, else 2.
    """
    if workers is None:
        workers = usual_workers(feed.device)
    if feed.chosen:  # a run that goes on keeps its loader: bits may differ between them
        again = _build(feed.chosen.name, feed, workers)
        again.measured = dict(feed.chosen.measured)
        return again
    decoded = ("pinned",) if feed.train.varied else DECODED  # `resident` would give other pixels
    names = (*decoded, *(plugin.names[0] for plugin in registry.plugins("loader") if plugin.decodes))
    key = (feed.recipe, id(feed.train.store), len(feed.train.labels), feed.sampler.global_batch_size, workers, names)
    if key not in _measured:
        rates = {name: _rate(name, feed, seconds, workers) for name in names}
        _measured[key] = _over_all_ranks(rates)
        weakref.finalize(feed.train.store, _measured.pop, key, None)  # its id may be another's then
    rates = _measured[key]
    fastest = max(names, key=lambda name: rate if isinstance(rate := rates[name], float) else -1.0)
    if isinstance(rates[fastest], str):
        raise MachineError(f"no loader can be used: {rates[fastest]}", "name one to see what it needs")
    with of_one_loader():
        chosen = _build(fastest, feed, workers)
    chosen.measured = rates | chosen.measured
    return chosen


# Measured once for all runs of a process that are fed alike.
_measured: dict[tuple, dict[str, float | str]] = {}


def _build(name: str, feed: Feed, workers: int) -> Loader:
    return registry.build("loader", name, feed, **({"workers": workers} if name == "pinned" else {}))


def _rate(name: str, feed: Feed, seconds: float, workers: int) -> float | str:
    """Returns images per second of this rank, or why the loader cannot be had."""
    try:
        candidate = _build(name, feed, workers)
    except HarnessError as error:
        return error.message
    try:
        batches = _endless(candidate)
        for _ in range(WARM_UP_BATCHES):
            next(batches)
        _synchronize(feed.device)
        images, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            images += len(next(batches)[1])
        _synchronize(feed.device)
        return images / (time.perf_counter() - began)
    except HarnessError as error:
        return error.message
    finally:
        candidate.close()


def _endless(candidate: Loader) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from candidate.epoch(epoch)
        epoch += 1


def _over_all_ranks(rates: dict[str, float | str]) -> dict[str, float | str]:
    """Adds up the ranks' rates, so that all choose alike; a loader that one rank cannot have, none has."""
    every = of_all_ranks(rates)

    def together(name: str) -> float | str:
        values = [rates[name] for rates in every]
        why = next((value for value in values if isinstance(value, str)), None)
        return why or sum(value for value in values if isinstance(value, float))

    return {name: together(name) for name in rates}


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
