"""Hashes of source code that follow what it does: comments, docstrings and formatting change none.

Nothing is imported, and the hash is the same in all versions of Python that read the code alike.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.cache import remember
from harness.errors import HarnessError

VERSION = 1  # raise it when the same code would get another hash
_FORMATTING = {"ctx", "kind", "type_comment", "type_ignores"}


def code_hash(files: Iterable[Path], root: Path) -> str:
    """Returns the hash of modules and of their paths below `root`, 12 hex digits."""
    found = sorted((path.relative_to(root).as_posix(), _read(path)["hash"]) for path in set(files))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:12]


def with_local_imports(files: Sequence[Path], root: Path, counts: Callable[[Path], bool]) -> set[Path]:
    """Returns modules and those that they import, directly or not, as far as these count.

    Args:
        files: the modules.
        root: the folder that absolute imports are looked for in.
        counts: tells of a module that is imported whether it does; the imports of one that does not are left alone.
    """
    found: set[Path] = set()
    left = list(files)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            imported = (module for name in _read(path)["imports"] for module in _modules(name, path, root))
            left += filter(counts, imported)
    return found


def _modules(name: str, importer: Path, root: Path) -> Iterator[Path]:
    """Yields the files of a module, as named in an import, and of the packages that it lies in."""
    dots = len(name) - len(name.lstrip("."))
    folder = importer.parents[dots - 1] if dots else root
    for part in filter(None, name[dots:].split(".")):
        if (package := folder / "__init__.py").is_file() and folder != root:
            yield package
        module, folder = folder / f"{part}.py", folder / part
        if module.is_file():
            yield module
    if (package := folder / "__init__.py").is_file() and folder != root:
        yield package


def _read(path: Path) -> dict[str, Any]:
    """Returns the `hash` of a module and the names that it `imports`, as it is now."""
    try:
        stat = path.stat()
        return _read_as_of(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}", "a run's code is part of its record") from None


@cache
def _read_as_of(path: Path, mtime_ns: int, size: int) -> dict[str, Any]:
    content = path.read_bytes()
    key = hashlib.sha256(f"{VERSION}\0".encode() + content).hexdigest()
    return json.loads(remember("code", key, lambda: json.dumps(_parse(content, path))))


def _parse(content: bytes, path: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(content, str(path))
    except SyntaxError as error:
        raise HarnessError(f"{path}:{error.lineno}: {error.msg}", "correct it, or take the file away") from None
    except ValueError as error:  # e.g. a null byte
        raise HarnessError(f"{path}:1: no Python module: {error}", "correct it, or take the file away") from None
    imports = {name for node in ast.walk(tree) for name in _imported(node)}
    text = json.dumps(_plain(tree), separators=(",", ":"))
    return {"hash": hashlib.sha256(text.encode()).hexdigest(), "imports": sorted(imports)}


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield module
        # `from package import module`: what is no module is not found.
        yield from (f"{module}{'.' if node.module else ''}{alias.name}" for alias in node.names)


def _plain(value: Any) -> Any:
    """Returns a syntax tree as JSON, without what says how it is written, and without what is empty.

    Newer versions of Python add fields to nodes, and leave them empty for code that older ones read, too.
    """
    if isinstance(value, ast.AST):
        fields = {name: field for name, field in ast.iter_fields(value) if name not in _FORMATTING}
        if isinstance(value, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            fields["body"] = [node for node in value.body if not _is_text(node)]
        parts = {name: _plain(field) for name, field in fields.items() if field is not None and field != []}
        return {"": type(value).__name__, **parts}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return [type(value).__name__, repr(value)]


def _is_text(node: ast.stmt) -> bool:
    """Tells whether a statement is a text that stands alone: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
