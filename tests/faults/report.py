"""A plug-in of pytest, `-p tests.faults.report`: it ends with what became of each fault.

The fixtures `fault` and `figure` of conftest.py leave what they are told in a test's `user_properties`.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

FAULT, FIGURE = "fault", "figure"
# Tests of data and records that inject a fault each; they stand beside what they test.
ELSEWHERE = {
    "tests/data/test_download.py::test_unsafe_members_are_refused_and_nothing_is_left": "tar with ../ or links",
    "tests/data/test_download.py::test_an_archive_with_a_wrong_checksum_is_not_opened": "wrong checksum of data",
    "tests/data/test_cifar.py::test_an_archive_with_a_wrong_checksum_is_not_opened": "wrong checksum of data",
    "tests/records/test_files.py::test_a_torn_line_is_closed_and_left_out": "torn last line of a record",
    "tests/records/test_files.py::test_a_file_that_is_only_a_torn_line": "torn last line of a record",
    "tests/records/test_store.py::test_a_torn_event_does_not_hide_the_others": "torn last line of a record",
    "tests/records/test_store.py::test_a_record_that_cannot_be_read_is_reported_and_the_run_is_open": (
        "torn record, or of an unknown schema version"
    ),
    "tests/data/test_cifar.py::test_nothing_is_unpickled_before_it_is_verified": "malicious pickle among the data",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-report", type=Path, metavar="FILE", help="write what became of the faults, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report(config.getoption("--faults-report")))


class Report:
    """Collects what fault tests say.

    Args:
        path: of the JSON; None to print the table only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._began = time.monotonic()
        self._said: dict[str, list[tuple[str, Any]]] = {}
        self._failed: set[str] = set()
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._skipped[report.nodeid] = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        if report.failed:
            self._failed.add(report.nodeid)
        self._said[report.nodeid] = list(report.user_properties)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        from harness.measure.system import describe_system

        faults = self._faults()
        rows = [_row(name, found) for name, found in faults.items()]
        total = _row("all", [fault for found in faults.values() for fault in found])
        terminalreporter.section("faults")
        for line in _table([*rows, total]):
            terminalreporter.write_line(line)
        for test, reason in self._skipped.items():
            terminalreporter.write_line(f"not injected: {test}: {reason}")
        if self._path:
            system = describe_system()
            value = {
                "command": "make test-faults",
                "system": {
                    key: system[key] for key in ("name", "cpu", "cpu_count", "gpu", "torch", "python", "kernel")
                },
                "seconds": round(time.monotonic() - self._began, 1),
                "faults": rows,
                "all": total,
                "figures": self._figures(),
                "skipped": self._skipped,
                "failed": sorted(self._failed),
            }
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(value, indent=1) + "\n")

    def _faults(self) -> dict[str, list[dict[str, Any]]]:
        """Returns every fault by its name, in the order of the tests."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for test, said in self._said.items():
            told = [value for key, value in said if key == FAULT]
            name = ELSEWHERE.get(test.partition("[")[0])
            if not told and test not in self._skipped and (name or test in self._failed):
                told = [{"name": name or test, "survived": True, "seconds_lost": None, "steps_lost": None}]
            for fault in told:
                found[fault["name"]].append(fault | {"survived": fault["survived"] and test not in self._failed})
        return found

    def _figures(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for said in self._said.values():
            for value in (value for key, value in said if key == FIGURE):
                found[value["name"]].append(value["value"])
        return found


def _row(name: str, faults: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums faults up; what none of them measured is None."""
    row: dict[str, Any] = {"name": name, "injected": len(faults)}
    row["survived"] = sum(fault["survived"] for fault in faults)
    for key in ("seconds_lost", "steps_lost"):
        values = [fault[key] for fault in faults if fault[key] is not None]
        row[key] = round(sum(values), 3) if values else None
        row[f"most_{key}"] = round(max(values), 3) if values else None
    return row


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = ["name", "injected", "survived", "seconds_lost", "steps_lost"]
    texts = [[column.replace("_", " ") for column in columns]]
    texts += [["-" if row[column] is None else str(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in texts) for place in range(len(columns))]
    texts.insert(-1, ["-" * width for width in widths])
    first, *others = widths
    return [
        line[0].ljust(first) + "".join(f"  {text:>{width}}" for text, width in zip(line[1:], others, strict=True))
        for line in texts
    ]
