"""Names -> builders, known without importing a plug-in (and so without torch).

A plug-in is one function in one file of its kind's folder, marked with its kind's decorator:

    @architecture("cnn3")
    def cnn3(image: ImageShape, num_classes: int, *, filters: tuple[int, int, int] = (24, 48, 96)) -> nn.Module:

What stands before the `*` the harness supplies; what stands behind it are the parameters a suite may set. They are
read from the source: annotations may use the types of `harness.parameters`, defaults are literals. A first argument
called `name` receives the name that was asked for, so one function may serve several (`resnet18`, `resnet34`), or,
with a name that ends in `/*`, all of another package's.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from harness.errors import HarnessError, nearest
from harness.parameters import VOCABULARY

FOLDERS = {
    "architecture": "models",
    "dataset": "data/datasets",
    "loader": "data/loaders",
    "optimizer": "training/optimizers",
    "schedule": "training/schedules",
    "picture": "visualize/pictures",
}
PACKAGE = Path(__file__).parent
OUTSIDE: list[Path] = []  # files of plug-ins that lie outside the package

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _marker(kind: str) -> Callable[..., Callable[[_Function], _Function]]:
    def mark(*names: str, names_in: tuple[str, str] | None = None) -> Callable[[_Function], _Function]:
        """Marks a function as a plug-in; `names_in` (glob, pattern) finds the names that `PACKAGE/*` stands for."""
        return lambda function: function

    mark.__name__ = kind
    return mark


architecture = _marker("architecture")
dataset = _marker("dataset")
loader = _marker("loader")
optimizer = _marker("optimizer")
schedule = _marker("schedule")
picture = _marker("picture")


class Parameters(BaseModel):
    """The parameters of one plug-in; a model is made from each plug-in's signature."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Plugin:
    """One plug-in as its source declares it."""

    kind: str
    names: tuple[str, ...]
    module: str
    function: str
    summary: str
    takes_name: bool
    fields: dict[str, tuple[Any, Any]]
    path: Path
    names_in: tuple[str, str] | None = None

    def parameters(self, base: type[BaseModel] = Parameters) -> type[BaseModel]:
        """Returns the pydantic model of the parameters, on top of `base`."""
        return create_model(f"{self.kind}_{self.function}", __base__=base, **self.fields)  # type: ignore[call-overload]

    def wildcard(self) -> str | None:
        """Returns `torchvision` for a plug-in named `torchvision/*`, else None."""
        return next((name[:-2] for name in self.names if name.endswith("/*")), None)


def plugins(kind: str) -> tuple[Plugin, ...]:
    """Returns the plug-ins of a kind, from the sources in its folder and from those outside the package."""
    return _read_folder(kind, PACKAGE / FOLDERS[kind], tuple(OUTSIDE))


def names(kind: str) -> list[str]:
    """Returns every name of a kind, with the names of other packages that are installed."""
    found: list[str] = []
    for plugin in plugins(kind):
        prefix = plugin.wildcard()
        found += [name for name in plugin.names if not name.endswith("/*")]
        found += [f"{prefix}/{name}" for name in _foreign_names(prefix, plugin)] if prefix else []
    return sorted(found)


def find(kind: str, name: str) -> Plugin:
    """Returns the plug-in that `name` stands for.

    Raises:
        HarnessError: no plug-in has that name; the hint gives the nearest one.
    """
    prefix, _, rest = str(name).partition("/")
    wanted = f"{prefix}/*" if rest else name
    for plugin in _read_folder(kind, PACKAGE / FOLDERS[kind], tuple(OUTSIDE), wanted):
        if name in plugin.names and not name.endswith("/*"):
            return plugin
        if rest and plugin.wildcard() == prefix:
            if importlib.util.find_spec(prefix) is None:
                raise HarnessError(f"{kind} '{name}' needs the package {prefix}", f"pip install {prefix}")
            if rest in _foreign_names(prefix, plugin):
                return plugin
    raise HarnessError(f"unknown {kind} '{name}'", nearest(name, names(kind)))


def build(kind: str, name: str, *supplied: Any, **parameters: Any) -> Any:
    """Imports the plug-in `name` and calls it with what the harness supplies and the suite's parameters."""
    plugin = find(kind, name)
    function = getattr(importlib.import_module(plugin.module), plugin.function)
    own_name = (name.partition("/")[2] if plugin.wildcard() else name,) if plugin.takes_name else ()
    return function(*own_name, *supplied, **parameters)


@functools.cache
def _read_folder(kind: str, folder: Path, outside: tuple[Path, ...], containing: str = "") -> tuple[Plugin, ...]:
    """Reads the plug-ins of a folder, or, as parsing takes its time, only those of files that contain a text."""
    paths = [*sorted(folder.glob("*.py")), *outside]
    found = [plugin for path in paths for plugin in _read_file(kind, path, containing)]
    taken: dict[str, str] = {}
    for plugin in found:
        for name in plugin.names:
            if name in taken:
                raise HarnessError(f"{kind} '{name}' is declared twice", f"see {taken[name]} and {plugin.module}")
            taken[name] = plugin.module
    return tuple(found)


def _read_file(kind: str, path: Path, containing: str) -> Iterator[Plugin]:
    source = path.read_text(encoding="utf-8")
    quoted = rf"""["']{re.escape(containing)}["']""" if containing else ""
    if not re.search(rf"^@ *{kind} *\(", source, re.MULTILINE) or not re.search(quoted, source):
        return
    within = path.is_relative_to(PACKAGE)
    module = ".".join(("harness", *path.relative_to(PACKAGE).with_suffix("").parts)) if within else path.stem
    try:
        body = ast.parse(source, str(path)).body
    except SyntaxError as error:
        raise HarnessError(
            f"{path}:{error.lineno}: {error.msg}", "correct the plug-in, or take its file away"
        ) from None
    for node in body:
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == kind:
                if not isinstance(node, ast.FunctionDef) or not mark.args:
                    message = f"{path}:{node.lineno}: @{kind} marks a function and names it"
                    raise HarnessError(message, f'write @{kind}("name") above a function')
                yield _read_function(kind, module, path, node, mark)


def _read_function(kind: str, module: str, path: Path, node: ast.FunctionDef, mark: ast.Call) -> Plugin:
    doc = ast.get_docstring(node) or ""
    described = dict(re.findall(r"^\s+(\w+): (.+)$", doc, re.MULTILINE))
    fields: dict[str, tuple[Any, Any]] = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        where = f"{module}.{node.name}, parameter '{argument.arg}'"
        value = ... if default is None else _literal(default, f"{where}: the default")
        field = Field(default=value, description=described.get(argument.arg))
        fields[argument.arg] = (_annotation(argument.annotation, where), field)
    positional = [*node.args.posonlyargs, *node.args.args]
    marked = f"{module}.{node.name}, @{kind}"
    options = {keyword.arg: _literal(keyword.value, marked) for keyword in mark.keywords}
    return Plugin(
        kind=kind,
        names=tuple(_literal(name, marked) for name in mark.args),
        module=module,
        function=node.name,
        summary=doc.partition("\n")[0],
        takes_name=bool(positional) and positional[0].arg == "name",
        fields=fields,
        path=path,
        names_in=options.get("names_in"),
    )


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise HarnessError(f"{where} is not a literal", "plug-ins are read, not imported") from None


def _annotation(node: ast.expr | None, where: str) -> Any:
    if node is None:
        raise HarnessError(f"{where} has no type", "annotate it with a type of harness/parameters.py")
    try:
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
        return eval(text, {"__builtins__": {}}, VOCABULARY)
    except Exception as error:
        raise HarnessError(f"{where}: {error}", "use the types of harness/parameters.py") from None


@functools.cache
def _names_in_package(package: str, pattern: str, expression: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ()
    root = Path(next(iter(spec.submodule_search_locations)))
    sources = (path.read_text(encoding="utf-8", errors="replace") for path in sorted(root.glob(pattern)))
    return tuple(sorted({name for source in sources for name in re.findall(expression, source, re.MULTILINE)}))


def _foreign_names(package: str, plugin: Plugin) -> tuple[str, ...]:
    return _names_in_package(package, *plugin.names_in) if plugin.names_in else ()
