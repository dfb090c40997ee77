"""One name, one thing: who searches for a class finds it."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.house import ROOT


def test_no_two_classes_of_the_package_have_the_same_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "harness").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert len(places) > 200
    assert not {name: own for name, own in places.items() if len(own) > 1}
