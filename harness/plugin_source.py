"""One plug-in as its source declares it: read, and not imported (and so without torch)."""

from __future__ import annotations

import ast
import importlib
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from harness import plugin_files
from harness.errors import HarnessError
from harness.metric import Declaration, read_declaration
from harness.parameters import VOCABULARY
from harness.plugin_files import PluginFile

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
    decodes: bool = False

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


def read_source(source: str, path: Path, module: str, file: PluginFile | None = None) -> Iterator[Plugin]:
    """Yields the plug-ins of a file, in its order.

    Args:
        source: its text.
        path: where it lies, for errors.
        module: that it is imported as.
        file: of a plug-in outside the package.

    Raises:
        HarnessError: it is no Python, or marks what cannot be a plug-in; with file and line.
    """
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
        decodes=options.get("decodes") is True,
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
