"""What holds for every dataset, and the datasets that need no files."""

import importlib
import inspect
import typing

import numpy as np
import pytest

from harness.contracts import dataset as contract
from harness.data import source
from harness.data.datasets import digits as digits_module
from harness.data.datasets.digits import digits
from harness.data.datasets.synthetic import synthetic
from harness.errors import HarnessError
from harness.plugin_files import PACKAGE
from harness.registry import build, plugins

NAMES = [name for plugin in plugins("dataset") for name in plugin.names]
REQUIRED = {"image_folder": {"root": "."}}


def test_the_datasets_that_ship():
    assert {"digits", "cifar10", "cifar100", "caltech256", "image_folder", "synthetic"} <= set(NAMES)


@pytest.mark.parametrize("plugin", plugins("dataset"), ids=lambda plugin: plugin.function)
def test_the_declared_parameters_are_those_of_the_function(plugin):
    function = getattr(importlib.import_module(plugin.module), plugin.function)
    signature = inspect.signature(function).parameters
    types = typing.get_type_hints(function, include_extras=True)
    assert list(plugin.fields) == list(signature)
    for name, (kind, field) in plugin.fields.items():
        assert signature[name].kind is inspect.Parameter.KEYWORD_ONLY
        default = signature[name].default
        assert field.is_required() if default is inspect.Parameter.empty else field.default == default
        assert kind == types[name]
        assert field.description and plugin.summary.endswith(".")
    plugin.parameters()(**REQUIRED.get(plugin.function, {}))  # the defaults are valid


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_is_described_without_being_read(name):
    contract.described(build("dataset", name, **REQUIRED.get(name, {})))


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_what_needs_no_files_can_be_trained_on_and_is_always_the_same(name):
    def source():
        return build("dataset", name)

    contract.has_a_fingerprint(source)
    contract.can_be_trained_on(source())
    contract.is_the_same_again(source)


@pytest.mark.launch
@pytest.mark.parametrize("module", sorted({plugin.module for plugin in plugins("dataset")}))
def test_importing_a_dataset_imports_nothing_heavy(module):
    contract.imports_nothing_heavy(module, PACKAGE.parent)


@pytest.mark.parametrize("size", [8, 5, 16])
def test_digits(size):
    data = digits(size=size).load()
    assert data.train.images.shape == (1438, size, size, 1) and data.test.images.shape == (359, size, size, 1)
    assert data.train.images.dtype == np.uint8 and data.train.labels.dtype == np.int64
    shares = np.bincount(data.test.labels) / np.bincount(np.append(data.train.labels, data.test.labels))
    assert np.abs(shares - 0.2).max() < 0.005
    assert data.class_names[3] == "3" and data.rankable


def test_digits_use_the_whole_range():
    train = digits().load().train.images
    assert train.min() == 0 and train.max() == 255 and len(np.unique(train)) == 17


def test_digits_never_change(monkeypatch):
    # The test split of the first version: another one is another dataset and needs another name.
    assert digits().load().test.labels[:12].tolist() == [2, 3, 1, 3, 5, 0, 1, 5, 0, 8, 0, 3]
    assert digits().fingerprint() == digits().fingerprint() != digits(size=16).fingerprint()
    monkeypatch.setattr(digits_module, "CONTENT_SHA256", "0" * 64)
    with pytest.raises(HarnessError, match="differ from the expected ones"):
        digits().load()


def test_synthetic():
    data = synthetic(size=6, channels=2, classes=3, train=10, test=4).load()
    assert data.train.images.shape == (10, 6, 6, 2) and data.test.images.shape == (4, 6, 6, 2)
    assert np.bincount(data.train.labels).tolist() == [4, 3, 3] and len(data.class_names) == 3
    assert not data.rankable
    assert not (data.train.images[:4] == data.test.images).all()


def test_synthetic_is_seeded():
    first, again, other = (synthetic(size=4, train=5, test=5, seed=seed).load().train.images for seed in (0, 0, 1))
    assert (first == again).all() and not (first == other).all()
    variants = [{}, {"size": 8}, {"channels": 1}, {"classes": 2}, {"train": 1}, {"test": 1}, {"seed": 1}]
    assert len({synthetic(**variant).fingerprint() for variant in variants}) == len(variants)


def test_synthetic_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(source, "available_bytes", lambda: 2**20)
    with pytest.raises(HarnessError, match=r"but only 0\.0 GiB of memory is available"):
        synthetic(size=1024).load()


def test_the_processes_of_a_machine_share_its_memory(monkeypatch):
    needed = 2 * 4 * 8 * 8 * 3
    monkeypatch.setattr(source, "available_bytes", lambda: needed / 0.8)
    assert len(synthetic(size=8, train=4, test=4).load().train.labels) == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(np.random, "Generator", lambda _: pytest.fail("pixels were drawn"))
    with pytest.raises(HarnessError, match=r"would take .* in each of 2 processes, but only"):
        synthetic(size=8, train=4, test=4).load()
