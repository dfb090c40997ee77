"""Every suite that ships: it can be planned, is small with --smoke, and says what it assumes and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.suite.plan import Plan, load_suite
from tests.house import ROOT

SUITES = sorted((ROOT / "benchmarks").glob("*.yaml"))
every_suite = pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)


def plan(path: Path, *, smoke: bool = False) -> Plan:
    reads_folders = "name: image_folder" in path.read_text() and not smoke
    where = ["data.root=/folder"] if reads_folders else []
    return load_suite(path, where, smoke=smoke).plan(lambda section: "f" * 64)


@every_suite
def test_it_can_be_planned_and_bears_the_name_of_its_file(path: Path) -> None:
    planned = plan(path)
    assert planned.runs and planned.suite.name == path.stem and planned.suite.file.description


@every_suite
def test_smoke_takes_images_that_everybody_has_and_compares_with_nothing(path: Path) -> None:
    planned = plan(path, smoke=True)
    assert planned.suite.name == f"{path.stem}_smoke" and not planned.suite.file.references
    assert 1 <= len(planned.runs) <= 6
    for run in planned.runs:
        assert run.spec.data.name in ("digits", "synthetic")
        assert run.spec.train.epochs <= 3 and run.spec.seed == 0


@every_suite
def test_it_says_what_it_answers_and_how_long_it_takes(path: Path) -> None:
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert comment[0] == "# yaml-language-server: $schema=suite.schema.json"
    said = " ".join(comment[1:])
    assert len(said) > 60
    assert re.search(r"minute|hour|h\d\d|\d h |not measured", said + plan(path).suite.file.description), "how long?"


@every_suite
def test_what_is_assumed_has_a_reason(path: Path) -> None:
    for line in path.read_text().splitlines():
        if re.search(r"# .*\bassumed\b", line) and not line.startswith("#"):
            assert re.search(r"\bassumed: \w.{6,}", line), line


@every_suite
def test_a_reference_names_its_source_and_meets_one_config(path: Path) -> None:
    planned = plan(path)
    met = [reference for found in planned.references().values() for reference in found]
    for reference in planned.suite.file.references:
        assert met.count(reference) == 1, reference
        assert re.match(r"report [1-5]\b|github\.com/|airbench", reference.source)
