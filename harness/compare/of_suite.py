"""The configs of a suite with what was measured of them, from its plans and what lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError, nearest
from harness.records.read import SuiteResults
from harness.report.of_suite import require_results, shown_label
from harness.results.measured import MeasuredConfig, measured_configs, round_seconds
from harness.results.unplanned import in_what_they_differ
from harness.suite.plan import Plan


@dataclass(frozen=True)
class MeasuredSuite:
    """A suite and its results.

    Attributes:
        configs: all of the plan, in its order; some may have no result.
        systems: names by system_id, of the systems that ran some of them.
        margin: differences of accuracy below it do not matter, a fraction; None where the suite states none.
    """

    name: str
    configs: tuple[MeasuredConfig, ...]
    systems: dict[str, str]
    notes: tuple[str, ...]
    margin: float | None = None

    @property
    def round_seconds(self) -> float:
        """What one round over the configs takes."""
        return round_seconds(self.configs)


def measured_suite(plans: Sequence[Plan], stored: SuiteResults, output: Path, system: str = "") -> MeasuredSuite:
    """Returns the configs of a suite.

    Args:
        plans: of one suite, for each world size that configs without `num_processes` may have been run at.
        stored: the suite's results.
        output: the results root.
        system: only results of this system count, an id or a name; of all by default.

    Raises:
        HarnessError: there is no result, or none of this system.
    """
    suite = plans[0].suite.name
    planned = {run.run_id for plan in plans for run in plan.runs}
    results = [result for result in stored.results if result.run_id in planned]
    used = {result.system_id for result in results}
    systems = {one: str(facts.get("name") or one) for one, facts in stored.systems.items() if one in used}
    notes = [*stored.notes, *(f"Unreadable record {path}: {reason}." for path, reason in stored.unreadable.items())]
    require_results(plans, stored, output)
    if others := [result for result in stored.results if result.run_id not in planned]:
        difference = in_what_they_differ(others, plans)
        notes.append(f"Left out: {counted(len(others), 'stored result')} of no run of this plan ({difference}).")
    chosen = _system_id(system, systems) if system else ""
    if not chosen and len(systems) > 1:
        names = ", ".join(f"{name} ({one})" for one, name in systems.items())
        notes.append(f"Results of {len(systems)} systems: {names}. --system chooses one.")

    ran = {result.config_id for result in results}
    labels = {
        config_id: shown_label(spec, several=len(plans) > 1)
        for number, plan in enumerate(plans)
        for config_id, spec in plan.configs().items()
        if config_id in ran or (number == 0 and len(plans) == 1)
    }
    configs = measured_configs(suite, labels, results, output, system=chosen)
    return MeasuredSuite(suite, tuple(configs), systems, tuple(notes), plans[0].suite.file.margin)


def _system_id(wanted: str, systems: dict[str, str]) -> str:
    named = [one for one, name in systems.items() if wanted in (one, name)]
    if len(named) == 1:
        return named[0]
    if named:
        raise HarnessError(f"{len(named)} systems are named '{wanted}'", f"give an id: {', '.join(named)}")
    raise HarnessError(f"no results of a system '{wanted}'", nearest(wanted, [*systems, *systems.values()]))
