"""The hashes of code: what changes them and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.source_code import code_hash, with_local_imports
from harness.spec import parse_run_spec
from harness.spec.code import _own_code
from tests.house import ROOT


def test_plugins_of_the_package_are_no_part_of_the_identity() -> None:
    values = {"model": "mlp", "data": "digits", "optimizer": {"name": "sgd", "lr": 0.1}}
    assert parse_run_spec(values).config_id() == "7c2dbc2a755d"


@pytest.mark.parametrize(
    ("file", "added", "changes"),
    [
        ("models/mlp.py", "x = 1", True),
        ("models/layers.py", "x = 1", True),
        ("models/resnet.py", "x = 1", False),  # another architecture
        ("data/datasets/cifar.py", "x = 1", False),  # another data set
        ("data/loaders/pinned.py", "x = 1", True),
        ("training/optimizers/muon.py", "x = 1", False),
        ("training/loop.py", "x = 1", True),
        ("running/execute.py", "x = 1", True),
        ("running/execute.py", "# more", False),
        ("report/build.py", "x = 1", False),
        ("cli/run.py", "x = 1", False),
    ],
)
def test_the_code_of_a_run_is_what_trains_it(tmp_path: Path, file: str, added: str, changes: bool) -> None:
    hashes = []
    for place in ("before", "after"):
        package = tmp_path / place / "harness"
        shutil.copytree(ROOT / "harness", package, ignore=shutil.ignore_patterns("__pycache__"))
        if place == "after":
            (package / file).write_text((package / file).read_text() + added + "\n")
        hashes.append(_own_code(frozenset({package / "models/mlp.py", package / "data/datasets/digits.py"}), package))
    assert (hashes[0] != hashes[1]) == changes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = True"),
        ("x = 1", "x = 1.0"),
        ("x = None", "x = ..."),
        ("x = a[1:]", "x = a[:1]"),
        ("x = {**a}", "x = {a: a}"),
        ("def f(a, *, b=1): ...", "def f(a, b=1): ..."),
        ("async def f(): ...", "def f(): ..."),
        ("x = 'a'", "x = b'a'"),
        ("if a:\n    b\nelse:\n    c", "if a:\n    b\n    c"),
        ("from . import a", "from .. import a"),
        ("@a\ndef f(): ...", "def f(): ..."),
        ("f'{a!r}'", "f'{a!s}'"),
    ],
)
def test_code_that_does_something_else_has_another_hash(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "a.py").write_text(one + "\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.py").write_text(other + "\n")
    assert code_hash([tmp_path / "a.py"], tmp_path) != code_hash([tmp_path / "a/a.py"], tmp_path / "a")


def test_imports_are_followed_below_the_root_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "p/q").mkdir(parents=True)
    files = {
        "p/__init__.py": "",
        "p/q/__init__.py": "from .deep import x",
        "p/q/deep.py": "x = 1",
        "p/a.py": "def f():\n    from p import b\nimport json, torch",
        "p/b.py": "from .q import x\nfrom .. import outside_of_the_root",
        "p/c.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = with_local_imports([tmp_path / "p/a.py"], tmp_path, lambda path: True)
    assert {path.relative_to(tmp_path).as_posix() for path in found} == set(files) - {"p/c.py"}
    found = with_local_imports([tmp_path / "p/a.py"], tmp_path, lambda path: path.name != "b.py")
    assert {path.relative_to(tmp_path).as_posix() for path in found} == {"p/a.py", "p/__init__.py"}
