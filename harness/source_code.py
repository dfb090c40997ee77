"""Hashes of source code that follow what it does: comments, docstrings and formatting change none.

Nothing is imported, and the hash is the same in all versions of Python that read the code alike.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
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


def with_local_imports(files: Sequence[Path], root: Path, within: Path | None = None) -> set[Path]:
    """Returns modules and those that they import, directly or not, as far as these lie below `within`.

    Args:
        files: the modules.
        root: the folder that absolute imports are looked for in.
        within: a folder below it, or `root` itself. Beside an installed package lie torch and all others.
    """
    found: set[Path] = set()
    left = list(files)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            imported = (module for name in _read(path)["imports"] for module in _modules(name, path, root))
            left += [module for module in imported if module.is_relative_to(within or root)]
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


@cache
def _read(path: Path) -> dict[str, Any]:
    """Returns the `hash` of a module and the names that it `imports`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}", "a run's code is part of its record") from None
    key = hashlib.sha256(f"{VERSION}\0".encode() + content).hexdigest()
    return json.loads(remember("code", key, lambda: json.dumps(_parse(content, path))))


def _parse(content: bytes, path: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(content, str(path))
    except (SyntaxError, ValueError) as error:
        raise HarnessError(f"{path} is no Python module: {error}", "correct it") from None
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
