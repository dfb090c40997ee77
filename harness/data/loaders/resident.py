"""The data set as uint8 on the device; whole batches gathered and augmented there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from harness.cache import remember, remembered
from harness.compiled import compile_for_each_shape
from harness.data.augment.batched import Batched
from harness.data.augment.draws import Draws
from harness.data.copies import on_cpu, on_gpu
from harness.data.loading import Batch, Feed, of_all_ranks
from harness.data.order import evaluation_share
from harness.data.source import Split
from harness.registry import loader

TRIAL_BATCHES = 50
EAGER, COMPILED = "resident, not compiled", "resident, compiled"  # in the record
CACHE = "compiled"  # folder of the cache
# About what importing and starting the compiler takes: a run whose batches all take less has no use for it.
COMPILE_SECONDS = 10.0
TRITON_CAPABILITY = (7, 0)


@loader("resident")
def resident(feed: Feed, *, compile: bool | None = None) -> ResidentOnCpu | ResidentOnGpu:
    """The data set as uint8 on the device: the fastest where it fits.

    Args:
        compile: compile the augmentation on a GPU with torch.compile; null tries both and takes the faster, unless the
            run is short or deterministic
    """
    return ResidentOnCpu(feed) if feed.device.type == "cpu" else ResidentOnGpu(feed, compile)


class ResidentOnCpu:
    """See `harness.data.loading.Loader`."""

    name = "resident"

    def __init__(self, feed: Feed) -> None:
        from harness.data.augment.fused import Fused  # Numba, which a GPU does without

        self.measured: dict[str, float | str] = {}
        self._feed = feed = feed.squashed()
        # All of it before the first step: what is evaluated must not find the memory full of what training needs.
        self._images, *_ = on_cpu([feed.train, *feed.evaluated], channels_last=feed.recipe.channels_last)
        self._labels = torch.from_numpy(feed.train.labels)
        self._fused = Fused(feed.recipe)
        self._fused.train(self._images, np.zeros(1, np.int64), feed.draws(0)[:1])  # compiles before the clock runs

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        batches, samples, draws = self._feed.in_order(epoch, first_batch)
        for batch in batches:
            rows = samples[batch]
            yield self._fused.train(self._images, rows.numpy(), draws[batch]), self._labels.index_select(0, rows)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        split = split.squashed
        [images] = on_cpu([split], channels_last=self._feed.recipe.channels_last)
        for share in evaluation_share(split, self._feed.rank, self._feed.num_processes, batch_size):
            rows = np.arange(share.start, share.stop, share.step)
            yield self._fused.evaluate(images, rows, split.boxes(rows)), torch.from_numpy(split.labels[rows])

    def close(self) -> None:
        """Ends the threads; the data set stays for the process's next run, if that asks for it."""
        self._fused.close()


class ResidentOnGpu:
    """See `harness.data.loading.Loader`."""

    name = "resident"

    def __init__(self, feed: Feed, compile: bool | None) -> None:
        self.measured: dict[str, float | str] = {}
        self._feed = feed = feed.squashed()
        self._batched = Batched(feed.recipe, feed.device)
        (self._images, self._labels), *_ = on_gpu([feed.train, *feed.evaluated], feed.device)  # as on a CPU
        self._make = self._faster() if compile is None else self._compiled() if compile else self._gather

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each global batch."""
        device = self._feed.device
        batches, samples, draws = self._feed.in_order(epoch, first_batch)
        # One copy an epoch: a copy a batch would cost more than the batch.
        draws = draws.map(lambda values: torch.from_numpy(values).to(device))
        samples = samples.to(device)
        labels = self._labels.index_select(0, samples)
        for batch in batches:
            yield self._make(samples[batch], draws[batch]), labels[batch]

    def evaluation(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Yields this process's share of a split, in order."""
        split, device = split.squashed, self._feed.device
        [(images, labels)] = on_gpu([split], device)
        boxes = split.boxes(np.arange(len(split.labels)))
        boxes = None if boxes is None else torch.from_numpy(boxes).to(device)
        for share in evaluation_share(split, self._feed.rank, self._feed.num_processes, batch_size):
            box = None if boxes is None else boxes[share]
            yield self._batched.evaluate(images[share].permute(0, 3, 1, 2), box), labels[share]

    def close(self) -> None:
        """Nothing to stop: the data set stays for the process's next run, if that asks for it."""

    def _gather(self, samples: Tensor, draws: Draws) -> Tensor:
        return self._batched.train(self._images.index_select(0, samples).permute(0, 3, 1, 2), draws)

    def _compiled(self) -> Callable[[Tensor, Draws], Tensor]:
        compiled = compile_for_each_shape(self._gather, fullgraph=True)
        for size in sorted({len(share) for share in self._feed.shares(0, 0)}):  # before the clock runs
            self._try(compiled, size, 1)
        return compiled

    def _faster(self) -> Callable[[Tensor, Draws], Tensor]:
        """Returns what makes a batch, on all ranks the same: measured once for a card and a recipe, then remembered."""
        if why := self._why_not_compiled():
            self.measured[COMPILED] = why
            return self._gather
        key = hashlib.sha256(repr(self._decided_by()).encode()).hexdigest()[:32]
        if known := self._known(key):
            self.measured |= known
            eager, compiled_rate = known.get(EAGER), known[COMPILED]
            is_faster = isinstance(eager, float) and isinstance(compiled_rate, float) and compiled_rate > eager
            return self._compiled() if is_faster else self._gather
        size = len(next(self._feed.shares(0, 0)))
        self._try(self._gather, size, 3)
        seconds = max(of_all_ranks(self._try(self._gather, size, TRIAL_BATCHES))) / TRIAL_BATCHES
        self.measured[EAGER] = size / seconds
        if self._feed.batches is not None and self._feed.batches * seconds < COMPILE_SECONDS:
            whole = self._feed.batches * seconds
            self.measured[COMPILED] = f"not tried: all batches of the run take {whole:.2g} s without"
            return self._gather
        compiled, found = self._gather, 0.0
        try:
            compiled = self._compiled()
            found = self._try(compiled, size, TRIAL_BATCHES) / TRIAL_BATCHES
        except Exception as error:  # no Triton, no compiler: it says so in the record
            self.measured[COMPILED] = str(error).partition("\n")[0]
        times = of_all_ranks(found)
        if not all(times):
            self.measured.setdefault(COMPILED, "not on all ranks")
            return self._gather
        self.measured[COMPILED] = size / max(times)
        remember(CACHE, key, lambda: json.dumps(self.measured))
        return compiled if max(times) < seconds else self._gather

    def _why_not_compiled(self) -> str:
        """Returns why the compiler is not tried; empty where it is."""
        if self._feed.deterministic:
            return "not tried: train.deterministic"
        capability = torch.cuda.get_device_capability(self._feed.device)
        if capability < TRITON_CAPABILITY:
            return "not tried: compute capability {}.{}, and torch's compiler needs 7.0".format(*capability)
        return ""

    def _decided_by(self) -> tuple[object, ...]:
        card = torch.cuda.get_device_name(self._feed.device)
        size = len(next(self._feed.shares(0, 0)))
        return torch.__version__, card, self._feed.recipe, self._feed.train.shape, size, self._feed.num_processes

    def _known(self, key: str) -> dict[str, float | str]:
        """Returns what a run was given that goes on here, whose bits would change, else what all ranks remember."""
        if self._feed.chosen and COMPILED in self._feed.chosen.measured:
            return {
                name: self._feed.chosen.measured[name]
                for name in (EAGER, COMPILED)
                if name in self._feed.chosen.measured
            }
        kept = of_all_ranks(remembered(CACHE, key))
        return json.loads(kept[0] or "") if all(kept) else {}

    def _try(self, make: Callable[[Tensor, Draws], Tensor], size: int, batches: int) -> float:
        """Returns the seconds of some batches."""
        device = self._feed.device
        draws = self._feed.draws(0)[:size].map(lambda values: torch.from_numpy(values).to(device))
        samples = torch.arange(size, device=device)
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        for _ in range(batches):
            make(samples, draws)
        torch.cuda.synchronize(device)
        return time.perf_counter() - began
