"""An examination for a person and for a program."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.counted import counted
from harness.doctor.examine import Examination
from harness.measure.finding import Finding, Verdict

_MARKS: dict[Verdict, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "stop": ("stops a run", "bold red"),
}
_SIZES = ("gpu_memory_bytes", "memory_bytes", "memory_limit_bytes")
_HEAD = ("system_id", "name")


def as_json(examination: Examination) -> dict[str, Any]:
    """Returns the examination as plain values."""
    findings = [finding._asdict() for finding in examination.findings]
    found = {"can_run": examination.can_run, "findings": findings, "system": examination.system}
    if suite := examination.suite:
        found["suite"] = {**suite._asdict(), "findings": [finding._asdict() for finding in suite.findings]}
    return found


def show(examination: Examination, console: Console) -> None:
    """Writes it as wide as the console is."""
    system = examination.system
    console.print(Text.assemble((str(system["name"]), "bold"), f"  system {system['system_id']}"))
    console.print(Padding(_facts(system), (0, 0, 1, 0)))
    console.print(_verdicts(examination))
    stops = sum(finding.verdict == "stop" for finding in examination.every)
    warnings = sum(finding.verdict == "warning" for finding in examination.every)
    told = f"{stops} would stop a run, {counted(warnings, 'warning')}"
    console.print(Text(f"\n{told}", style="bold red" if stops else "yellow" if warnings else "green"))


def _facts(system: dict[str, Any]) -> Table:
    grid = _grid()
    for name, value in system.items():
        if name not in (*_HEAD, "unavailable") and value is not None:
            grid.add_row(Text(name.replace("_bytes", "").replace("_", " "), style="dim"), Text(_written(name, value)))
    return grid


def _verdicts(examination: Examination) -> Table:
    grid = _grid()
    grid.add_column(overflow="fold")
    for finding in examination.findings:
        _add(grid, finding)
    if suite := examination.suite:
        done = f", {suite.done} done on this system" if suite.done else ""
        grid.add_row()
        grid.add_row("", Text("suite", style="bold"), Text(f"{suite.name}: {counted(suite.runs, 'run')}{done}"))
        for finding in suite.findings:
            _add(grid, finding)
    return grid


def _add(grid: Table, finding: Finding) -> None:
    word, style = _MARKS[finding.verdict]
    hint = [Text(f"hint: {finding.hint}", style="dim")] if finding.hint else []
    grid.add_row(Text(word, style=style), Text(finding.about), Group(Text(finding.says), *hint))


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _written(name: str, value: Any) -> str:
    if name in _SIZES:
        return f"{value / 2**30:,.1f} GiB"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
