"""Names -> builders, known without importing a plug-in (and so without torch).

A plug-in is one function in one file of its kind's folder, marked with its kind's decorator:

    @architecture("cnn3")
    def cnn3(image: ImageShape, num_classes: int, *, filters: tuple[int, int, int] = (24, 48, 96)) -> nn.Module:

What stands before the `*` the harness supplies; what stands behind it are the parameters a suite may set. They are
read from the source: annotations may use the types of `harness.parameters`, defaults are literals. A first argument
called `name` receives the name that was asked for, so one function may serve several (`resnet18`, `resnet34`), or,
with a name that ends in `/*`, all of another package's.

Plug-ins outside the package lie in files that `use` is given, and in installed packages, see `harness.plugin_files`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from harness import plugin_files
from harness.errors import HarnessError, nearest
from harness.metric import Declaration, read_declaration
from harness.parameters import VOCABULARY
from harness.plugin_files import PACKAGE, PluginFile

FOLDERS = {
    "architecture": "models",
    "dataset": "data/datasets",
    "loader": "data/loaders",
    "optimizer": "training/optimizers",
    "schedule": "training/schedules",
    "picture": "visualize/pictures",
    "metric": "metrics",
}
# What the harness supplies, in this order, after `name` where a function takes that.
SUPPLIES = {
    "architecture": ("image", "num_classes"),
    "dataset": (),
    "loader": ("feed",),
    "optimizer": ("groups",),
    "schedule": ("epochs",),
    "picture": ("run",),
    "metric": ("test",),
}
_MARKS = re.compile(rf"^@ *({'|'.join(FOLDERS)}) *\(", re.MULTILINE)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _marker(kind: str) -> Callable[..., Callable[[_Function], _Function]]:
    def mark(*names: str, names_in: tuple[str, str] | None = None, **declared: str) -> Callable[[_Function], _Function]:
        """Marks a function as a plug-in.

        Args:
            names: what suites call it.
            names_in: (glob, pattern) finds the names that `PACKAGE/*` stands for.
            declared: of a metric, see `harness.metric.Declaration`.
        """
        return lambda function: function

    mark.__name__ = kind
    return mark


architecture = _marker("architecture")
dataset = _marker("dataset")
loader = _marker("loader")
optimizer = _marker("optimizer")
schedule = _marker("schedule")
picture = _marker("picture")
metric = _marker("metric")


class Parameters(BaseModel):
    """The parameters of one plug-in; a model is made from each plug-in's signature."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Plugin:
    """One plug-in as its source declares it; `file` is that of one outside the package, `declaration` of a metric."""

    kind: str
    names: tuple[str, ...]
    module: str
    function: str
    summary: str
    takes_name: bool
    fields: dict[str, tuple[Any, Any]]
    path: Path
    line: int
    names_in: tuple[str, str] | None = None
    file: PluginFile | None = None
    declaration: Declaration | None = None

    @property
    def place(self) -> str:
        """Its file and line."""
        return f"{self.path}:{self.line}"

    @property
    def is_named(self) -> bool:
        """Whether a suite or a call names its file."""
        return self.file is not None and self.file.must_have_plugins

    def parameters(self, base: type[BaseModel] = Parameters) -> type[BaseModel]:
        """Returns the pydantic model of the parameters, on top of `base`."""
        return create_model(f"{self.kind}_{self.function}", __base__=base, **self.fields)  # type: ignore[call-overload]

    def wildcard(self) -> str | None:
        """Returns `torchvision` for a plug-in named `torchvision/*`, else None."""
        return next((name[:-2] for name in self.names if name.endswith("/*")), None)

    def told(self, error: BaseException) -> str:
        """Returns what went wrong in its function: its file, the line there that was reached last, and the error."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == self.path]
        line = frames[-1].lineno if frames else self.line
        return f"{self.path}:{line}: {type(error).__name__}: {error}".partition("\n")[0]

    def load(self) -> Callable[..., Any]:
        """Imports its module and returns the function.

        Raises:
            HarnessError: it lies outside the package, and cannot be imported or has changed.
        """
        module = plugin_files.load(self.file) if self.file else importlib.import_module(self.module)
        return getattr(module, self.function)


@dataclass
class _Outside:
    """What is known outside the package; None before anything was asked."""

    files: tuple[PluginFile, ...] | None = None
    plugins: tuple[Plugin, ...] = ()
    version: int = 0


_outside = _Outside()


def use(named: Iterable[str | Path] = ()) -> None:
    """Reads the plug-ins of files, in the place of those that it was given before, and of installed packages.

    Raises:
        HarnessError: a file is missing or cannot be read as plug-ins, or a name is taken; what was known stays.
    """
    files = plugin_files.read_files(map(Path, named))
    if files == _outside.files:
        return
    found = tuple(plugin for file in files for plugin in _read_outside(file))
    _require_own_names(found)
    _outside.files, _outside.plugins = files, found
    _outside.version += 1


def files() -> tuple[PluginFile, ...]:
    """Returns the files outside the package that hold plug-ins."""
    if _outside.files is None:
        use()
    return _outside.files or ()


def load(paths: Iterable[Path]) -> None:
    """Imports those of the files outside the package that lie at these paths.

    Raises:
        HarnessError: one cannot be imported; with the line.
    """
    wanted = set(paths)
    for file in files():
        if file.path in wanted:
            plugin_files.load(file)


def version() -> int:
    """Returns a number that is another one when what lies outside the package is another: a key for caches."""
    files()
    return _outside.version


def plugins(kind: str) -> tuple[Plugin, ...]:
    """Returns the plug-ins of a kind, from the sources in its folder and from those outside the package."""
    return (*_read_folder(kind, PACKAGE / FOLDERS[kind]), *_outside_plugins(kind))


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
    for plugin in (*_read_folder(kind, PACKAGE / FOLDERS[kind], wanted), *_outside_plugins(kind)):
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
    own_name = (name.partition("/")[2] if plugin.wildcard() else name,) if plugin.takes_name else ()
    return plugin.load()(*own_name, *supplied, **parameters)


def _outside_plugins(kind: str = "") -> tuple[Plugin, ...]:
    files()
    return tuple(plugin for plugin in _outside.plugins if kind in ("", plugin.kind))


@functools.cache
def _read_folder(kind: str, folder: Path, containing: str = "") -> tuple[Plugin, ...]:
    """Reads the plug-ins of a folder, or, as parsing takes its time, only those of files that contain a text."""
    found: list[Plugin] = []
    for path in sorted(folder.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if kind in _MARKS.findall(source) and (not containing or re.search(_quoted(containing), source)):
            module = ".".join(("harness", *path.relative_to(PACKAGE).with_suffix("").parts))
            found += [plugin for plugin in _read_source(source, path, module) if plugin.kind == kind]
    _require_distinct(found)
    return tuple(found)


def _quoted(name: str) -> str:
    return rf"""["']{re.escape(name)}["']"""


@functools.lru_cache(maxsize=256)
def _read_outside(file: PluginFile) -> tuple[Plugin, ...]:
    try:
        source = file.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{file.path}:1: cannot read the file of plug-ins: {error}", "a text in UTF-8") from None
    found = tuple(_read_source(source, file.path, file.module, file))
    if not found and file.must_have_plugins:
        marks = ", ".join(f"@{kind}" for kind in FOLDERS)
        message = f"{file.path}:1: no function is marked as a plug-in"
        raise HarnessError(message, f"write one of {marks}, imported from harness.registry, with a name above it")
    return found


def _require_own_names(outside: Iterable[Plugin]) -> None:
    """The names of plug-ins outside the package are neither each other's nor the package's own."""
    found = list(outside)
    for plugin in outside:
        for name in plugin.names:
            wanted = f"{name.partition('/')[0]}/*" if "/" in name else name
            for own in _read_folder(plugin.kind, PACKAGE / FOLDERS[plugin.kind], wanted):
                if wanted in own.names:
                    raise _declared_twice(plugin, name, own)
    _require_distinct(found)


def _require_distinct(found: Iterable[Plugin]) -> None:
    taken: dict[tuple[str, str], Plugin] = {}
    for plugin in found:
        for name in plugin.names:
            if other := taken.get((plugin.kind, name)):
                raise _declared_twice(plugin, name, other)
            taken[plugin.kind, name] = plugin


def _declared_twice(plugin: Plugin, name: str, other: Plugin) -> HarnessError:
    message = f"{plugin.place}: the {plugin.kind} '{name}' is declared by {other.place}, too"
    return HarnessError(message, "give one of the two another name")


def _read_source(source: str, path: Path, module: str, file: PluginFile | None = None) -> Iterator[Plugin]:
    try:
        body = ast.parse(source, str(path)).body
    except SyntaxError as error:
        raise HarnessError(
            f"{path}:{error.lineno}: {error.msg}", "correct the plug-in, or take its file away"
        ) from None
    for node in body:
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and (kind := mark.func.id) in FOLDERS:
                if not isinstance(node, ast.FunctionDef) or not mark.args:
                    message = f"{path}:{node.lineno}: @{kind} marks a function and names it"
                    raise HarnessError(message, f'write @{kind}("name") above a function')
                yield _read_function(kind, module, path, node, mark, file)


def _read_function(
    kind: str, module: str, path: Path, node: ast.FunctionDef, mark: ast.Call, file: PluginFile | None
) -> Plugin:
    doc = ast.get_docstring(node) or ""
    described = dict(re.findall(r"^\s+(\w+): (.+)$", doc, re.MULTILINE))
    fields: dict[str, tuple[Any, Any]] = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        where = f"{path}:{argument.lineno}: parameter '{argument.arg}' of {node.name}"
        value = ... if default is None else _literal(default, f"{where}: the default")
        field = Field(default=value, description=described.get(argument.arg))
        fields[argument.arg] = (_annotation(argument.annotation, where), field)
    marked = f"{path}:{mark.lineno}: @{kind} of {node.name}"
    options = {str(keyword.arg): _literal(keyword.value, marked) for keyword in mark.keywords}
    own_names = tuple(_literal(name, marked) for name in mark.args)
    if not all(isinstance(name, str) and name for name in own_names):
        raise HarnessError(f"{marked} is given a name that is no text", f'write @{kind}("name")')
    return Plugin(
        kind=kind,
        names=own_names,
        module=module,
        function=node.name,
        summary=doc.partition("\n")[0],
        takes_name=_takes_name(kind, f"{path}:{node.lineno}", node),
        fields=fields,
        path=path,
        line=node.lineno,
        names_in=options.get("names_in"),
        file=file,
        declaration=read_declaration(marked, own_names, options, len(fields)) if kind == "metric" else None,
    )


def _takes_name(kind: str, place: str, node: ast.FunctionDef) -> bool:
    """Tells whether a function takes the name that was asked for, before what the harness supplies.

    Raises:
        HarnessError: it does not take what is supplied, or more, or what no suite can set.
    """
    arguments, supplied = node.args, SUPPLIES[kind]
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    takes_name = positional[:1] == ["name"]
    usual = f"def {node.name}({', '.join([*supplied, '*', '...'])})"
    if len(positional) - takes_name != len(supplied) and not arguments.vararg:
        message = f"{place}: {node.name} takes {', '.join(positional) or 'nothing'} before the `*`, and the harness "
        what = f"supplies {', '.join(supplied) or 'nothing'} to {'an' if kind[0] in 'ao' else 'a'} {kind}"
        raise HarnessError(message + what, f"{usual}: behind the `*` stand the parameters that a suite sets")
    if arguments.kwarg:
        message = f"{place}: **{arguments.kwarg.arg} of {node.name} does not tell which parameters a suite may set"
        raise HarnessError(message, f"{usual}: behind the `*` each stands with its type")
    return takes_name


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise HarnessError(f"{where} is not a literal", "plug-ins are read, not imported") from None


def _annotation(node: ast.expr | None, where: str) -> Any:
    if node is None:
        raise HarnessError(f"{where} has no type", "annotate it with a type of harness.parameters")
    try:
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
        return eval(text, {"__builtins__": {}}, VOCABULARY)
    except Exception as error:
        raise HarnessError(f"{where}: {error}", "use the types of harness.parameters") from None


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
