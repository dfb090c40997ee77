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

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness import plugin_files
from harness.errors import HarnessError, nearest
from harness.plugin_files import PACKAGE, PluginFile
from harness.plugin_source import FOLDERS, Plugin, read_source

_MARKS = re.compile(rf"^@ *({'|'.join(FOLDERS)}) *\(", re.MULTILINE)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _marker(kind: str) -> Callable[..., Callable[[_Function], _Function]]:
    def mark(
        *names: str, names_in: tuple[str, str] | None = None, decodes: bool = False, **declared: str
    ) -> Callable[[_Function], _Function]:
        """Marks a function as a plug-in.

        Args:
            names: what suites call it.
            names_in: (glob, pattern) finds the names that `PACKAGE/*` stands for.
            decodes: of a loader: it decodes image files itself, and `auto` tries it.
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
            found += [plugin for plugin in read_source(source, path, module) if plugin.kind == kind]
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
    found = tuple(read_source(source, file.path, file.module, file))
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
