"""`harness check-plugin`: each promise of each kind is seen to hold, and seen to fail where a plug-in breaks it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.cli import main
from harness.contracts.check import check_file
from harness.errors import HarnessError
from harness.plugin_files import PACKAGE

HEAD = {
    "architecture": "import torch\nfrom torch import nn\nfrom harness.registry import architecture\n",
    "dataset": "from harness.data.source import DataSource, Dataset, Split\nfrom harness.registry import dataset\n",
    "loader": "from harness.data.loaders.resident import resident\nfrom harness.registry import loader\n",
    "optimizer": "import torch\nfrom harness.registry import optimizer\n",
    "schedule": "from harness.registry import schedule\n",
    "picture": "from harness.registry import picture\n",
    "metric": "import numpy as np\nfrom harness.registry import metric\n",
}
NET = """
@architecture("own")
def own(image, num_classes):
    size = image.channels * image.height * image.width
    return {}


class Net(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.linear, self.calls = nn.Linear(size, classes), 0

    def forward(self, x):
        {}
        return self.linear(x.flatten(1))
"""
GOOD_NET = NET.format("Net(size, num_classes)", "pass")
DATA = """
@dataset("own")
def own():
    return DataSource(lambda: "one", load)


def load():
    import numpy as np
    train = Split(np.zeros((6, 4, 4, 1), np.uint8), np.arange(6) % 2)
    test = Split(np.zeros((4, 4, 4, 1), np.uint8), np.arange(4) % 2)
    {}
    return Dataset(train, test, ("a", "b"))
"""
GOOD_DATA = DATA.format("pass")
LOADER = """
class Own:
    measured, name = {{}}, "own"

    def __init__(self, feed):
        self.feed, self.inner = feed, resident(feed, compile=False)

    def epoch(self, epoch, first_batch=0):
        {}

    def evaluation(self, split, batch_size):
        {}

    def close(self):
        self.inner.close()


@loader("own")
def own(feed):
    return Own(feed)
"""
EPOCH, EVALUATION = "return self.inner.epoch(epoch, first_batch)", "return self.inner.evaluation(split, batch_size)"
GOOD_LOADER = LOADER.format(EPOCH, EVALUATION)
OPTIMIZER = """
class Own(torch.optim.Optimizer):
    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.1})
        self.seen = 0

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for one in group["params"]:
                FORGETS
                one.add_(one.grad, alpha=-group["lr"])


@optimizer("own")
def own(groups):
    return Own(groups)
"""
GOOD_OPTIMIZER = OPTIMIZER.replace("FORGETS", "pass")
SCHEDULE = '@schedule("own")\ndef own(epochs):\n    seen = []\n    return lambda done: {}\n'
PICTURE = """
@picture("own")
def own(run):
    from PIL import Image
    from harness.visualize.picture import Picture
    import random
    return {}
"""
GOOD_PICTURE = PICTURE.format('[Picture("own", "One pixel.", Image.new("L", (1, 1)))]')
METRIC = """
SEEN = []


@metric("own", unit="fraction", title="own", better="{}")
def own(test):
    SEEN.append(test)
    return {}
"""


@pytest.fixture(autouse=True)
def nothing_outside() -> Iterator[None]:
    path = list(sys.path)
    yield
    registry.use()
    sys.path[:] = path


def broken(path: Path, kind: str, text: str) -> list[str]:
    """Returns what does not hold of the only plug-in of a file."""
    file = path / f"a_{kind}.py"
    file.write_text(HEAD[kind] + text)
    found = list(check_file(file))
    assert {one.plugin for one in found} == {f"{kind} 'own'"}
    return [f"{one.promise}: {one.instead}" for one in found if one.instead]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("architecture", GOOD_NET),
        ("dataset", GOOD_DATA),
        ("loader", GOOD_LOADER),
        ("optimizer", GOOD_OPTIMIZER),
        ("schedule", SCHEDULE.format("1 - done / epochs / 2")),
        ("metric", METRIC.format("higher", "(test.labels == test.predictions).mean()")),
        pytest.param("picture", GOOD_PICTURE, marks=pytest.mark.launch),
    ],
)
def test_a_plugin_that_keeps_its_promises(tmp_path: Path, kind: str, text: str) -> None:
    assert broken(tmp_path, kind, text) == []


@pytest.mark.parametrize(
    ("built", "forward", "told"),
    [
        ("None", "pass", "gradient to every weight, of images 1x8x8: it returns no module, but a NoneType"),
        ("Net(size, num_classes).eval()", "pass", "it is built in evaluation mode"),
        ("Net(size, num_classes - 1)", "pass", "the logits of 4 images and 10 classes have the shape [4, 9]"),
        ("Net(size, num_classes)", "return self.linear(x.flatten(1)).double()", "are torch.float64, not float32"),
        ("Net(size, num_classes)", "return self.linear(x.flatten(1)) * float('inf')", "the logits are not all finite"),
        (
            "Net(size, num_classes)",
            "return x.flatten(1)[:, :10].clone().requires_grad_()",
            "no gradient reaches linear.",
        ),
        ("Net(size, num_classes)", "x = x - x.mean(0)", "in a batch the logits of an image are others than alone, by"),
        ("Net(size, num_classes)", "x = x * 0", "two images have the same logits"),
        (
            "Net(size, num_classes)",
            "x = x + torch.tensor(float(x.stride()[1] == 1 != x.shape[1]))",
            "channels-last memory",
        ),
        (
            "torch.seed() and Net(size, num_classes)",
            "pass",
            "twice with one seed, and linear.weight, linear.bias differ",
        ),
        ("torch.manual_seed(7) and Net(size, num_classes)", "pass", "two seeds give the same weights"),
        ("Net(size, num_classes)", "x = x.cumsum(1)", "refuses on CUDA, of images 1x8x8: it calls cumsum"),
        (
            "Net(size, num_classes)",
            "x = x.amax(1, keepdim=True) + x",
            "it calls amax, whose compiled gradient in bf16 is NaN",
        ),
        (
            "Net(size, num_classes)",
            "x = self.missing",
            "a_architecture.py:17: AttributeError: 'Net' object has no attr",
        ),
        ("missing(size)", "pass", "it can be built: "),
    ],
)
def test_an_architecture_that_breaks_a_promise(tmp_path: Path, built: str, forward: str, told: str) -> None:
    found = broken(tmp_path, "architecture", NET.format(built, forward))
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("def load", "import numpy\ndef load", "importing it imports nothing heavy: it imports numpy, for which every"),
        ("def load", "import a_dataset_of_no_one\ndef load", "it can be built: "),
        ("return DataSource(", "return (", "it is described without being read: it returns no DataSource, but a tuple"),
        ("load)", "load, download=load)", "it would fetch data without being asked to"),
        ('"one"', "1", "the fingerprint is 1, not a text"),
        ('lambda: "one"', "lambda: __import__('uuid').uuid4().hex", "asked twice, it gives two fingerprints"),
        ("load)", "load, known_fingerprint=lambda: 'x')", "known_fingerprint gives another one than fingerprint"),
        ('("a", "b")', '("a",)', "it has 1 classes"),
        ("(4, 4, 4, 1)", "(4, 4, 5, 1)", "images are (4, 4, 1) in train, (4, 5, 1) in test"),
        ("(6, 4, 4, 1), np.uint8", "(6, 4, 4, 1), np.float32", "the images of train are float32, not uint8"),
        ("np.arange(4) % 2", "np.arange(3) % 2", "test has images (4, 4, 4, 1) and 3 labels"),
        ("np.arange(6) % 2", "np.arange(6, dtype=np.int32) % 2", "the labels of train are int32, not int64"),
        ("np.arange(4) % 2", "np.arange(4)", "the labels of test are 0 to 3, with 2 classes"),
        ("pass", "train.store[0] = np.random.default_rng().integers(0, 255, (4, 4, 1))", "loaded twice, train differs"),
    ],
)
def test_a_dataset_that_breaks_a_promise(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD_DATA
    found = broken(tmp_path, "dataset", GOOD_DATA.replace(old, new))
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    ("epoch", "evaluation", "told"),
    [
        ("return self.inner.epoch(0, first_batch)", EVALUATION, "once an epoch: batch 0 has the samples ["),
        ("return self.inner.epoch(epoch)", EVALUATION, "goes on from any of its batches: it yields 5 batches, not 2"),
        ("yield from list(self.inner.epoch(epoch, first_batch))[1:]", EVALUATION, "it yields 4 batches, not 5"),
        ("return ((x * 1.5, y) for x, y in self.inner.epoch(epoch, first_batch))", EVALUATION, "grey levels from the"),
        ("return ((x, y.int()) for x, y in self.inner.epoch(epoch, first_batch))", EVALUATION, "int32, not int64"),
        (
            "return ((x.half(), y) for x, y in self.inner.epoch(epoch, first_batch))",
            EVALUATION,
            "of torch.float16, not",
        ),
        (EPOCH, "return self.inner.evaluation(split, 5)", "evaluation sees each sample once, as it is: it yields 21 "),
    ],
)
def test_a_loader_that_breaks_a_promise(tmp_path: Path, epoch: str, evaluation: str, told: str) -> None:
    found = broken(tmp_path, "loader", LOADER.format(epoch, evaluation))
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return Own(groups)", "return None", "each parameter is stepped once: it returns no torch.optim.Optimizer"),
        (
            "return Own(groups)",
            "return Own(groups[0]['params'][:1])",
            "its param_groups do not hold each parameter once",
        ),
        ("FORGETS", "if one.ndim == 1: continue", "five steps leave 0.bias as it was"),
        ("FORGETS", "one.grad.fill_(float('nan'))", "after five steps 0.weight is not finite"),
        (
            "FORGETS",
            "self.seen += 1; one.mul_(1 / self.seen)",
            "after its state was loaded, 0.weight, 0.bias, 2.weight",
        ),
    ],
)
def test_an_optimizer_that_breaks_a_promise(tmp_path: Path, old: str, new: str, told: str) -> None:
    found = broken(tmp_path, "optimizer", OPTIMIZER.replace(old, new).replace("FORGETS", "pass"))
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        ("-1.0", "of 1 epoch: after 0 epochs the factor is -1.0"),
        ("0.0", "the factor is 0 in every step"),
        ("float('nan')", "the factor is nan"),
        ("None", "the factor is None"),
        ("1 / done", "ZeroDivisionError"),
        ("seen.append(done) or 1 / len(seen)", "it has no state, of 12 epochs: asked in another order, it gives other"),
    ],
)
def test_a_schedule_that_breaks_a_promise(tmp_path: Path, factor: str, told: str) -> None:
    found = broken(tmp_path, "schedule", SCHEDULE.format(factor))
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    ("better", "value", "told"),
    [
        ("higher", "None", "it is one number, of ten classes: it returns a NoneType, not one number"),
        ("higher", "test.labels / 1e3", "it is one number, of ten classes: it returns shape (200,), not one number"),
        ("higher", "[0.5]", "it returns a list, not one number"),
        ("higher", "np.sum(test.labels > 0)", "it returns 180, and a fraction is from 0 to 1"),
        (
            "higher",
            "0.5 if test.confusion.sum(1).all() else np.nan",
            "where a class has no image and is not predicted: it returns nan, not a finite number",
        ),
        (
            "lower",
            "(test.labels == test.predictions).mean()",
            "it is 1 where all are right, 0.11 where a tenth is, and low",
        ),
        ("higher", "1 / len(SEEN)", "it is the same again: of the same predictions it is 0."),
        ("higher", "test.labels.sort()", "a_metric.py:10: ValueError: sort array is read-only"),
        ("higher", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_metric_that_breaks_a_promise(tmp_path: Path, better: str, value: str, told: str) -> None:
    found = broken(tmp_path, "metric", METRIC.format(better, value))
    assert any(told in one for one in found), found


@pytest.mark.launch
def test_a_picture_that_breaks_a_promise(tmp_path: Path) -> None:
    for drawn, told in (
        ("[]", "it returns no picture"),
        ('[Picture("own", "", Image.new("L", (1, 1)))]', "own has no caption"),
        ('2 * [Picture("own", "x", Image.new("L", (1, 1)))]', "two of its pictures have one name"),
        ('[Picture("own", "x", Image.new("L", (1, 1), random.SystemRandom().randrange(255)))]', "not the same picture"),
        ("[run.missing]", "AttributeError: 'Trained' object has no attribute 'missing'"),
    ):
        found = broken(tmp_path, "picture", PICTURE.format(drawn))
        assert any(told in one for one in found), found


@pytest.mark.parametrize("name", ["loaders/auto.py", "datasets/digits.py"])
def test_a_file_of_the_package(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check-plugin", str(PACKAGE / "data" / name)])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "FAILED" not in shown and shown.strip().endswith("checks, 0 failed")


def test_a_promise_that_does_not_hold_is_told_and_is_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "s.py").write_text(HEAD["schedule"] + SCHEDULE.format("-1.0"))
    with pytest.raises(SystemExit) as ended:
        main(["check-plugin", str(tmp_path / "s.py")])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 1 and lines[0] == "schedule 'own'" and lines[-1] == "4 checks, 2 failed"
    assert lines[1] == "  FAILED  each step has a factor, of 1 epoch: after 0 epochs the factor is -1.0"
    assert lines[2] == "  ok      it has no state, of 1 epoch"


def test_parameters_that_a_plugin_needs(tmp_path: Path) -> None:
    text = SCHEDULE.format("half").replace("(epochs)", "(epochs, *, half: PositiveFloat)")
    (tmp_path / "needs.py").write_text("from harness.parameters import PositiveFloat\n" + HEAD["schedule"] + text)
    for settings, told in (
        ([], f"{tmp_path}/needs.py:4: schedule 'own' needs a value of 'half' to be tried"),
        (["half"], "--set half is no assignment"),
        (["halve=1"], "--set halve: no plug-in of the file has such a parameter"),
        (["half=-1"], "schedule 'own': half is -1"),
    ):
        with pytest.raises(HarnessError) as caught:
            list(check_file(tmp_path / "needs.py", settings))
        assert caught.value.message == told and caught.value.hint
    assert not any(one.instead for one in check_file(tmp_path / "needs.py", ["half=0.5"]))
    with pytest.raises(HarnessError, match="no function is marked"):
        list(check_file(PACKAGE / "models/layers.py"))
    with pytest.raises(HarnessError, match="it stands for the names of another package"):
        list(check_file(PACKAGE / "models/from_timm.py"))
