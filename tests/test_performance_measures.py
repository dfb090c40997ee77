"""What the scripts of benchmarks/performance make of the seconds that they take, which stand in for real ones here."""

from __future__ import annotations

import copy
import importlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from harness.spec import ImageShape
from tests.gpu.stand_in import MEMORY, stand_in_gpu

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "performance"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a script by its name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_a_sweep_is_taken_in_turns_each_time_anew_and_compared_run_by_run(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep, order, outputs = script("sweep"), [], set()

    def kept(suite: Path, output: Path, only: list[str], *options: str) -> dict[str, list[float]]:
        order.append("packed" if options == ("--pack", "2") else "kept")
        outputs.add(output)
        return defaultdict(lambda: [3.0, 1.0, 1.0])

    def fresh(specs: Iterable[str]) -> dict[str, list[float]]:
        order.append("fresh")
        return {key: [6.0, 2.0, 2.0] for key in specs}

    monkeypatch.setattr(sweep, "kept", kept)
    monkeypatch.setattr(sweep, "fresh", fresh)
    found = sweep.measure(tmp_path, 2, 3, ["model=mlp"], 2)
    assert found["configs"] == 6 and found["train_seconds"]["pairs"] == 12
    assert found["train_seconds"]["median"] == 0.5 and found["with_first_epoch"]["median"] == 0.5
    assert order == ["fresh", "kept", "packed", "packed", "kept", "fresh"] and len(outputs) == 4
    order.clear()
    monkeypatch.setattr(sweep, "fresh", lambda specs: {key: [13.0, 2.0, 2.0] for key in specs})
    found = sweep.measure(tmp_path, 1, 3, ["model=mlp"], None)
    assert found["train_seconds"]["median"] == 0.5 and found["with_first_epoch"]["median"] == 5 / 17
    assert order == ["kept"] and "kept/packed" not in found


def test_a_start_is_counted_from_before_the_process_and_without_the_first_round(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, order, now = script("start"), [], 0.0

    def moment(kind: str, folder: Path) -> float:
        nonlocal now
        order.append(kind)
        now += {"rank": 3.0, "torch": 2.0}[kind] * (1 if len(order) > 2 else 50)
        return now

    monkeypatch.setattr(start, "_moment", moment)
    monkeypatch.setattr(start, "time", SimpleNamespace(monotonic=lambda: now))
    found = start.measure(2)
    assert order == ["rank", "torch", "torch", "rank", "rank", "torch"]
    assert found["pairs"] == 2 and found["median"] == 1.5
    assert (found["rank_seconds"], found["torch_seconds"]) == (3.0, 2.0)


def test_loops_turn_and_the_first_time_does_not_count(script: Callable[[str], Any]) -> None:
    order: list[str] = []
    loops = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = script("overhead").rounds_of(loops, torch.device("cpu"), 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert [len(seconds[name]) for name in "abc"] == [3, 3, 3]


def test_overhead_is_taken_round_by_round(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    overhead = script("overhead")
    seconds = {"bare": [1.0, 1.0, 2.0], "harness": [2.0, 3.0, 8.0], "accelerate": [5.0, 5.0, 10.0]}
    monkeypatch.setattr(overhead, "rounds_of", lambda *_: seconds)
    found = overhead.measure("tiny", overhead.Case("cnn3", 2), 3, 4)
    assert {name: ratio["median"] for name, ratio in found.items()} == {"tiny/bare": 3.0, "accelerate tiny/bare": 5.0}
    assert found["tiny/bare"]["bare_step_seconds"] == 0.25
    host = overhead.host_work(3)
    assert (host["median"], host["accelerate"], host["bare_step_microseconds"]) == pytest.approx((2e3, 4e3, 1e3))


def test_the_loops_that_are_compared_learn_the_same(script: Callable[[str], Any]) -> None:
    overhead = script("overhead")
    torch.manual_seed(0)
    network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))
    start = copy.deepcopy(network.state_dict())
    batches = [(torch.randn(4, *overhead.IMAGE), torch.randint(10, (4,))) for _ in range(3)]
    accelerator = Accelerator(cpu=True)
    bare, ours, stock = (copy.deepcopy(network) for _ in range(3))
    loops = [
        overhead.bare_loop(bare, batches),
        overhead.harness_loop(ours, 4, accelerator, batches),
        overhead.accelerate_loop(stock, accelerator, batches),
    ]
    for loop in loops:
        loop()
        loop()
    for name, expected in bare.state_dict().items():
        assert not torch.equal(expected, start[name])
        torch.testing.assert_close(ours.state_dict()[name], expected)
        torch.testing.assert_close(stock.state_dict()[name], expected)


def test_small_cards_are_tried_as_a_local_run_would_be(script: Callable[[str], Any]) -> None:
    specs = list(script("gtx").different_specs("speedrun_small"))
    assert len({json.dumps(spec.model_dump(mode="json")["model"], sort_keys=True) for spec in specs}) > 1
    for spec in specs:
        train = spec.train
        assert train.retry_out_of_memory and train.num_processes == 1 and train.gradient_accumulation_steps == 1
        assert spec.data.name == "synthetic" and spec.data.augment.crop


def test_memory_is_counted_while_tensors_are_alive(script: Callable[[str], Any]) -> None:
    counter = script("count_memory").Counter()
    with counter:
        weights = torch.empty(250, device="meta", requires_grad=True)
        images = torch.empty(10, 250, device="meta")
        view = images.view(250, 10)
        assert counter.now == 1000 + 10_000
        product = (images * weights).sum()  # the product is freed, the images are kept for the gradient of the weights
        del images, view
        assert counter.now == 1000 + 10_000 + 4 and counter.peak == 1000 + 20_000 + 4
        product.backward()
        del product
        assert counter.now == 2 * 1000, "the weights and their gradient"


def test_batches_that_fit_are_found_by_halving(script: Callable[[str], Any]) -> None:
    count_memory = script("count_memory")
    assert count_memory.fitting(512, 100.0, lambda size: size) == 64
    assert count_memory.fitting(512, 512.0, lambda size: size) == 512
    assert count_memory.fitting(512, 0.5, lambda size: size) is None


def test_more_images_at_a_time_take_more(script: Callable[[str], Any]) -> None:
    count_memory = script("count_memory")
    one = count_memory.largest("quickstart", [6.0, 0.75])
    assert one["fits"]["6 GiB"] == {"train": one["train_batch"], "eval": one["eval_batch"]}
    assert one["fits"]["0.75 GiB"] == {"train": None, "eval": None}, "no room at all"
    [spec, *_] = script("gtx").different_specs("quickstart")
    small, large = count_memory.count(spec, 32, 32), count_memory.count(spec, 64, 64)
    assert small[0] < large[0] and small[1] < large[1]


def test_a_config_that_does_not_fit_a_card_is_told_and_ends_the_script_with_1(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gtx = script("gtx")

    def too_large(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")

    monkeypatch.setattr(gtx, "execute", too_large)
    monkeypatch.setattr("sys.argv", ["gtx.py", "--json", "--suites", "quickstart"])
    with pytest.raises(SystemExit) as ended:
        gtx.main()
    assert ended.value.code == 1
    assert {one["error"] for one in json.loads(capsys.readouterr().out)["configs"]} == {"CUDA out of memory."}


def test_checks_on_a_gpu_give_scripts_what_they_take(script: Callable[[str], Any]) -> None:
    check = script("gpu_check")
    for command, quick in (one for part in check.PARTS.values() for one in part):
        takes = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', (FOLDER / command[0]).read_text()))
        wanted = {word for word in [*command, *quick] if word.startswith("--")} | {"--json"}
        assert wanted <= takes | {"--data"} and (command[0] not in check.WITH_DATA or "--data" in takes)


def test_a_check_that_fails_is_told_and_the_others_are_kept(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check = script("gpu_check")
    found = {"system": "1x H200", "a": {"b": 0.1234567, "c": [{}, {}], "d": [1, 2], "e": None}}
    (tmp_path / "good.py").write_text(f"print({json.dumps(found)!r})")
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")
    (tmp_path / "host.py").write_text(f"print({json.dumps(found | {'system': 'a Xeon'})!r})")
    monkeypatch.setattr(check, "describe_system", lambda: {"name": "1x H200"})
    monkeypatch.setattr(check, "HERE", tmp_path)
    monkeypatch.setattr(check, "PARTS", {"gtx": [(["bad.py"], []), (["host.py"], []), (["good.py"], [])]})
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "gtx", "--output", str(tmp_path / "found")])
    with pytest.raises(SystemExit) as ended:
        check.main()
    told = capfd.readouterr().err
    assert ended.value.code == 1 and "error: bad ended with exit code 3" in told
    assert "error: host was measured on a Xeon, not on 1x H200" in told
    [folder] = (tmp_path / "found").iterdir()
    assert (folder / "table.md").read_text().splitlines()[2:] == [
        "| good: system | 1x H200 |",
        "| good: a.b | 0.12346 |",
        "| good: a.c | 2 entries |",
        "| good: a.d | [1, 2] |",
    ]


def test_a_part_that_runs_out_of_its_seconds_ends_with_all_that_it_started(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check = script("gpu_check")
    (tmp_path / "good.py").write_text('print(\'{"system": "1x H200"}\')')
    sleep = f"p = subprocess.Popen(['sleep', '600'], start_new_session=True); open({str(tmp_path / 'pid')!r}, 'w')"
    (tmp_path / "long.py").write_text(f"import subprocess\n{sleep}.write(str(p.pid))\nprint('{{')\np.wait()")
    monkeypatch.setattr(check, "describe_system", lambda: {"name": "1x H200"})
    monkeypatch.setattr(check, "HERE", tmp_path)
    monkeypatch.setattr(check, "PARTS", {"gtx": [(["good.py"], []), (["long.py"], []), (["good.py"], [])]})
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "gtx", "--output", str(tmp_path / "found"), "--seconds", "3"])
    with pytest.raises(SystemExit):
        check.main()
    assert "error: long ran out of the 3 s of its part" in capfd.readouterr().err
    assert [path.name for path in tmp_path.glob("found/*/*.json")] == ["good.json"]
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_data_without_images_are_an_error_before_anything_is_measured(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train").mkdir()
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "loaders", "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        script("gpu_check").main()
    assert f"{tmp_path} has no train/<class>/ and test/<class>/ with images" in capfd.readouterr().err


def test_loaders_are_measured_on_the_gpu_where_there_is_one(script: Callable[[str], Any]) -> None:
    loaders = script("loaders")
    with stand_in_gpu():
        assert [loaders.device_of(asked).type for asked in (None, "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    assert loaders.device_of(None).type == "cpu" or torch.cuda.is_available()


def test_cards_are_limited_to_what_they_have(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of 6 GB has a little less than 6 GiB."""
    gtx = script("gtx")
    monkeypatch.setattr(gtx, "different_specs", lambda suite: ())
    monkeypatch.setattr("sys.argv", ["gtx.py", "--gib", "6", "--suites", "quickstart"])
    with stand_in_gpu() as gpu:
        with pytest.raises(SystemExit):
            gtx.main()
        assert MEMORY < 6 * 2**30 and gpu.memory_fraction == 1.0
        monkeypatch.setattr("sys.argv", ["gtx.py", "--gib", "1", "--suites", "quickstart"])
        with pytest.raises(SystemExit):
            gtx.main()
        assert gpu.memory_fraction == 2**30 / MEMORY


def test_a_large_card_steps_as_a_gtx_would(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, whatever it could do better, and the first config in fp16 too."""
    gtx, seen = script("gtx"), []
    monkeypatch.setattr(
        gtx,
        "tried",
        lambda spec, accelerator: (seen.append(spec.train.mixed_precision), {"error": None, "micro_batch_size": 1})[1],
    )
    monkeypatch.setattr("sys.argv", ["gtx.py", "--gib", "6", "3", "--suites", "quickstart"])
    with stand_in_gpu((9, 0), "NVIDIA H100"), pytest.raises(SystemExit):
        gtx.main()
    assert seen.count("fp16") == 1 and seen[1] == "fp16" and set(seen) == {"no", "fp16"} and len(seen) == 2 * 4 + 1


def test_an_epoch_of_the_harness_is_whole_though_a_checkpoint_is_due(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    overhead, steps = script("overhead"), []
    batches = [(torch.randn(2, *overhead.IMAGE), torch.randint(10, (2,))) for _ in range(5)]
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    network(batches[0][0])
    epoch = overhead.harness_loop(network, 2, Accelerator(cpu=True), batches, steps.append)
    now = time.monotonic()
    monkeypatch.setattr("harness.training.step_control.time.monotonic", lambda: now + 301.0)
    epoch()
    assert steps == [0, 1, 2, 3, 4]


def test_peak_memory_on_a_cpu_is_that_of_the_tensors_that_live_at_once(script: Callable[[str], Any]) -> None:
    memory = script("memory")

    def work() -> None:
        kept = [torch.empty(250_000) for _ in range(4)]
        kept = kept[:2]
        torch.empty(100_000)  # of three, two live
        torch.empty(500_000)

    assert memory.peak_bytes(work, torch.device("cpu")) == 4_000_000


def test_the_link_of_the_scaling_model_is_given_or_published(script: Callable[[str], Any]) -> None:
    scaling_model = script("scaling_model")
    given, published = scaling_model.chosen_link(1e9, 8), scaling_model.chosen_link(None, 1)
    assert (given.source, given.bytes_per_second, given.hop_seconds) == ("given", 1e9, 3.4e-6)
    assert (published.source, published.bytes_per_second) == ("published", pytest.approx(370.8e9))


def test_a_loader_that_does_less_than_the_task_is_not_measured(script: Callable[[str], Any]) -> None:
    contenders, peers = script("contenders"), script("peers")
    device = torch.device("cpu")
    images = np.random.default_rng(0).integers(30, 256, (300, 8, 8, 3), np.uint8)
    labels = np.arange(300)
    batch, classes = next(peers.airbench(images, labels, device))
    contenders.check((batch, classes), (8, 8, 3), device, half=True)
    unpadded = ((torch.from_numpy(images[:128]) / 255 - torch.tensor(peers.MEAN)) / torch.tensor(peers.STD)).half()
    for wrong in (batch[:100], batch.float(), unpadded.permute(0, 3, 1, 2)):
        with pytest.raises(AssertionError):
            contenders.check((wrong, classes), (8, 8, 3), device, half=True)


def test_airbench_takes_windows_of_the_padded_image_and_mirrors_them_every_other_epoch(
    script: Callable[[str], Any],
) -> None:
    peers = script("peers")
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), np.uint8)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    batches = peers.airbench(images, np.arange(200), torch.device("cpu"))
    mirrored: list[dict[int, bool]] = [{}, {}]
    for epoch in range(2):
        for batch, classes in (next(batches) for _ in range(2)):
            pixels = batch.permute(0, 2, 3, 1).float() * torch.tensor(peers.STD) + torch.tensor(peers.MEAN)
            for window, label in zip((255 * pixels).round().numpy(), classes.tolist(), strict=True):
                mirrored[epoch][label] = is_mirrored(padded[label], window)
    assert set(mirrored[0]) == set(mirrored[1]) == set(range(200))
    assert all(mirrored[1][label] is not first for label, first in mirrored[0].items())
    assert 50 < sum(mirrored[0].values()) < 150


def is_mirrored(padded: np.ndarray, window: np.ndarray) -> bool:
    """Returns whether a window of an image is a mirrored one; fails where it is none."""
    for top, left in np.ndindex(9, 9):
        found = padded[top : top + 8, left : left + 8]
        for straight, seen in ((True, found), (False, found[:, ::-1])):
            if np.abs(window - seen).max() <= 1:
                return not straight
    raise AssertionError("no window of its image")


def test_the_operations_of_a_layer_and_what_the_roofline_allows_them_by_hand(script: Callable[[str], Any]) -> None:
    roofline = script("roofline")
    network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = roofline.operations_of_step(network, ImageShape(4, 6, 5), 2, "bf16")
    images, filters, features = 2 * 4 * 6 * 5, 8 * 4 * 3 * 3, 2 * 8 * 6 * 5
    products = 2 * features * 4 * 3 * 3  # a product and a sum each
    by_name = {each.name: each[1:] for each in found if each.name != "_to_copy"}
    assert by_name["convolution"] == (products, 2 * (images + filters + features))
    # The images need no gradient. Read: that of the features, the images, the filters; written: the filters'.
    assert by_name["convolution_backward"] == (products, 2 * (images + 2 * filters + features))
    assert by_name["relu"] == (0, 2 * 2 * features)
    assert by_name["threshold_backward"] == (0, 2 * 3 * features)

    first, second = roofline.Operation("product", 100.0, 10.0), roofline.Operation("sum", 0.0, 30.0)
    assert roofline.allowed_fraction([first], peak=10.0, bandwidth=5.0) == 1.0
    assert roofline.allowed_fraction([first], peak=10.0, bandwidth=0.5) == 0.5
    assert roofline.allowed_fraction([first, second], peak=10.0, bandwidth=5.0) == 10 / 16


def test_a_config_is_held_against_what_the_roofline_allows(script: Callable[[str], Any]) -> None:
    roofline = script("roofline")
    found = roofline.of_h100(256)
    assert 0.3 < found["allowed"] < 0.5 and found["aim"] == 0.8 * found["allowed"]
    measured = {"config": "resnet18", "fraction_of_peak": 0.25, "allowed": 0.4, "aim": 0.32}
    assert roofline.as_line(measured) == "resnet18: 0.250 of 0.400 that the roofline allows; the aim is 0.320"
