"""What mixed precision and the numerical switches come to on a CPU, and on GPUs as they describe themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

from harness.errors import HarnessError
from harness.spec import TrainSection
from harness.training.precision import apply_switches, autocast, image_dtype, resolve_mixed_precision, round_weights

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("asked", "resolved"), [("auto", "no"), ("no", "no"), ("bf16", "bf16"), ("bf16-true", "bf16-true")]
)
def test_on_a_cpu(asked: str, resolved: str) -> None:
    assert resolve_mixed_precision(asked, CPU) == resolved


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(HarnessError, match="fp16 needs a GPU"):
        resolve_mixed_precision("fp16", CPU)


GPUS = [
    ("NVIDIA GeForce GTX 1060 6GB", (6, 1), False, "no"),
    ("NVIDIA GeForce GTX 1660 Ti", (7, 5), False, "no"),
    ("Tesla V100-SXM2-16GB", (7, 0), False, "fp16"),
    ("NVIDIA GeForce RTX 2080 Ti", (7, 5), False, "fp16"),
    ("NVIDIA H200", (9, 0), True, "bf16"),
]


@pytest.mark.parametrize(("name", "capability", "has_bf16", "resolved"), GPUS)
def test_auto_on_a_gpu(
    name: str, capability: tuple[int, int], has_bf16: bool, resolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16 or including_emulation)
    assert resolve_mixed_precision("auto", CUDA) == resolved
    assert resolve_mixed_precision("no", CUDA) == "no" and resolve_mixed_precision("fp16", CUDA) == "fp16"
    if has_bf16:
        assert resolve_mixed_precision("bf16", CUDA) == "bf16"
        assert resolve_mixed_precision("bf16-true", CUDA) == "bf16-true"
        return
    for asked in ("bf16", "bf16-true"):
        with pytest.raises(HarnessError, match=f"{asked}: {name} has no bfloat16 units"):
            resolve_mixed_precision(asked, CUDA)


def test_images_are_of_half_precision_on_a_gpu_alone() -> None:
    types = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "bf16-true": torch.bfloat16}
    for mixed_precision, expected in types.items():
        assert image_dtype(mixed_precision, CUDA) == expected
        assert image_dtype(mixed_precision, CPU) == torch.float32


def test_weights_in_bfloat16_but_those_of_batch_norm() -> None:
    def network() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.GroupNorm(2, 4))

    types = {name: each.dtype for name, each in round_weights(network(), "bf16-true").state_dict().items()}
    assert {types["0.weight"], types["0.bias"], types["2.weight"]} == {torch.bfloat16}
    assert {types["1.weight"], types["1.bias"], types["1.running_mean"]} == {torch.float32}
    for other in ("no", "bf16", "fp16"):
        assert all(each.dtype == torch.float32 for each in round_weights(network(), other).parameters())


def test_autocast_can_be_entered_for_every_step() -> None:
    layer, images = torch.nn.Linear(2, 2), torch.zeros(1, 2)
    for mixed_precision, expected in [("no", torch.float32), ("bf16", torch.bfloat16)]:
        context = autocast(mixed_precision, CPU)
        for _ in range(3):
            with context:
                assert layer(images).dtype == expected
            assert layer(images).dtype == torch.float32


@pytest.fixture
def switches() -> Iterator[None]:
    yield
    apply_switches(TrainSection(global_batch_size=1))


def test_each_run_sets_the_switches_anew(switches: None) -> None:
    for tf32, deterministic in [(True, True), (False, False), (False, True), (True, False)]:
        apply_switches(TrainSection(global_batch_size=1, tf32=tf32, deterministic=deterministic))
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.backends.cudnn.deterministic == deterministic
        assert torch.backends.cudnn.benchmark == (not deterministic)
        # As Inductor asks, and torch.get_float32_matmul_precision, which raise where two ways to set it were mixed.
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        conv = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
        assert torch.backends.cuda.matmul.fp32_precision == ("tf32" if tf32 else "ieee")
        assert (conv == "tf32") == tf32


def test_torchs_compiler_is_told_of_determinism_and_imported_only_where_it_compiles(
    switches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch._inductor.config", None)
    apply_switches(TrainSection(global_batch_size=1, deterministic=True))
    with pytest.raises(ImportError, match=r"torch\._inductor\.config"):
        apply_switches(TrainSection(global_batch_size=1, deterministic=True, compile=True))
