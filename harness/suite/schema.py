"""The JSON schema of suite files, made from the same models that validate them, for editors to complete by."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from harness import registry
from harness.records.result import metric_names
from harness.spec import PLUGIN_SECTIONS, TrainSection, section_model
from harness.suite.file import SuiteFile, target_names
from harness.suite.mirroring import TRACKERS

Schema = dict[str, Any]


def suite_schema() -> Schema:
    """Returns the JSON schema (draft 2020-12) of a suite file."""
    definitions: dict[str, Schema] = {}
    sections = {field: _plugin_section(field, definitions) for field in PLUGIN_SECTIONS}
    sections["train"] = _without_required(TrainSection.model_json_schema(), definitions)
    paths = {path: schema for field, schema in sections.items() for path, schema in _dotted(field, schema, definitions)}

    def mapping(properties: Schema) -> Schema:
        return {"type": "object", "properties": properties, **_free_keys()}

    schema = _own(SuiteFile, definitions)
    one = {path: {"$ref": f"#/$defs/settings/properties/{path}"} for path in (*sections, *paths)}
    several = {path: {"type": "array", "items": reference} for path, reference in one.items()}
    label: Schema = {"type": "string"}
    definitions["settings"] = mapping({**sections, **paths})
    definitions["labelled"] = mapping({"label": label, **one})
    definitions["axes"] = mapping(several)
    definitions["labelled_axes"] = mapping({"label": {"type": "array", "items": label}, **several})
    settings, labelled, axes, labelled_axes = (
        {"$ref": f"#/$defs/{name}"} for name in ("settings", "labelled", "axes", "labelled_axes")
    )
    schema["properties"] |= {
        "base": settings,
        "matrix": {"description": "the full product of these", **axes},
        "zip": {"type": "array", "items": labelled_axes, "description": "lists of one length that advance together"},
        "one_at_a_time": {"description": "instead of matrix: the base, then each value alone", **axes},
        "include": {"type": "array", "items": labelled, "description": "further configs on top of the base"},
        "exclude": {"type": "array", "items": labelled, "description": "configs to leave out"},
    }
    schema["properties"]["trackers"]["items"] = {"enum": [*TRACKERS]}
    definitions["Target"]["properties"]["metric"] = {"enum": target_names()}
    definitions["Reference"]["properties"]["metric"] = {"enum": metric_names()}
    definitions["Reference"]["properties"]["match"] = labelled
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Suite",
        **schema,
        "$defs": definitions,
    }


def _plugin_section(field: str, definitions: dict[str, Schema]) -> Schema:
    kind, _ = PLUGIN_SECTIONS[field]
    choices: list[Schema] = []
    plain: list[str] = []
    for plugin in registry.plugins(kind):
        prefix = plugin.wildcard()
        name = plugin.names[0]
        model = section_model(field, name) if not prefix else _wildcard_model(field, kind, prefix)
        schema = _without_required(model.model_json_schema(), definitions)
        schema["description"] = plugin.summary
        schema["properties"]["name"] = {"pattern": f"^{prefix}/"} if prefix else {"enum": list(plugin.names)}
        schema["required"] = ["name"]
        key = f"{field}_{plugin.function}"
        definitions[key] = schema
        choices.append({"$ref": f"#/$defs/{key}"})
        plain += [] if prefix else plugin.names
    without_name = {"type": "object", "not": {"required": ["name"]}}  # the name may come from another part of the suite
    prefixes = [prefix for plugin in registry.plugins(kind) if (prefix := plugin.wildcard())]
    patterns = [{"pattern": f"^{prefix}/"} for prefix in prefixes]
    names: Schema = {"type": "string", "anyOf": [{"enum": plain}, *patterns]}
    return {"description": f"the {kind} and its parameters", "anyOf": [names, *choices, without_name]}


def _wildcard_model(field: str, kind: str, prefix: str) -> type[BaseModel]:
    plugin = next(plugin for plugin in registry.plugins(kind) if plugin.wildcard() == prefix)
    return plugin.parameters(PLUGIN_SECTIONS[field][1])


def _own(model: type[BaseModel], definitions: dict[str, Schema]) -> Schema:
    schema = model.model_json_schema()
    definitions.update(schema.pop("$defs", {}))
    return schema


def _without_required(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    definitions.update(schema.pop("$defs", {}))
    return {key: value for key, value in schema.items() if key not in ("required", "title")}


def _dotted(field: str, section: Schema, definitions: dict[str, Schema]) -> list[tuple[str, Schema]]:
    parts = [section] if "properties" in section else [_resolve(part, definitions) for part in section["anyOf"]]
    found: dict[str, list[Schema]] = {}
    for part in parts:
        for name, schema in part.get("properties", {}).items():
            found.setdefault(f"{field}.{name}", []).append(schema)
            for inner, inner_schema in _resolve(schema, definitions).get("properties", {}).items():
                found.setdefault(f"{field}.{name}.{inner}", []).append(inner_schema)
    return [(path, _either(schemas)) for path, schemas in found.items()]


def _either(schemas: list[Schema]) -> Schema:
    distinct = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _resolve(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def _free_keys() -> Schema:
    return {"patternProperties": {r"^(model|optimizer)\.kwargs\.": {}}, "additionalProperties": False}
