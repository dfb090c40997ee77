"""RunSpec: validation, and the identity of configs and runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.spec import (
    NOT_IDENTITY,
    PLUGIN_SECTIONS,
    SPEC_VERSION,
    Augment,
    ColorJitter,
    Erase,
    RandomResizedCrop,
    RunSpec,
    SpecError,
    TrainSection,
    parameters,
    parse_run_spec,
)
from harness.spec.run_spec import _section_model
from harness.suite.yaml_lines import parse_value

GOLDEN = Path(__file__).parent / "spec_defaults.json"
BASE = {
    "model": {"name": "resnet18"},
    "data": {"name": "cifar10"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"epochs": 5},
}


def spec(**changes) -> RunSpec:
    return parse_run_spec({**BASE, **changes})


def test_a_name_alone_stands_for_a_section():
    short = spec(model="resnet18", data="cifar10", loader="resident", schedule="constant")
    assert short == spec() and short.model.name == "resnet18"


def test_parameters_are_the_plugins_own():
    found = spec(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay_on": "weights"}).optimizer
    assert parameters(found) == {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "another"},
        {"seed": 3},
        {"data": {"name": "cifar10", "root": "/elsewhere", "download": True}},
        {"train": {"epochs": 5, "timeout_seconds": 5.0, "keep_weights": False}},
        {"model": {"stem": "cifar", "name": "resnet18", "width": 64}},
        {"data": {"name": "cifar10", "augment": {"crop": 0, "flip": False}, "normalize": "train", "validation": 0}},
        {"optimizer": {"lr": parse_value("1e-1"), "name": "sgd"}},
        {"train": {"drop_last": False, "epochs": 5, "global_batch_size": 128, "mixed_precision": "auto"}},
        {"schedule": "constant", "loader": {"name": "resident"}},
        {"schedule": {"name": "constant", "warmup_epochs": 0}},
    ],
    ids=str,
)
def test_what_is_no_part_of_the_identity(changes):
    assert spec(**changes).config_id() == spec().config_id()


def test_the_order_of_keys_is_no_part_of_the_identity():
    assert parse_run_spec(dict(reversed(BASE.items()))).config_id() == spec().config_id()


def test_yaml_spellings_of_one_value_are_one_config():
    def of(precision, lr):
        return spec(train={"mixed_precision": parse_value(precision)}, optimizer={"name": "sgd", "lr": parse_value(lr)})

    assert of("no", "1e-3").config_id() == of("'no'", "0.001").config_id() != of("fp16", "1e-3").config_id()


REAL_CHANGES: list[dict[str, Any]] = [
    {"model": "resnet34"},
    {"model": {"name": "resnet18", "width": 32}},
    {"model": {"name": "torchvision/resnet18"}},
    {"data": "cifar100"},
    {"data": {"name": "cifar10", "augment": {"crop": 4}}},
    {"data": {"name": "cifar10", "normalize": "none"}},
    {"data": {"name": "cifar10", "normalize": {"mean": [0.5], "std": [0.5]}}},
    {"data": {"name": "cifar10", "train_samples": 100}},
    {"loader": "pinned"},
    {"loader": {"name": "pinned", "workers": 1}},
    {"optimizer": {"name": "sgd", "lr": 0.2}},
    {"optimizer": {"name": "adam", "lr": 0.1}},
    {"optimizer": {"name": "sgd", "lr": 0.1, "weight_decay_on": "weights"}},
    {"optimizer": {"name": "sgd", "lr": 0.1, "norm_bias_lr_scale": 64.0}},
    {"schedule": "cosine"},
    {"schedule": {"name": "constant", "warmup_epochs": 1}},
    *({"train": {"epochs": 5, name: value}} for name, value in {
        "global_batch_size": 64,
        "num_processes": 2,
        "gradient_accumulation_steps": 2,
        "mixed_precision": "no",
        "tf32": True,
        "channels_last": True,
        "compile": True,
        "activation_checkpointing": True,
        "deterministic": True,
        "label_smoothing": 0.1,
        "clip_grad_norm": 1.0,
        "ema_decay": 0.99,
        "drop_last": True,
        "evaluate_every_epochs": 2,
        "eval_batch_size": 64,
        "untimed_steps": 0,
        "shuffle": "once",
        "loss": "cross_entropy_after_softmax",
        "class_weights": "balanced",
        "evaluate_views": "flips",
        "evaluate_views_share": 0.5,
        "evaluate_train": True,
        "dropout_in_evaluation": True,
        "mean_batch_recall": True,
    }.items()),
    {"train": {"epochs": 6}},
]  # fmt: skip


@pytest.mark.parametrize("changes", REAL_CHANGES, ids=str)
def test_each_real_field_is_part_of_the_identity(changes):
    assert spec(**changes).config_id() != spec().config_id()


def test_every_train_field_is_known_to_the_identity_tests():
    fields = {field for changes in REAL_CHANGES for field in changes.get("train", {})}
    assert fields == TrainSection.model_fields.keys() - NOT_IDENTITY["train"]  # type: ignore[operator]


def test_the_version_is_part_of_the_identity(monkeypatch):
    before = spec().config_id()
    monkeypatch.setattr("harness.spec.run_spec.SPEC_VERSION", SPEC_VERSION + 1)
    assert spec().config_id() != before


def test_the_identity_of_a_run():
    found = spec()
    ids = {found.run_id("a"), found.run_id("b"), spec(seed=1).run_id("a"), spec(model="vgg11").run_id("a")}
    assert len(ids) == 4 and all(len(identity) == 12 for identity in ids)
    assert spec(label="x").run_id("a") == found.run_id("a")


def test_a_new_option_with_a_default_changes_no_identity(tmp_path, monkeypatch):
    source = '''
@architecture("{name}")
def net(image, num_classes, *, width: PositiveInt = 8{more}) -> None:
    """A network."""
'''
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    monkeypatch.setattr("harness.spec.run_spec.code_from_outside", lambda plugins: {})  # it is a plug-in of the package
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "net.py"
    ids = []
    for more in ("", ", depth: PositiveInt = 3"):
        file.write_text(source.format(name="grows", more=more))
        registry._read_folder.cache_clear()
        section = _section_model.__wrapped__("model", "grows", 0)
        assert ("depth" in section.model_fields) == bool(more)
        for values in ({"name": "grows"}, {"name": "grows", "width": 9}):
            ids.append(spec().model_copy(update={"model": section(**values)}).config_id())
    registry._read_folder.cache_clear()
    assert ids[:2] == ids[2:] and ids[0] != ids[1]


def defaults() -> dict[str, dict[str, object]]:
    """Every default of every section and plug-in, as it is read back from JSON."""

    def of(model) -> dict[str, object]:
        fields = model.model_fields.items()
        found = {name: field.get_default() for name, field in fields if not field.is_required()}
        return {key: value for key, value in found.items() if not isinstance(value, Augment)}  # it has a row of its own

    augment = {
        "data.augment": Augment,
        "data.augment.random_resized_crop": RandomResizedCrop,
        "data.augment.color_jitter": ColorJitter,
        "data.augment.erase": Erase,
    }
    found = {"train": of(TrainSection), **{name: of(section) for name, section in augment.items()}}
    for section, (kind, base) in PLUGIN_SECTIONS.items():
        found[section] = of(base)
        for plugin in registry.plugins(kind):
            for name in plugin.names:
                found[f"{section}: {name}"] = of(plugin.parameters())
    return json.loads(json.dumps(found))


def test_defaults_change_only_with_the_version():
    golden = json.loads(GOLDEN.read_text())
    found = {"spec_version": SPEC_VERSION, "defaults": defaults()}
    if golden["spec_version"] == SPEC_VERSION:
        changed = [
            f"{section}.{name}: {golden['defaults'][section][name]!r} -> {new!r}"
            for section, values in found["defaults"].items()
            for name, new in values.items()
            if golden["defaults"].get(section, {}).get(name, new) != new
        ]
        assert not changed, (
            f"{changed}: a config that leaves these out now means another experiment under the same config_id. "
            "Raise SPEC_VERSION in harness/spec/run_spec.py, then renew the file as below."
        )
    assert golden == found, (
        "an option or a plug-in is new or gone: renew tests/spec/spec_defaults.json with "
        "`python -c 'from tests.spec.test_spec import renew; renew()'`"
    )


def renew() -> None:
    """Writes the golden file."""
    GOLDEN.write_text(json.dumps({"spec_version": SPEC_VERSION, "defaults": defaults()}, indent=1) + "\n")


@pytest.mark.parametrize("name", ["train", *PLUGIN_SECTIONS])
def test_sections_cannot_be_changed(name):
    with pytest.raises(ValueError, match="frozen"):
        setattr(spec(), name, None)


@pytest.mark.parametrize(
    ("changes", "path", "message", "hint"),
    [
        ({"modle": "x"}, ("modle",), "unknown field 'modle'", "'model'"),
        ({"model": None}, ("model",), "'model' is missing", "name the architecture"),
        ({"model": {"width": 3}}, ("model",), "does not name the architecture", "write model: {name: ...}"),
        ({"model": ["mlp"]}, ("model",), "does not name the architecture", "write model: {name: ...}"),
        ({"model": "resnet81"}, ("model", "name"), "unknown architecture 'resnet81'", "'resnet18'"),
        ({"model": "ResNet18"}, ("model", "name"), "unknown architecture 'ResNet18'", "'resnet18'"),
        ({"model": "torchvision/resnet81"}, ("model", "name"), "unknown architecture", "'torchvision/resnet18'"),
        ({"model": "torchvison/resnet18"}, ("model", "name"), "unknown architecture", "'torchvision/resnet18'"),
        ({"model": "torchvision/*"}, ("model", "name"), "unknown architecture 'torchvision/*'", ""),
        ({"data": "cifar01"}, ("data", "name"), "unknown dataset 'cifar01'", "'cifar10'"),
        ({"loader": "residnet"}, ("loader", "name"), "unknown loader 'residnet'", "'resident'"),
        ({"optimizer": "sdg"}, ("optimizer", "name"), "unknown optimizer 'sdg'", "'sgd'"),
        ({"optimizer": "torch/Admax"}, ("optimizer", "name"), "unknown optimizer 'torch/Admax'", "'torch/Adamax'"),
        ({"schedule": "cosin"}, ("schedule", "name"), "unknown schedule 'cosin'", "'cosine'"),
        ({"optimizer": "sgd"}, ("optimizer", "lr"), "'optimizer.lr' is missing (optimizer 'sgd' needs", "add"),
        (
            {"model": {"name": "cnn3", "zzz": 1}},
            ("model", "zzz"),
            "unknown field 'model.zzz' of architecture 'cnn3'",
            "valid: activation, batch_norm, dropout, extra_linear, filters, hidden_size",
        ),
        ({"optimizer": {"name": "sgd", "lrr": 1}}, ("optimizer", "lrr"), "unknown field 'optimizer.lrr'", "'lr'"),
        (
            {"data": {"name": "cifar10", "augment": {"crp": 1}}},
            ("data", "augment", "crp"),
            "unknown field 'data.augment.crp'",
            "'crop'",
        ),
        ({"train": {"epoch": 1}}, ("train", "epoch"), "unknown field 'train.epoch'", "'epochs'"),
        ({"train": 5}, ("train",), "train is 5", "a mapping"),
        ({"train": {"epochs": "5"}}, ("train", "epochs"), 'train.epochs is "5"', "a whole number"),
        ({"train": {"epochs": True}}, ("train", "epochs"), "train.epochs is true", "a whole number"),
        (
            {"train": {"epochs": 5.0}},
            ("train", "epochs"),
            "train.epochs is 5.0",
            "a whole number without point and exponent",
        ),
        ({"train": {"epochs": [5]}}, ("train", "epochs"), "train.epochs is [5]", "a whole number"),
        ({"train": {"epochs": 0}}, ("train", "epochs"), "train.epochs is 0", "greater than 0"),
        ({"train": {"tf32": 1}}, ("train", "tf32"), "train.tf32 is 1", "true or false"),
        ({"train": {"tf32": "yes"}}, ("train", "tf32"), 'train.tf32 is "yes"', "true or false"),
        ({"train": {"ema_decay": 1.0}}, ("train", "ema_decay"), "train.ema_decay is 1.0", "less than 1"),
        ({"train": {"compile": "fast"}}, ("train", "compile"), 'is "fast"', "true or false or 'reduce-overhead' or"),
        ({"train": {"mixed_precision": "fp32"}}, ("train", "mixed_precision"), 'is "fp32"', "'bf16' or 'bf16-true'"),
        ({"train": {"mixed_precision": True}}, ("train", "mixed_precision"), "is true", "'no'"),
        ({"optimizer": {"name": "sgd", "lr": "1"}}, ("optimizer", "lr"), 'optimizer.lr is "1"', "a number"),
        ({"optimizer": {"name": "sgd", "lr": -1}}, ("optimizer", "lr"), "optimizer.lr is -1", "greater than 0"),
        ({"optimizer": {"name": "sgd", "lr": float("nan")}}, ("optimizer", "lr"), "lr is NaN", "finite"),
        ({"optimizer": {"name": "sgd", "lr": float("inf")}}, ("optimizer", "lr"), "lr is Infinity", "finite"),
        ({"optimizer": {"name": "sgd", "lr": 10**400}}, ("optimizer", "lr"), "lr is 1000", "finite"),
        ({"data": {"name": "cifar10", "validation": float("nan")}}, ("data", "validation"), "NaN", "finite"),
        ({"data": {"name": "cifar10", "augment": {"rotate": float("nan")}}}, ("data", "augment", "rotate"), "N", "fin"),
        ({"data": {"name": "cifar10", "augment": {"rotate": 181}}}, ("data", "augment", "rotate"), "181", "180"),
        ({"data": {"name": "cifar10", "augment": 4}}, ("data", "augment"), "data.augment is 4", "a mapping"),
        ({"data": {"name": "cifar10", "normalize": "cifar"}}, ("data", "normalize"), '"cifar"', "'half', 'cifar10'"),
        (
            {"data": {"name": "cifar10", "normalize": {"mean": [0.5]}}},
            ("data", "normalize", "std"),
            "'data.normalize.std' is missing",
            "add data.normalize.std",
        ),
        (
            {"data": {"name": "cifar10", "normalize": {"mean": [float("nan")], "std": [1]}}},
            ("data", "normalize", "mean", 0),
            "data.normalize.mean.0 is NaN",
            "finite",
        ),
        ({"data": {"name": "cifar10", "root": 3}}, ("data", "root"), "data.root is 3", "a text"),
        ({"model": {"name": "cnn3", "filters": [1, 2]}}, ("model", "filters"), "is [1, 2]", "at least 3 items"),
        ({"model": {"name": "cnn3", "filters": [1, 2, 3, 4]}}, ("model", "filters"), "is [1, 2", "at most 3 items"),
        (
            {"model": {"name": "cnn3", "filters": [1, "a", 3]}},
            ("model", "filters", 1),
            'filters.1 is "a"',
            "a whole number",
        ),
        ({"model": {"name": "cnn3", "activation": "rleu"}}, ("model", "activation"), 'is "rleu"', "'relu', "),
        ({"seed": -1}, ("seed",), "seed is -1", "greater than or equal to 0"),
        ({"seed": 2**32}, ("seed",), "seed is 4294967296", "less than 4294967296"),
        ({"label": 5}, ("label",), "label is 5", "a text"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named(changes, path, message, hint):
    with pytest.raises(SpecError) as caught:
        spec(**changes)
    assert caught.value.path == path
    assert message in caught.value.message and len(caught.value.message) < 200
    assert hint in caught.value.hint


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError) as caught:
        spec(model={"name": "timm/resnet10t", "kwargs": {"never": "cached"}})
    assert "needs the package timm" in caught.value.message and caught.value.hint == "pip install timm"
