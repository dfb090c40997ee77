"""The configs of a suite with what was measured of them, from its results."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import HarnessError, nearest
from harness.results.measured import MeasuredConfig, measured_configs, round_seconds
from harness.results.study import Study


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


def measured_suite(study: Study, system: str = "") -> MeasuredSuite:
    """Returns the configs of a suite.

    Args:
        system: only results of this system count, an id or a name; of all by default.

    Raises:
        HarnessError: there is no result of this system.
    """
    used = {result.system_id for result in study.results}
    systems = {one: str(facts.get("name") or one) for one, facts in study.systems.items() if one in used}
    notes = list(study.notes)
    chosen = _system_id(system, systems) if system else ""
    if not chosen and len(systems) > 1:
        names = ", ".join(f"{name} ({one})" for one, name in systems.items())
        notes.append(f"Results of {len(systems)} systems: {names}. --system chooses one.")
    configs = measured_configs(study.name, study.labels, study.results, study.root, system=chosen)
    return MeasuredSuite(study.name, tuple(configs), systems, tuple(notes), study.question.margin)


def _system_id(wanted: str, systems: dict[str, str]) -> str:
    named = [one for one, name in systems.items() if wanted in (one, name)]
    if len(named) == 1:
        return named[0]
    if named:
        raise HarnessError(f"{len(named)} systems are named '{wanted}'", f"give an id: {', '.join(named)}")
    raise HarnessError(f"no results of a system '{wanted}'", nearest(wanted, [*systems, *systems.values()]))
