"""What a person is told names nothing that only a clone has: an installed package has no Makefile, docs or launch/.

Looked at are the files that ship and the texts in the package's code, of docstrings only those that `--help` and
`harness list` show. What is said of a clone says so: "in a clone: make setup".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT

TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
FOLDERS = ("benchmarks", "docs", "launch", "slurm", "tests", r"results/(?:reference|method|performance|reliability)")
OF_A_CLONE = re.compile(
    rf"\bmake (?:{'|'.join(TARGETS)})\b|(?<![\w/.-])(?:(?:{'|'.join(FOLDERS)})/|harness/\w)"
    r"|\b(?:Makefile|CONTRIBUTING)\b|\b(?:the|this) repository\b"
)
SAID_OF_A_CLONE = re.compile(r"\bin a clone\b", re.IGNORECASE)


def told(text: str) -> list[str]:
    """Returns what a text names of a clone, unless it says so before."""
    return [
        found[0]
        for sentence in re.split(r"\n\n|(?<=\.) (?=[A-Z])", text)
        for found in OF_A_CLONE.finditer(sentence)
        if not SAID_OF_A_CLONE.search(sentence[: found.start()])
    ]


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the texts of a module, those of an f-string as one; of docstrings only those of decorated functions."""
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            hidden.add(node.value)
        if isinstance(node, ast.JoinedStr):
            hidden |= {part for part in node.values if isinstance(part, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.decorator_list and (shown := ast.get_docstring(node)):
            yield node.lineno, shown
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in hidden:
            yield node.lineno, node.value


def test_the_package_tells_nothing_of_a_clone() -> None:
    found = [
        f"harness/{path.relative_to(ROOT / 'harness')}:{line}: {name}"
        for path in sorted((ROOT / "harness").rglob("*.py"))
        for line, text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        for name in told(text)
    ]
    assert not found, "name what an installed package has, e.g. `harness list files`, or begin with 'in a clone'"


@pytest.mark.parametrize(
    "pattern", ["benchmarks/*.yaml", "launch/*.yaml", "slurm/*.sbatch", "harness/launching/slurm/*"]
)
def test_files_that_ship_tell_nothing_of_a_clone(pattern: str) -> None:
    paths = [path for path in ROOT.glob(pattern) if path.is_file() and path.suffix in (".yaml", ".sbatch", ".sh")]
    assert paths
    for path in paths:
        text = "\n".join(line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines())
        assert not told(text.replace("\n", " ")), path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("reinstall it: make setup", ["make setup"]),
        ("reinstall it; in a clone: make setup", []),
        ("In a clone, `python benchmarks/x.py` tells. See docs/suites.md.", ["docs/"]),
        ("--config_file launch/cpu.yaml", ["launch/"]),
        ("see launch/ for examples", ["launch/"]),
        ("a type of harness/parameters.py", ["harness/p"]),
        ("the models of timm (https://huggingface.co/docs/timm)", []),
        ("make room, or name a folder such as results/SUITE", []),
        ("`harness list files cpu.yaml`", []),
    ],
)
def test_what_counts(text: str, found: list[str]) -> None:
    assert told(text) == found


def test_names_in_hints_are_names_that_the_command_knows() -> None:
    """`harness list files NAME` and `harness list suites NAME` in a text name what there is."""
    from harness.suite.catalogue import text_of

    named = re.compile(r"`?harness list (files|suites) ([a-z_0-9.]+[a-z])")
    paths = [*(ROOT / "harness").rglob("*.py"), *ROOT.glob("slurm/*.sbatch"), *ROOT.glob("launch/*.yaml")]
    found = {match for path in paths for match in named.findall(Path(path).read_text(encoding="utf-8"))}
    assert len(found) >= 2
    for kind, name in found:
        assert text_of(kind, name), name
