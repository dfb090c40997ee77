"""A file of plug-ins -> what each of its functions promises, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import registry
from harness.contracts import architecture, dataset, loader, metric, optimizer, picture, schedule
from harness.contracts.promise import Broken, Promise
from harness.errors import HarnessError, nearest
from harness.plugin_files import PACKAGE
from harness.plugin_source import FOLDERS, Plugin
from harness.problems import first_problem, shown
from harness.spec import PLUGIN_SECTIONS, section_model
from harness.suite.yaml_lines import parse_value
from harness.training.setup import parameter_groups


@dataclass(frozen=True)
class Checked:
    """One promise of one plug-in.

    Attributes:
        plugin: its kind and name, e.g. `architecture 'mlp'`.
        promise: in words.
        instead: what is the case, in one sentence; empty where the promise holds.
    """

    plugin: str
    promise: str
    instead: str


def check_file(path: Path, settings: Sequence[str] = ()) -> Iterator[Checked]:
    """Tries what the plug-ins of a file promise, those of the package included.

    Args:
        path: the file.
        settings: `NAME=VALUE`: parameters of those plug-ins that have them.

    Raises:
        HarnessError: the file cannot be read as plug-ins, or a parameter is wrong or missing.
    """
    path = path.resolve()
    registry.use([] if path.is_relative_to(PACKAGE) else [path])
    found = [plugin for kind in FOLDERS for plugin in registry.plugins(kind) if plugin.path == path]
    if not found:
        raise HarnessError(f"{path}: no function is marked as a plug-in", "name a file that has some")
    values = _parse(settings, found)
    named = [(plugin, name) for plugin in found for name in plugin.names if not name.endswith("/*")]
    if not named:
        raise HarnessError(f"{path}: it stands for the names of another package", "there is nothing to try by itself")
    given = [_parameters(plugin, name, values) for plugin, name in named]  # before the first is tried
    for (plugin, name), parameters in zip(named, given, strict=True):
        title = f"{plugin.kind} '{name}'"
        try:
            plugin.load()
            for promise, holds in _promises(plugin, name, parameters):
                yield Checked(title, promise, _instead(plugin, holds))
        except HarnessError as error:
            yield Checked(title, "it can be built", error.message)
        except Exception as error:
            yield Checked(title, "it can be built", plugin.told(error))


def _promises(plugin: Plugin, name: str, parameters: dict[str, Any]) -> Iterator[Promise]:
    def build(*supplied: Any) -> Any:
        return registry.build(plugin.kind, name, *supplied, **parameters)

    if plugin.kind == "architecture":
        return architecture.promises(lambda image: build(image, architecture.CLASSES))
    if plugin.kind == "dataset":
        root = plugin.file.root if plugin.file else PACKAGE.parent
        return dataset.promises(build, plugin.module, root)
    if plugin.kind == "loader":
        return loader.promises(build)
    if plugin.kind == "optimizer":
        section: Any = section_model("optimizer", name).model_construct(name=name)
        return optimizer.promises(lambda model: build(parameter_groups(section, model)))
    if plugin.kind == "schedule":
        return schedule.promises(build)
    if plugin.declaration:
        return metric.promises(build, plugin.declaration)
    from harness.visualize.draw import draw

    told = [f"{key}={json.dumps(value)}" for key, value in parameters.items() if value is not None]
    return picture.promises(lambda run, root, console: list(draw([str(run)], [name], told, root, console)))


def _instead(plugin: Plugin, holds: Callable[[], object]) -> str:
    try:
        holds()
    except (Broken, HarnessError) as error:
        return str(error).partition("\n")[0]
    except Exception as error:
        return plugin.told(error)
    return ""


def _parse(settings: Sequence[str], plugins: Sequence[Plugin]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    known = {name for plugin in plugins for name in plugin.fields}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise HarnessError(f"--set {text} is no assignment", "write --set width=64")
        if name not in known:
            raise HarnessError(f"--set {name}: no plug-in of the file has such a parameter", nearest(name, known))
        values[name] = parse_value(value)
    return values


def _parameters(plugin: Plugin, name: str, values: dict[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in values.items() if key in plugin.fields}
    section = next((field for field, (kind, _) in PLUGIN_SECTIONS.items() if kind == plugin.kind), None)
    if section:
        section_model(section, name)  # raises where a parameter hides one that all of the kind have
    try:
        parsed = plugin.parameters().model_validate_json(json.dumps(own))
    except ValidationError as error:
        first, path, wanted = first_problem(error, own)
        field = ".".join(map(str, path))
        if first["type"] == "missing":
            message = f"{plugin.place}: {plugin.kind} '{name}' needs a value of '{field}' to be tried"
            raise HarnessError(message, f"--set {field}=VALUE") from None
        raise HarnessError(f"{plugin.kind} '{name}': {field} is {shown(first['input'])}", wanted) from None
    return {key: getattr(parsed, key) for key in plugin.fields}
