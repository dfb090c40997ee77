"""A planned run arrives whole, by whichever way it travels."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import registry
from harness.launching.manifest import Manifest, Retrain
from harness.records.read import read_result
from harness.records.result import Cause, Measurements
from harness.records.store import Attempt, RunFolder
from harness.spec import PLUGIN_SECTIONS, RunSpec, SpecError, TrainSection, parse_run_spec, section_model
from harness.suite.file import Target
from harness.suite.mirroring import Mirroring
from harness.suite.plan import PlannedRun

# Values that fields of all kinds may have; each field takes those that it accepts.
POOL = [
    *(True, False, 1, 2, 3, 7, 64, 0.05, 0.25, 0.9, 1.5, 90.0, "text", "a/b", [1, 2], [3], [4, 5, 6], [0.2, 0.8]),
    *(["a"], {"mean": [0.5], "std": [0.25]}, {"size": 8, "scale": [0.5, 1.0]}, {"hue": 9.0}, {"probability": 0.3}),
    *({"lr": 0.3}, [[1, 2], [3, 4]], {"resize": 40, "crop": 32}),
    {
        "resize": 9,
        "crop": 2,
        "crop_border": "reflect",
        "flip": "alternating",
        "rotate": 15.0,
        "erase": {"scale": [0.1, 0.2]},
    },
    {"random_resized_crop": {"size": 8, "ratio": [0.9, 1.1]}, "flip": True, "color_jitter": {"hue": 9.0}},
]


@functools.cache
def accepted(field: str, name: str) -> dict[str, list[Any]]:
    """Returns, of each field of a section, the values of the pool that it takes and that are not its default."""
    model = TrainSection if field == "train" else section_model(field, name)
    required = {
        key: value for key in model.model_fields for value in [_required(field, name, key)] if value is not None
    }
    found: dict[str, list[Any]] = {}
    for key, description in model.model_fields.items():
        if key == "name":
            continue
        found[key] = []
        for value in [*_choices(description.annotation), *POOL]:
            try:
                section = model.model_validate_json(
                    json.dumps({"name": name, **required, key: value} if name else {key: value})
                )
            except ValueError:
                continue
            if getattr(section, key) != description.get_default():
                found[key].append(value)
    return found


def _choices(annotation: Any) -> list[Any]:
    """Returns the values of the literals in an annotation."""
    parts = getattr(annotation, "__args__", ())
    return [item for part in parts for item in ([part] if isinstance(part, str) else _choices(part))]


def _required(field: str, name: str, key: str) -> Any:
    model = section_model(field, name) if field != "train" else TrainSection
    if key == "name" or not model.model_fields[key].is_required():
        return None
    for value in POOL:
        try:
            model.__pydantic_validator__.validate_assignment(model.model_construct(), key, value)
        except ValueError:
            continue
        return value
    return None


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    """Draws a run of any plug-ins, with any of their fields set."""
    values: dict[str, Any] = {
        "label": draw(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "repeat": draw(st.integers(0, 5)),
    }
    for field, (kind, _) in PLUGIN_SECTIONS.items():
        name = draw(st.sampled_from(_names(kind)))
        values[field] = {"name": name, **_fields(draw, field, name)}
        if "evaluate" in values[field]:  # the two are checked together
            values[field].pop("augment", None)
    values["train"] = _fields(draw, "train", "")
    # Set past the parser: one that dropped a field would drop it here, too.
    own = {name: values.pop(name) for name in ("label", "seed", "repeat")}
    return parse_run_spec(values).model_copy(update=own)


@functools.cache
def _names(kind: str) -> list[str]:
    return [name for plugin in registry.plugins(kind) for name in plugin.names if "/" not in name]


def _fields(draw: st.DrawFn, field: str, name: str) -> dict[str, Any]:
    model = TrainSection if field == "train" else section_model(field, name)
    chosen: dict[str, Any] = {}
    for key, values in accepted(field, name).items():
        required = model.model_fields[key].is_required()
        if values and (required or draw(st.booleans())):
            chosen[key] = draw(st.sampled_from(values))
    return chosen


def test_each_field_has_values_to_travel_with() -> None:
    sections = [("train", "")] + [
        (field, name) for field, (kind, _) in PLUGIN_SECTIONS.items() for name in _names(kind)
    ]
    without = [f"{field}.{name}.{key}" for field, name in sections for key, v in accepted(field, name).items() if not v]
    assert without == []


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(specs())
def test_each_field_of_each_section_survives_each_way(spec: RunSpec) -> None:
    run = PlannedRun(spec=spec, config_id=spec.config_id(), run_id=spec.run_id("data"), fingerprint="data")
    assert PlannedRun.model_validate(run.model_dump()) == run
    assert PlannedRun.model_validate_json(run.model_dump_json()) == run
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = Target(metric="test.accuracy", at_least=0.5)
        manifest = Manifest(
            suite="s",
            output=folder,
            runs=(run, run),
            target=target,
            warm_up_seconds=2.0,
            mirroring=Mirroring(trackers=("wandb",)),
            any_system=True,
            accumulation={run.run_id: 4},
            again={run.run_id: Retrain(1, "disturbed")},
            packed=2,
        )
        manifest.write(folder / "manifest.jsonl")  # to a launch and its workers, and to a SLURM task
        assert Manifest.read(folder / "manifest.jsonl") == manifest
        record = RunFolder(folder / run.run_id / "system")  # to its record
        record.start(manifest.description(run), {})
        cause = Cause(kind="planted", message="planted")
        record.finish(
            manifest.result(run, "system", Attempt(1, "2026-01-01T00:00:00+00:00"), "failed", cause, Measurements())
        )
        result = read_result(record.path / "result.json")
        assert RunSpec.model_validate(result.spec) == run.spec and result.is_anchor == bool(run.spec.repeat)


def test_a_run_of_another_version_is_refused() -> None:
    spec = parse_run_spec({"model": "mlp", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}})
    run = PlannedRun(spec=spec, config_id="c", run_id="r", fingerprint="f")
    dumped = run.model_dump(mode="json")
    with pytest.raises(SpecError, match=r"unknown field 'train\.later'"):
        PlannedRun.model_validate({**dumped, "spec": {**dumped["spec"], "train": {"later": 1}}})
    with pytest.raises(SpecError, match="unknown field 'later'"):
        PlannedRun.model_validate({**dumped, "spec": {**dumped["spec"], "later": 1}})
