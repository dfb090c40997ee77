"""Every number and every figure of the five reports has its suite or its picture."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import registry
from harness.paths import SUITES as SUITES_FOLDER
from harness.paths import named_file
from harness.suite.plan import load_suite
from harness.suite.published_report import read_published_report
from tests.house import ROOT

# Every number that a report states of a run, as (report, metric, value), by the suite that repeats it.
PUBLISHED = {
    "resnet18_milestones": [
        (1, metric, value)
        for row in (
            (0.3524, 0.3654, 0.8423, 0.8525),
            (0.3547, 0.3648, 0.8972, 0.8778),
            (0.2897, 0.3354, 0.9069, 0.8945),
            (0.2798, 0.2574, 0.9325, 0.8921),
            (0.2127, 0.2671, 0.9449, 0.9212),
            (0.2578, 0.3021, 0.9221, 0.8825),
            (0.128, 0.213, 0.9402, 0.9187),  # the mean of seven repeats of the best row
        )
        for metric, value in zip(("train.loss", "test.loss", "train.accuracy", "test.accuracy"), row, strict=True)
    ]
    + [(1, "test.loss", 0.283)],  # in the text, where the table says 0.2671
    "resnet18_224": [(2, "train.accuracy", 1.0), (2, "test.accuracy", 0.8633)],
    "cnn3_factors": [
        (3, f"{split}.all_epochs_mean_batch_recall", value)
        for train, validation in (
            (0.6065, 0.5245),
            (0.6635, 0.5713),
            (0.5599, 0.4956),
            (0.5900, 0.5126),
            (0.6310, 0.5329),
            (0.6105, 0.5379),
            (0.8574, 0.6633),
            (0.3700, 0.3606),
            (0.1007, 0.1011),
            (0.6588, 0.5434),
        )
        for split, value in (("train", train), ("test", validation))
    ]
    + [
        (3, "clock.train_seconds", 3600 * hours + 60 * minutes)
        for hours, minutes in ((3, 10), (1, 47), (2, 1), (3, 31))
    ],
    "cnn3_recommended": [(3, "test.mean_batch_recall", 0.7246)],
    **{
        suite: [
            (4, metric, value)
            for accuracy, seconds in rows
            for metric, value in (("test.accuracy", accuracy), ("clock.train_seconds", seconds))
        ]
        for suite, rows in {
            "resnet18_activation": ((0.8122, 1352), (0.8867, 1267), (0.8264, 1550)),
            "resnet18_weight_decay": ((0.8867, 1267), (0.8906, 1273), (0.8893, 1326), (0.8589, 1056)),
            "resnet18_width": ((0.8359, 1135), (0.8867, 1267), (0.8611, 1670)),
            "resnet18_optimizer": ((0.8867, 1267), (0.4817, 1779), (0.6391, 1350), (0.3115, 1445)),
        }.items()
    },
    "resnet18_final": [(4, "test.accuracy", 0.9339), (4, "test.accuracy", 0.9509), (4, "train.accuracy", 0.9999)],
    "vgg_a_batchnorm": [(4, "test.accuracy", 0.83), (4, "test.accuracy", 0.77)],
    "small_vgg": [
        (5, "test.accuracy", 0.63),
        (5, "test.accuracy", 0.645),  # "1 to 2 points more"
        (5, "test.accuracy", 0.72),  # "low 70's"
        (5, "train.accuracy", 0.98008),
        (5, "test.accuracy", 0.7951),
        (5, "test.accuracy", 0.7164),
        (5, "test.accuracy", 0.7728),
    ],
    "vgg16_transfer": [(5, "train.accuracy", 0.977294), (5, "test.accuracy", 0.711914), (5, "train.loss", 0.0859)],
    "vgg16_features": [
        (5, "train.accuracy", 0.999877),
        (5, "test.accuracy", 0.274414),
        (5, "train.loss", 0.00469),
        (5, "test.loss", 3.660),
        (5, "train.accuracy", 0.999877),  # block 4, whose test accuracy is illegible
        (5, "train.loss", 0.00425),
        (5, "test.loss", 2.0857),
    ],
}
# Every figure that shows results or a structure, as the reports number them.
FIGURES = {
    1: ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    2: ["6.1", "6.2", "7.1", "7.2", "7.3", "8.1", "8.2", "8.3", "8.4.1", "8.4.2", "8.5.1", "8.5.2"],
    3: ["2"],
    4: ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    5: ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"],
}
DOCUMENT = (ROOT / "docs" / "reports.md").read_text()
SUITES = {path.stem: load_suite(path) for path in (ROOT / "benchmarks").glob("*.yaml") if path.stem in PUBLISHED}


@pytest.mark.parametrize("suite", PUBLISHED)
def test_every_published_number_is_a_reference_of_its_suite_and_no_other_is(suite: str) -> None:
    found = [
        (int(reference.source.split()[1].strip(",")), reference.metric, reference.value)
        for reference in SUITES[suite].file.references
    ]
    assert sorted(found) == sorted(PUBLISHED[suite])


def test_no_other_suite_refers_to_a_report() -> None:
    for path in (ROOT / "benchmarks").glob("*.yaml"):
        if path.stem not in PUBLISHED:
            assert not re.search(r"source: .report \d", path.read_text()), path.stem


def rows(report: int) -> list[list[str]]:
    """The rows of the table of a report's section: what is shown, and the command."""
    section = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(f"Report {report}:")]
    cells = [re.split(r"(?<!\\)\|", line.strip("| \n")) for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells if len(row) == 2]


@pytest.mark.parametrize("report", FIGURES)
def test_each_figure_of_a_report_is_one_of_a_run_that_is_planned(report: int) -> None:
    published = read_published_report(f"report{report}")
    assert sorted({one for figure in published.figures for one in figure.figures.split(", ")}) == sorted(
        FIGURES[report]
    )
    assert {suite for suite, own in PUBLISHED.items() if any(number == report for number, _, _ in own)} <= set(
        published.suites
    )
    assert sum(len(published.figures_of(suite)) for suite in published.suites) == len(published.figures)
    for figure in published.figures:
        labels = {
            spec.label
            for spec in load_suite(named_file(Path(figure.suite or published.suites[0]), SUITES_FOLDER))
            .configs()
            .values()
        }
        assert figure.of in ("", *labels), figure
        assert registry.find("picture", figure.what).parameters().model_validate_json(json.dumps(figure.set)), figure


@pytest.mark.parametrize("suite", PUBLISHED)
def test_every_suite_stands_in_the_list_of_its_report(suite: str) -> None:
    for report in {report for report, _, _ in PUBLISHED[suite]}:
        assert any(f"benchmarks/{suite}.yaml" in command for _, command in rows(report)), suite


def commands() -> list[str]:
    return re.findall(r"`(harness (?:run|report|visualize) [^`]+)`", DOCUMENT)


def test_commands_of_the_list_name_what_there_is() -> None:
    assert len(commands()) > 15
    for command in commands():
        for path in re.findall(r"benchmarks/\S+\.yaml", command):
            assert (ROOT / path).is_file(), command
        whats = re.findall(r"--what (\S+)", command)
        known = {name for what in whats for name in registry.find("picture", what).fields}
        if command.startswith("harness visualize"):
            assert whats, command
            for name in re.findall(r"--set '?(\w+)=", command):
                assert name in known, command


def test_every_picture_is_named() -> None:
    drawn = {figure.what for report in FIGURES for figure in read_published_report(str(report)).figures}
    for picture in registry.plugins("picture"):
        assert picture.names[0] in drawn or f"--what {picture.names[0]}" in DOCUMENT, picture.names


def test_linked_pictures_exist() -> None:
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", DOCUMENT):
        assert (Path(ROOT / "docs") / target).is_file(), target


def test_a_report_that_is_not_there_and_a_launcher_are_refused(tmp_path: Path) -> None:
    told = harness(tmp_path, "reproduce", "report9")
    assert (
        told.returncode == 2 and "there is no report 'report9'" in told.stderr and "hint: did you mean" in told.stderr
    )
    told = harness(tmp_path, "reproduce", "1", RANK="0", WORLD_SIZE="2", LOCAL_RANK="0")
    assert told.returncode == 2 and "hint: harness reproduce 1" in told.stderr
    told = harness(tmp_path, "list", "results", "--report", "3")
    assert told.returncode == 2 and "hint: harness list suites --report 3" in told.stderr
    told = harness(tmp_path, "list", "suites", "--report", "5")
    assert [line.split()[0] for line in told.stdout.splitlines()[1:]] == [
        "small_vgg",
        "vgg16_transfer",
        "vgg16_features",
    ]


@pytest.mark.slow
def test_a_report_is_reproduced_by_one_command(tmp_path: Path) -> None:
    done = harness(tmp_path, "reproduce", "report3", "--smoke", "--set", "seeds=2")
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results"
    [figure] = [Path(line.rpartition(": ")[2]) for line in done.stdout.splitlines() if line.startswith("figure 2, ")]
    assert (tmp_path / figure).is_file() and "cnn3_factors_smoke" in str(figure)
    for suite, configs in (("cnn3_factors_smoke", 4), ("cnn3_recommended_smoke", 2)):
        assert len(list((results / suite).glob("*/*/result.json"))) == 2 * configs
        assert suite in (results / "report.html").read_text()
    again = harness(tmp_path, "reproduce", "report3", "--smoke", "--set", "seeds=2")
    assert again.returncode == 0 and "8 are done on this system: skipped" in again.stderr


def harness(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "harness", *words]
    return subprocess.run(call, cwd=folder, env=os.environ | variables, capture_output=True, text=True)
