"""TrivialAugment beside torchvision's: the same table of operations, and the same pixels of each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from harness.data.augment.batched import Batched, Recipe
from harness.data.augment.draws import draw
from harness.data.augment.trivial import NAMES, OPERATIONS, STRENGTHS, apply_operations, draw_operations
from harness.spec import Augment
from tests.data.augment.executing import by_batched, by_fused

THEIRS: Any = v2.TrivialAugmentWide()
IDS = dict(zip(NAMES, THEIRS._AUGMENTATION_SPACE, strict=True))


def photograph(channels: int, seed: int = 0, height: int = 41, width: int = 60) -> Tensor:
    """A smooth image of few gray levels in one channel and many in others, uint8 [C, H, W]."""
    random = torch.Generator().manual_seed(seed)
    small = torch.rand(1, channels, 7, 9, generator=random)
    image = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)
    return (image * torch.linspace(90, 255, channels)[:, None, None]).to(torch.uint8)


def reference(image: Tensor, name: str, strength: float) -> Tensor:
    given = strength / 255 if name == "solarize" else strength
    nearest = InterpolationMode.NEAREST
    return THEIRS._apply_image_or_video_transform(image, IDS[name], given, interpolation=nearest, fill={Tensor: None})


def test_the_operations_are_torchvisions_in_name_order_strength_and_sign() -> None:
    assert [one.lower().replace("_", "") for one in IDS.values()] == [name.replace("_", "") for name in NAMES]
    for name, (strengths, signed) in OPERATIONS.items():
        theirs, has_sign = THEIRS._AUGMENTATION_SPACE[IDS[name]]
        expected = theirs(STRENGTHS, 41, 60)
        expected = torch.zeros(STRENGTHS) if expected is None else expected.double()
        expected = (expected + 1e-4).trunc() if "translate" in name else expected * (255 if name == "solarize" else 1)
        assert strengths == pytest.approx(expected.numpy(), abs=1e-4) and signed == has_sign


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_makes_the_pixels_that_torchvision_makes(name: str, channels: int) -> None:
    strengths, signed = OPERATIONS[name]
    chosen = [sign * float(strengths[place]) for place in (0, 7, 16, 30) for sign in ((1, -1) if signed else (1,))]
    images = torch.stack([photograph(channels, seed) for seed in range(len(chosen))])
    drawn = torch.tensor([[NAMES.index(name), strength] for strength in chosen])
    found = apply_operations(images, drawn)
    expected = torch.stack([reference(*one) for one in zip(images, [name] * len(chosen), chosen, strict=True)])
    differ = (found.int() - expected.int()).abs()
    moves = name in ("shear_x", "shear_y", "rotate")
    # Where a place falls between two pixels, or a blend on a whole gray level, rounding decides.
    assert (differ > 0).double().mean() < (0.01 if moves else 0.02 if name == "color" else 0.002)
    assert moves or differ.max() <= 1
    unchanged = name in ("identity", "color") if channels == 1 else name == "identity"
    assert torch.equal(found, images) == unchanged


def test_images_of_a_batch_have_each_their_own_operation() -> None:
    images = torch.stack([photograph(3, seed) for seed in range(len(NAMES))])
    drawn = torch.from_numpy(draw_operations(np.random.default_rng(0), 10_000))
    drawn = torch.stack([drawn[drawn[:, 0] == number][0] for number in range(len(NAMES))])
    together = apply_operations(images, drawn)
    alone = [apply_operations(images[place : place + 1], drawn[place : place + 1])[0] for place in range(len(NAMES))]
    assert torch.equal(together, torch.stack(alone)) and together.dtype == torch.uint8


def test_operations_strengths_and_signs_are_drawn_evenly() -> None:
    drawn = draw_operations(np.random.default_rng(1), 140_000)
    counts = Counter(drawn[:, 0].astype(int).tolist())
    assert len(counts) == 14 and all(count == pytest.approx(10_000, abs=500) for count in counts.values())
    turns = drawn[drawn[:, 0] == NAMES.index("rotate"), 1]
    assert len(np.unique(np.abs(turns))) == STRENGTHS and (turns < 0).mean() == pytest.approx(15 / 31, abs=0.02)


@pytest.mark.parametrize("more", [{}, {"color_jitter": {"brightness": 0.3}}, {"resize": 20, "flip": True}])
def test_a_recipe_has_it_before_normalisation_and_draws_it_from_seed_epoch_and_sample(more: dict[str, Any]) -> None:
    augment = Augment.model_validate({"trivial_augment": True, **more})
    images = torch.stack([photograph(3, seed) for seed in range(30)])
    draws = draw(augment, 30, (41, 60, 3), 0, 5)
    assert np.array_equal(draws.operation, draw(augment, 30, (41, 60, 3), 0, 5).operation)
    assert not np.array_equal(draws.operation, draw(augment, 30, (41, 60, 3), 0, 6).operation)

    def made(recipe: Augment, drawn: Any) -> Tensor:
        plain = Recipe(recipe, (0.0,) * 3, (1 / 255,) * 3)
        return Batched(plain, images.device).train(images, drawn.map(torch.from_numpy))

    rest = made(
        augment.model_copy(update={"trivial_augment": False}), draw(Augment.model_validate(more), 30, (41, 60, 3), 0, 5)
    )
    expected = apply_operations(rest.round().to(torch.uint8), torch.from_numpy(draws.operation))
    assert torch.equal(made(augment, draws), expected.float())


def test_a_cpu_gives_it_to_torch() -> None:
    recipe = Recipe(Augment(trivial_augment=True, crop=2), (0.5,) * 3, (0.25,) * 3)
    images = torch.stack([photograph(3, seed) for seed in range(20)]).permute(0, 2, 3, 1).numpy()
    draws = draw(recipe.augment, 20, (41, 60, 3), 0, 1)
    assert torch.equal(by_fused(recipe, images, draws), by_batched(recipe, images, draws))
