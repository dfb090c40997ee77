"""From the command line's words to pictures in the folders of runs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from harness import registry
from harness.errors import HarnessError, nearest
from harness.problems import first_problem, shown
from harness.spec.settings import Settings
from harness.suite.yaml_lines import parse_value
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained, find_run, read_run

if TYPE_CHECKING:
    from rich.console import Console


def draw(
    runs: Sequence[str], what: Sequence[str], settings: Sequence[str], root: Path, console: Console
) -> Iterator[Path]:
    """Draws pictures and yields the files; one that does not fit a run keeps no other from being drawn.

    Args:
        runs: folders or ids.
        what: kinds of pictures.
        settings: `NAME=VALUE`: a parameter of the pictures, or, with a dotted name, of the runs' specs.
        root: the results root.
        console: stderr, for what is going on.

    Raises:
        HarnessError: a run, a kind or a parameter does not exist, and nothing was drawn; or, at the end, what was not
            drawn and why.
    """
    options, changes = _parse(settings)
    asked = {kind: _parameters(kind, options, what) for kind in what}
    trained = _once([read_run(find_run(text, root), changes) for text in runs], console)
    failed: list[HarnessError] = []
    for kind, parameters in asked.items():
        function = _function(kind)
        together = next(iter(inspect.signature(function).parameters)) == "runs"
        for group in [trained] if together else [[run] for run in trained]:
            of = group[0].title if len(group) == 1 else f"{len(group)} runs"
            console.print(f"{kind} of {of}", soft_wrap=True)
            torch.manual_seed(0)  # the same picture again
            try:
                found: list[Picture] = function(group if together else group[0], **parameters)
            except HarnessError as error:
                failed.append(error)
            else:
                yield from (picture.write(group[0].folder.path / "pictures") for picture in found)
    if len(failed) > 1:
        told = "; ".join(dict.fromkeys(error.message for error in failed))
        raise HarnessError(f"{len(failed)} kinds of pictures were not drawn: {told}", failed[0].hint)
    if failed:
        raise failed[0]


def _once(runs: Sequence[Trained], console: Console) -> list[Trained]:
    """Leaves out what was named twice: by other words, or in the records of another results root."""
    found: dict[tuple[str, str], Trained] = {}
    for run in runs:
        first = found.setdefault((run.result.run_id, run.result.system_id), run)
        if first.folder.path.resolve() != run.folder.path.resolve():
            told = f"{run.folder.path}: the same run as {first.folder.path}, left out"
            console.print(told, markup=False, soft_wrap=True)
    return list(found.values())


def _function(kind: str) -> Callable[..., list[Picture]]:
    return registry.find("picture", kind).load()


def _parse(settings: Sequence[str]) -> tuple[Settings, Settings]:
    options: Settings = {}
    changes: Settings = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise HarnessError(f"--set {text} is not an assignment", "write --set layer=conv1")
        (changes if "." in name else options)[name] = parse_value(value)
    return options, changes


def _parameters(kind: str, options: Settings, what: Sequence[str]) -> dict[str, Any]:
    """Returns the parameters of one kind; an option that another kind asked for has is left to that one."""
    model = registry.find("picture", kind).parameters()
    others = {name for other in what for name in registry.find("picture", other).parameters().model_fields}
    for name in options:
        if name not in others:
            raise HarnessError(f"--set {name}: pictures of {kind} have no such parameter", nearest(name, list(others)))
    own = {name: value for name, value in options.items() if name in model.model_fields}
    try:
        parsed = model.model_validate_json(json.dumps(own))
    except ValidationError as error:
        first, path, wanted = first_problem(error, own)
        raise HarnessError(f"--set {'.'.join(map(str, path))}: {shown(first['input'])}", wanted) from None
    return {name: getattr(parsed, name) for name in model.model_fields}
