"""Which runs of a plan are done, failed or open, on each system."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records.store import read_suite
from harness.suite import Plan


@dataclass(frozen=True)
class SystemStatus:
    """The runs of a plan on one system: how many by status, and what went wrong with those that are not ok."""

    name: str
    counts: dict[str, int]
    problems: list[dict[str, Any]]


@dataclass(frozen=True)
class SuiteStatus:
    """The runs of a plan, by system_id."""

    suite: str
    total: int
    systems: dict[str, SystemStatus]
    unreadable: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        systems = {system_id: vars(status) for system_id, status in self.systems.items()}
        return {"suite": self.suite, "total": self.total, "systems": systems, "unreadable": self.unreadable}

    def text(self) -> str:
        """Returns lines for a person."""
        lines = [f"{self.suite}: {self.total} runs"]
        if not self.systems:
            lines.append("  none has been run yet")
        for system_id, status in self.systems.items():
            counts = ", ".join(f"{count} {name}" for name, count in status.counts.items())
            lines.append(f"  on {status.name} ({system_id}): {counts}")
            lines += [f"    {p['label']} · seed {p['seed']} · {p['status']}: {p['cause']}" for p in status.problems]
        lines += [f"  unreadable: {path}: {reason}" for path, reason in self.unreadable.items()]
        return "\n".join(lines)


def suite_status(plan: Plan, output: Path) -> SuiteStatus:
    """Reads the records of a suite and counts the plan's runs on each system by status."""
    stored = read_suite(output, plan.suite.name)
    planned = {run.run_id for run in plan.runs}
    systems: dict[str, SystemStatus] = {}
    for system_id, system in stored.systems.items():
        results = [r for r in stored.results if r.system_id == system_id and r.run_id in planned]
        if not results:
            continue
        counts: dict[str, int] = dict(Counter(str(result.status) for result in results))
        open_runs = len(planned) - len(results)
        problems = [
            {"label": r.label, "seed": r.seed, "status": r.status, "cause": r.cause.message if r.cause else ""}
            for r in results
            if r.status != "ok"
        ]
        counts |= {"open": open_runs} if open_runs else {}
        systems[system_id] = SystemStatus(
            system.get("name", system_id), {str(k): v for k, v in counts.items()}, problems
        )
    unreadable = {str(path): reason for path, reason in stored.unreadable.items()}
    return SuiteStatus(plan.suite.name, len(plan.runs), systems, unreadable)
