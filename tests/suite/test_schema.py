"""The JSON schema of suite files: editors complete and check by it."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from harness import registry
from harness.registry import plugins
from harness.spec import PLUGIN_SECTIONS
from harness.suite.schema import suite_schema
from harness.suite.yaml_lines import parse_value
from tests.suite.test_suite import DESIGN
from tests.test_benchmarks import SUITES

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "suite.schema.json"
SUITE = """\
name: s
base:
  model: {name: cnn3, filters: [8, 8, 8]}
  data: digits
  optimizer: {name: sgd, lr: 0.1}
"""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(suite_schema())


def problems(validator: Draft202012Validator, text: str) -> list[str]:
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(parse_value(text))]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(suite_schema())


def test_the_committed_one_is_up_to_date():
    assert json.loads(COMMITTED.read_text()) == suite_schema(), "renew it: harness schema benchmarks/suite.schema.json"


def test_it_does_not_depend_on_what_is_installed(monkeypatch):
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"looked for {arguments}")

    before = suite_schema()
    registry._names_in_package.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", refuse)
    assert suite_schema() == before


@pytest.mark.parametrize("text", [DESIGN, SUITE, *(path.read_text() for path in SUITES)], ids=lambda text: text[:60])
def test_suites_that_are_accepted(validator, text):
    assert problems(validator, text) == []


@pytest.mark.parametrize(
    "rest",
    [
        "  train: {epochs: 3, mixed_precision: 'no', compile: reduce-overhead}",
        "  data.augment.crop: 4",
        "  data.normalize: {mean: [0.5], std: [0.5]}",
        "  train.clip_grad_norm: null",
        "  schedule: {warmup_epochs: 1}",
        "matrix: {model: [mlp, {name: vgg11}, torchvision/resnet50, {name: timm/resnet10t, kwargs: {a: 1}}]}",
        "matrix: {optimizer: [torch/Adamax, {name: torch/Adamax, lr: 1}]}",
        "matrix: {model.kwargs.drop_rate: [0.1, 0.2]}",
        "matrix: {model.filters: [[8, 8, 8], [9, 9, 9]]}",
        "zip: [{label: [a, b], train.epochs: [1, 2]}]",
        "one_at_a_time: {train.epochs: [1, 2]}",
        "include: [{label: a, model: mlp}]",
        "exclude: [{label: a}, {model.name: mlp}]",
        "seeds: [1, 2]",
    ],
)
def test_what_is_accepted(validator, rest):
    assert problems(validator, f"{SUITE}{rest}\n") == []


@pytest.mark.parametrize(
    ("rest", "where"),
    [
        ("matrx: {}", ""),
        ("  modle: mlp", "base"),
        ("  train: {epoch: 3}", "base.train"),
        ("  train.epoch: 3", "base"),
        ("  data.augment: {crp: 3}", "base.data.augment"),
        ("  data.augment.crp: 3", "base"),
        ("  loader: residnet", "base.loader"),
        ("  schedule: {name: cosin}", "base.schedule"),
        ("  schedule: {name: cosine, milestones: [1]}", "base.schedule"),
        ("  loader: {name: resident, workers: 1}", "base.loader"),
        ("include: [{model.name: mpl}]", "include.0.model.name"),
        ("  train.epochs: '3'", "base.train.epochs"),
        ("  train.epochs: 0", "base.train.epochs"),
        ("  train.tf32: 1", "base.train.tf32"),
        ("  label: a", "base"),
        ("  seed: 3", "base"),
        ("matrix: {train.epoch: [1]}", "matrix"),
        ("matrix: {train.epochs: 1}", "matrix.train.epochs"),
        ("matrix: {train.epochs: [1, x]}", "matrix.train.epochs.1"),
        ("matrix: {model: [{name: cnn3, filter: [1, 1, 1]}]}", "matrix.model.0"),
        ("matrix: {label: [a]}", "matrix"),
        ("zip: [{train.epoch: [1]}]", "zip.0"),
        ("one_at_a_time: {train.epoch: [1]}", "one_at_a_time"),
        ("include: [{lable: a}]", "include.0"),
        ("exclude: [{train.epoch: 1}]", "exclude.0"),
        ("target: {metric: test.acc, at_least: 1}", "target"),
        ("target: {metric: clock.train_seconds, at_least: 1}", "target"),
        ("target: {metric: test.accuracy}", "target"),
        ("references: [{match: {lable: a}, metric: test.accuracy, value: 1, source: x}]", "references.0.match"),
        ("references: [{match: {label: a}, metric: test.acc, value: 1, source: x}]", "references.0.metric"),
        ("references: [{match: {label: a}, metric: test.accuracy, value: 1}]", "references.0"),
        ("seeds: 0", "seeds"),
        ("seeds: []", "seeds"),
    ],
)
def test_what_is_refused(validator, rest, where):
    assert problems(validator, f"{SUITE}{rest}\n") == [where]


@pytest.mark.parametrize("name", ["../x", "", "x" * 65, "a b"])
def test_a_name_that_is_no_folder(validator, name):
    assert problems(validator, SUITE.replace("name: s", f"name: {json.dumps(name)}", 1)) == ["name"]


@pytest.mark.parametrize("section", PLUGIN_SECTIONS)
def test_every_plug_in_is_completed(section):
    definitions = suite_schema()["$defs"]
    for plugin in plugins(PLUGIN_SECTIONS[section][0]):
        definition = definitions[f"{section}_{plugin.function}"]
        assert definition["description"] == plugin.summary
        assert set(plugin.fields) < set(definition["properties"])
        described = {name for name, field in definition["properties"].items() if field.get("description")}
        assert {name for name, (_, field) in plugin.fields.items() if field.description} <= described
