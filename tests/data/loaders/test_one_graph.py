"""What a loader does to a batch on a GPU is one graph for torch's compiler, here traced with the tensors of a CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import Unsupported
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from harness.contracts.loader import array_split, feed
from harness.data.augment.batched import Batched
from harness.data.loaders.dali import Dali
from harness.data.loaders.pinned import OnGpu
from harness.data.loaders.resident import ResidentOnGpu
from harness.data.loading import Feed
from harness.spec import Augment
from tests.data.augment.executing import STEPS

COUNT, SIDE = 24, 48  # larger than any crop
Work = tuple[Callable[..., Tensor], tuple[Any, ...]]


@pytest.fixture(autouse=True)
def with_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only asked of a GPU."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**30))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    torch.compiler.reset()


def of_resident(given: Feed) -> Work:
    draws = given.draws(0).map(torch.from_numpy)
    return ResidentOnGpu(given, compile=False)._gather, (torch.arange(COUNT).flip(0), draws)


def of_pinned(given: Feed) -> Work:
    return OnGpu(given).train, (torch.from_numpy(given.train.images), given.draws(0).map(torch.from_numpy))


def of_dali(given: Feed) -> Work:
    """DALI augments in its own pipeline: what is left for torch is the type, whatever the augmentation."""
    pytest.importorskip("nvidia.dali")
    loader = Dali(given, threads=1, keep_bytes=0)
    loader.close()
    return loader._train.in_format, (torch.rand(COUNT, SIDE, SIDE, 3),)


@pytest.mark.parametrize(
    ("of_loader", "augment"),
    [
        *[pytest.param(of_resident, augment, id=f"resident: {name}") for name, augment in STEPS.items()],
        *[pytest.param(of_pinned, augment, id=f"pinned: {name}") for name, augment in STEPS.items()],
        pytest.param(of_dali, STEPS["crop, flip, cutout, erase"], id="dali"),
    ],
)
def test_augmentation_is_one_graph(of_loader: Callable[[Feed], Work], augment: dict[str, Any]) -> None:
    given = feed(array_split(COUNT, SIDE), augment=Augment.model_validate(augment), channels_last=True)
    given = dataclasses.replace(given, recipe=dataclasses.replace(given.recipe, dtype=torch.bfloat16))
    make, arguments = of_loader(given)
    counter = CompileCounter()
    found = torch.compile(make, backend=counter, fullgraph=True, dynamic=False)(*arguments)
    assert counter.frame_count == 1 and not counters["graph_break"]
    expected = make(*arguments)
    assert found.equal(expected) and found.stride() == expected.stride()


def test_a_graph_that_breaks_is_an_error_and_no_slower_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Batched.train

    def broken(self: Batched, images: Tensor, draws: Any) -> Tensor:
        torch._dynamo.graph_break()
        return train(self, images, draws)

    monkeypatch.setattr(Batched, "train", broken)
    with pytest.raises(Unsupported):
        ResidentOnGpu(feed(array_split(COUNT, SIDE)), compile=True)
