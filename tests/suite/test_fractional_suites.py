"""`design: fractional` in a suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.suite.plan import Plan, load_suite
from harness.suite.yaml_lines import SuiteError

HEAD = "name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1, momentum: 0.9}}\n"
MATRIX = """\
matrix:
  optimizer.lr: [0.1, 0.2]
  train.epochs: [1, 2]
  train.global_batch_size: [64, 128]
"""
ZIP = "zip: [{label: [a, b], train.drop_last: [true, false], train.shuffle: [once, each_epoch]}]\n"
DESIGN = "design: fractional\n"


def _plan(folder: Path, text: str, *overrides: str) -> Plan:
    path = folder / "suite.yaml"
    path.write_text(HEAD + text)
    return load_suite(path, overrides).plan(lambda data: "f")


def _labels(plan: Plan) -> list[str]:
    return [spec.label for spec in plan.configs().values()]


def test_a_zip_group_is_a_factor_and_the_order_is_that_of_the_product(tmp_path: Path) -> None:
    full = _labels(_plan(tmp_path, MATRIX + ZIP))
    half = _labels(_plan(tmp_path, MATRIX + ZIP + DESIGN))
    assert len(full) == 16 and len(half) == 8
    assert half == [label for label in full if label in set(half)]
    assert half[0] == full[0]
    assert half == _labels(_plan(tmp_path, MATRIX + ZIP + "design: {name: fractional, fraction: 2}\n"))
    assert sum(label.startswith("a, ") for label in half) == 4


def test_the_notes_name_the_factors(tmp_path: Path) -> None:
    size, aliases = _plan(tmp_path, MATRIX + ZIP + DESIGN).suite.variations.notes()
    assert "8 configs, 1/2 of 2 x 2 x 2 x 2" in size
    assert "optimizer.lr x train.drop_last and train.shuffle = train.epochs x train.global_batch_size" in aliases
    assert _plan(tmp_path, MATRIX).suite.variations.notes() == []


def test_what_set_pins_does_not_change_which_of_the_others_are_run(tmp_path: Path) -> None:
    free = _plan(tmp_path, MATRIX + ZIP + DESIGN)
    pinned = _plan(tmp_path, MATRIX + ZIP + DESIGN, "optimizer.lr=0.5")
    assert {run.spec.model_dump()["optimizer"]["lr"] for run in pinned.runs} == {0.5}
    others = [{_others(run.spec.model_dump(mode="json")) for run in plan.runs} for plan in (free, pinned)]
    assert others[0] == others[1] and len(others[1]) == len(pinned.runs) == 8


def _others(dump: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(dump["train"][name] for name in ("epochs", "global_batch_size", "drop_last", "shuffle"))


def test_include_comes_on_top(tmp_path: Path) -> None:
    labels = _labels(_plan(tmp_path, MATRIX + ZIP + DESIGN + "include: [{label: best, train.epochs: 9}]\n"))
    assert len(labels) == 9 and labels[-1] == "best"


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (DESIGN, 3, "a fraction needs 3 factors or more with several values each, not 0", "leave 'design' out"),
        (DESIGN + "matrix: {train.epochs: [1, 2]}\n", 3, "not 1", "leave 'design' out"),
        (MATRIX + DESIGN, 7, "no balanced fraction of 2 x 2 x 2 configs", "leave 'design' out"),
        (MATRIX + ZIP + "design: {name: fractional, fraction: 4}\n", 8, "no balanced fraction of 1/4", "fraction: 2"),
        ("design: fractional\none_at_a_time: {train.epochs: [2]}\n", 3, "exclude each other", "into a matrix"),
        (MATRIX + ZIP + DESIGN + "exclude: [{train.epochs: 2}]\n", 9, "would remove configs", "out of the matrix"),
        ("design: full\n", 3, 'design is "full"', "'fractional' or a mapping"),
        ("design: {name: fractional, fraction: 1}\n", 3, "design.fraction is 1", "greater than or equal to 2"),
        ("design: {name: fractional, fractoin: 4}\n", 3, "unknown field 'fractoin'", "'fraction'"),
        ("design: {fraction: 4}\n", 3, "'name' is missing", "add name"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_bad_designs(tmp_path: Path, text: str, line: int, message: str, hint: str) -> None:
    with pytest.raises(SuiteError) as caught:
        _plan(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'suite.yaml'}:{line}: ")
    assert message in caught.value.message and hint in caught.value.hint


def test_plan_says_what_the_fraction_can_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "suite.yaml").write_text(HEAD + MATRIX + ZIP + DESIGN)
    with pytest.raises(SystemExit) as caught:
        main(["plan", str(tmp_path / "suite.yaml")])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 9
    assert err.splitlines()[1].startswith("Fractional design: 8 configs") and "Aliased" in err.splitlines()[2]


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoe", None)
    with pytest.raises(SuiteError, match=r"suite.yaml:8: 'design: fractional' needs pydoe") as caught:
        _plan(tmp_path, MATRIX + ZIP + DESIGN)
    assert caught.value.hint == "pip install pydoe"


@pytest.mark.launch
@pytest.mark.parametrize(("design", "imported"), [("", "False"), (DESIGN, "True")], ids=["full", "fractional"])
def test_only_a_fraction_needs_its_library(tmp_path: Path, design: str, imported: str) -> None:
    (tmp_path / "suite.yaml").write_text(HEAD + MATRIX + ZIP + design)
    code = f"""
import sys
from pathlib import Path
from harness.suite.plan import load_suite
load_suite(Path({str(tmp_path / "suite.yaml")!r})).configs()
print("pydoe" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == imported
