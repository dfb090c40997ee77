"""What torch's compiler makes of augmentation, networks and Muon for a Hopper card compiles to its machine code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from harness.compiled import compile_for_each_shape
from harness.data.augment.batched import Batched, Recipe
from harness.data.augment.draws import draw
from harness.models.network import build_network
from harness.running.build import black_images, prepare_network
from harness.spec import Augment, ImageShape, parse_run_spec
from harness.training.optimizers.muon import orthogonal_all
from harness.training.precision import autocast

pytest.importorskip("triton", reason="a torch that is built for CPUs brings no Triton")
pytest.importorskip("torch", minversion="2.15", reason="the stand-in replaces internals of torch's compiler")
from tests.gpu.hopper import Compiled, hopper

CPU = torch.device("cpu")
BATCH = 512
IMAGE = ImageShape(3, 32, 32)
EVERYTHING = {
    "random_resized_crop": {"size": 32},
    "crop": 2,
    "flip": True,
    "rotate": 10,
    "color_jitter": {"brightness": 0.2, "hue": 10},
    "cutout": 4,
    "erase": {},
}


def assert_all_compiled(found: Compiled, graphs: list[str]) -> None:
    assert found.graphs == graphs and found.kernels
    assert set(found.cubins) == set(found.kernels)
    assert all(cubin.startswith(b"\x7fELF") for variants in found.cubins.values() for cubin in variants)


@pytest.mark.parametrize(
    "augment",
    [
        pytest.param({"crop": 4, "flip": True}, id="crop and flip"),
        pytest.param({"crop": 2, "crop_border": "reflect", "flip": "alternating"}, id="reflected"),
        pytest.param(EVERYTHING, id="everything", marks=pytest.mark.slow),
    ],
)
def test_augmentation(augment: dict[str, Any]) -> None:
    recipe = Recipe(Augment.model_validate(augment), (0.5,) * 3, (0.25,) * 3, torch.bfloat16, channels_last=True)
    drawn = draw(recipe.augment, BATCH, (IMAGE.height, IMAGE.width, IMAGE.channels), seed=0, epoch=0)
    with hopper() as found:
        images = torch.empty(BATCH, *IMAGE, dtype=torch.uint8, memory_format=torch.channels_last)
        draws = drawn.map(lambda values: found.mode.from_tensor(torch.from_numpy(values)))
        batch = compile_for_each_shape(Batched(recipe, CPU).train, fullgraph=True)(images, draws)
    assert batch.shape == images.shape and batch.dtype == torch.bfloat16
    assert_all_compiled(found, ["forward"])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "model",
    [{"name": "cnn3"}, {"name": "resnet18"}, {"name": "fast_vgg", "whiten": 2}],
    ids=lambda model: model["name"],
)
def test_a_step_of_a_network(model: dict[str, Any]) -> None:
    train = {"mixed_precision": "bf16", "channels_last": True, "compile": True}
    sections = {"model": model, "data": "cifar10", "optimizer": {"name": "sgd", "lr": 0.1}, "train": train}
    spec = parse_run_spec(sections)
    network, compiled = prepare_network(build_network(spec.model, IMAGE, 10), spec.train, Accelerator(cpu=True))
    with hopper() as found:
        found.without_values(network)
        images = black_images(BATCH, IMAGE, spec.train, "bf16", CPU).bfloat16()
        with autocast("bf16", CPU):
            loss = F.cross_entropy(compiled(images), torch.zeros(BATCH, dtype=torch.int64))
        loss.backward()
    assert_all_compiled(found, ["forward", "backward"])


@pytest.mark.slow
def test_muons_iterations() -> None:
    shapes = ((64, 24, 3, 3), (64, 64, 3, 3), (256, 64, 3, 3), *[(256, 256, 3, 3)] * 3)  # of fast_vgg
    with hopper() as found:
        updates = [torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last) for shape in shapes]
        stepped: list[Tensor] = compile_for_each_shape(orthogonal_all, fullgraph=True)(updates, 3)
    assert [update.shape for update in stepped] == [update.shape for update in updates]
    assert_all_compiled(found, ["forward"])
