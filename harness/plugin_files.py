"""Files of plug-ins outside the package: those that a suite or a call names, and those of installed packages.

They are read, not imported, until a plug-in of theirs is built. An installed package offers its plug-ins by an entry
point of the group `harness.plugins`, whose value is a module, or a package: then all modules below it are looked at.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from harness.cache import remember
from harness.errors import HarnessError
from harness.source_code import code_hash, with_local_imports

GROUP = "harness.plugins"
PACKAGE = Path(__file__).parent
_INSTALLED = ("site-packages", "dist-packages")  # folders in which a neighbour is another project


@dataclass(frozen=True)
class PluginFile:
    """A file of plug-ins, as it was when it was read.

    Attributes:
        path: absolute.
        module: the name that it is imported by.
        root: the folder that its imports are looked for in.
        local: the file itself and the local modules that it imports, directly or not.
        code: the hash of these, wherever they lie.
        stamp: of the file; it tells that the text was changed where the code was not.
        must_have_plugins: it was named itself, not found in a package.
    """

    path: Path
    module: str
    root: Path
    local: tuple[Path, ...]
    code: str
    stamp: tuple[int, int]
    must_have_plugins: bool = True


def read_files(paths: Iterable[Path]) -> tuple[PluginFile, ...]:
    """Returns the files that are named and those of installed packages, each once.

    Raises:
        HarnessError: one is missing, no Python, or has a module of a name that another module has.
    """
    named = {Path(path).resolve(): True for path in paths}
    found = named | {path: False for path in _of_entry_points() if path not in named}
    files = tuple(_read(path, must) for path, must in found.items())
    for file in [file for file in _loaded.values() if file.path not in found]:
        _unload(file)  # another suite's may have modules of these names
    _require_own_names(files)
    return files


def load(file: PluginFile) -> ModuleType:
    """Imports a file; another one than before, if it was imported and has changed.

    Raises:
        HarnessError: it cannot be imported, with the line, or is not what was read.
    """
    before = _loaded.get(file.module, file)
    if (module := sys.modules.get(file.module)) and before.code == file.code:
        return module
    if _read(file.path, file.must_have_plugins).code != file.code:
        raise changed(file.path)
    if file.module in _loaded:
        _unload(before)
    if str(file.root) not in sys.path:
        sys.path.append(str(file.root))  # at the end: it hides nothing
        _added.add(file.root)
    _loaded[file.module] = file
    importlib.invalidate_caches()
    try:
        return importlib.import_module(file.module)
    except (Exception, SystemExit) as error:
        _unload(file)
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        hint = f"try it: PYTHONPATH={file.root} python -c 'import {file.module}'"
        raise HarnessError(f"{_place(file, error)}: it cannot be imported: {what}", hint) from None


_loaded: dict[str, PluginFile] = {}  # what was imported here, by its module
_added: set[Path] = set()  # to sys.path


def _unload(file: PluginFile) -> None:
    """Lets Python forget a file's modules; what was built of them stays as it is."""
    for path in file.local:
        sys.modules.pop(_name(path, file.root), None)
    del _loaded[file.module]
    if file.root in _added and not any(other.root == file.root for other in _loaded.values()):
        _added.discard(file.root)
        sys.path.remove(str(file.root))


def changed(path: Path) -> HarnessError:
    """Returns the error of a file that is not what it was when the runs were planned."""
    message = f"{path}: it, or a module that it imports, has changed since the runs were planned"
    return HarnessError(message, "the same `harness run` or `harness submit` again plans them as they are now")


def _read(path: Path, must_have_plugins: bool) -> PluginFile:
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise HarnessError(f"{path}: a file of plug-ins is a Python module", "name it so that Python can import it")
    if path.is_relative_to(PACKAGE):
        raise HarnessError(f"{path}: what lies in the package is known without being named", "leave it out")
    try:
        stat = path.stat()
    except OSError as error:
        raise HarnessError(f"{path}: cannot read the file of plug-ins: {error.strerror}", "see its path") from None
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    below = root / path.relative_to(root).parts[0] if root.name in _INSTALLED else root

    def counts(module: Path) -> bool:
        return module.is_relative_to(below) and not module.is_relative_to(PACKAGE)

    local = sorted(with_local_imports([path], root, counts))
    stamp = (stat.st_mtime_ns, stat.st_size)
    return PluginFile(path, _name(path, root), root, tuple(local), code_hash(local, root), stamp, must_have_plugins)


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _require_own_names(files: Sequence[PluginFile]) -> None:
    """Python knows one module of a name: what is hashed here must be what it will import."""
    taken: dict[str, Path] = {}
    tops: dict[str, Path] = {}
    for file in files:
        for path in file.local:
            name = _name(path, file.root)
            if taken.setdefault(name, path) != path:
                message = f"{path}: the module '{name}' is {taken[name]}, too, and Python knows one of a name"
                raise HarnessError(message, "rename one of the two files")
            tops[name.partition(".")[0]] = file.root
    for name, root in tops.items():
        if other := _found_elsewhere(name, root):
            message = f"{root / name}: Python knows another module '{name}', {other}"
            raise HarnessError(message, "rename yours, as Python would import the other one")


def _found_elsewhere(name: str, root: Path) -> str | None:
    """Returns what Python would import by a top-level name, where that does not lie in `root`."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a spec, such as a script that runs
        return None
    if spec is None or not spec.origin:  # a folder without __init__.py gives way to a module
        return None
    own = (root / f"{name}.py", root / name / "__init__.py")
    if any(path.exists() and Path(spec.origin).exists() and path.samefile(spec.origin) for path in own):
        return None
    return spec.origin


def _place(file: PluginFile, error: BaseException) -> str:
    """Returns file and line of an error, of the code of this file or of its local modules that was reached last."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    local = {str(path) for path in file.local}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in local]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else f"{file.path}:1"


def _of_entry_points() -> Iterator[Path]:
    """Yields the modules that installed packages offer, without importing them."""
    for name, value, distribution in _entry_points():
        told = f"the entry point '{name}' of {distribution}"
        hint = f"correct it, or pip uninstall {distribution}"
        module = value.partition(":")[0].strip()
        top, *parts = module.split(".")
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise HarnessError(f"{told} names {value}, which is not installed", hint)
        places = [Path(place) for place in spec.submodule_search_locations or ()]
        bases = [place.joinpath(*parts) for place in places] if places else [Path(str(spec.origin)).with_suffix("")]
        for base in bases:
            if base.is_dir():
                yield from (path for path in sorted(base.rglob("*.py")) if b"harness.registry" in path.read_bytes())
                break
            if base.with_suffix(".py").is_file() and (not parts or places):
                yield base.with_suffix(".py")
                break
        else:
            raise HarnessError(f"{told} names {value}, and there is no such module", hint)


def _entry_points() -> list[tuple[str, str, str]]:
    """Returns name, value and distribution of each entry point; looked for again where something was installed."""
    seen = []
    for place in dict.fromkeys(sys.path):
        try:
            with os.scandir(place or ".") as entries:
                infos = sorted(
                    (entry.name, entry.stat().st_mtime_ns)
                    for entry in entries
                    if entry.name.endswith((".dist-info", ".egg-info"))
                )
        except OSError:
            continue
        seen += [(place, infos)] if infos else []
    key = sha256(json.dumps(seen).encode()).hexdigest()
    return [tuple(one) for one in json.loads(remember("entry_points", key, _look_for_entry_points))]  # type: ignore[misc]


def _look_for_entry_points() -> str:
    from importlib.metadata import entry_points  # takes longer to import than all else of a plan

    found = entry_points(group=GROUP)
    return json.dumps(sorted((one.name, one.value, one.dist.name if one.dist else "a package") for one in found))
