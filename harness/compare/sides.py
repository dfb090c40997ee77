"""What the words of a call name: `SUITE.yaml:LABEL`, `SUITE.yaml`, or a label of the first suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError, nearest
from harness.results.measured import MeasuredConfig, measured_configs
from harness.results.study import Study, study_of_folders, suite_folders

EXAMPLE = "write harness compare SUITE.yaml LABEL LABEL"


@dataclass(frozen=True)
class MeasuredSuite:
    """A suite with what was measured of its configs: all of the plan, in its order; some may have no result."""

    study: Study
    configs: tuple[MeasuredConfig, ...]
    notes: tuple[str, ...]

    @property
    def margin(self) -> float | None:
        """Differences of accuracy below it do not matter, a fraction; None where the suite states none."""
        return self.study.question.margin

    def find(self, label: str) -> MeasuredConfig:
        """Returns the config that a label or a config_id names; an empty one names the only config.

        Raises:
            HarnessError: there is none, or several.
        """
        if not label:
            if len(self.configs) == 1:
                return self.configs[0]
            source, count = self.study.source, counted(len(self.configs), "config")
            hint = f"write {source}:{self.configs[0].label!r}" if self.configs else EXAMPLE
            raise HarnessError(f"{source} has {count}: which one?", hint)
        labels = {one.label: one for one in self.configs}
        found = labels.get(label) or {one.config_id: one for one in self.configs}.get(label)
        if found is None:
            raise HarnessError(f"{self.study.name} has no config '{label}'", nearest(label, labels))
        return found


def measured_suite(study: Study, system: str = "") -> MeasuredSuite:
    """Returns a suite with what was measured.

    Args:
        system: only results of this system count, an id or a name; of all by default.

    Raises:
        HarnessError: there is no result of this system.
    """
    used = {result.system_id for result in study.results}
    systems = {one: str(facts.get("name") or one) for one, facts in study.systems.items() if one in used}
    notes = list(study.notes)
    if system:
        named = [one for one, name in systems.items() if system in (one, name)]
        if not named:
            raise HarnessError(f"no results of a system '{system}'", nearest(system, [*systems, *systems.values()]))
        if len(named) > 1:
            raise HarnessError(f"{len(named)} systems are named '{system}'", f"give an id: {', '.join(named)}")
        system = named[0]
    elif len(systems) > 1:
        names = ", ".join(f"{name} ({one})" for one, name in systems.items())
        notes.append(f"Results of {len(systems)} systems: {names}. --system chooses one.")
    configs = tuple(measured_configs(study.name, study.labels, study.results, study.root, system=system))
    return MeasuredSuite(study, configs, tuple(notes))


def measured_baseline(path: Path, study: Study) -> list[MeasuredConfig]:
    """Returns what a suite's records of before have of its configs.

    Args:
        path: their folder, or a results root that holds it.
        study: of the suite, as it is now.

    Raises:
        HarnessError: there are none, or they are the suite's own.
    """
    found = suite_folders(path)
    found = [folder for folder in found if folder.resolve().name == study.name] or found
    if len(found) != 1:
        has = f"has the results of {counted(len(found), 'suite')}" if found else "holds no results"
        raise HarnessError(f"--baseline {path} {has}", f"name a copy of results/{study.name}")
    if found[0].resolve() == study.folder.resolve():
        message = f"--baseline {path} is where the suite's own results are"
        raise HarnessError(message, f"copy them before you run anew: cp -r {path} baseline")
    before = measured_suite(study_of_folders(found))
    return [dataclasses.replace(one, from_baseline=True) for one in before.configs if one.runs]


def parse_words(words: Sequence[str]) -> tuple[Path, list[tuple[Path, str]]]:
    """Returns the first suite that the words of a call name, and the configs: none for the whole table.

    A config is a suite and a label as it stands in the call, which is empty for the only config of its suite.

    Raises:
        HarnessError: the first is no suite file, or there are more than two configs.
    """
    first, label = _parts(words[0])
    if first is None:
        raise HarnessError(f"'{words[0]}' is no suite file", EXAMPLE)
    rest = [_parts(word) for word in words[1:]]
    sides = [(path or first, name) for path, name in rest]
    # A suite that labels of its own follow is where they belong, and no config.
    if label or any(path for path, _ in rest):
        sides.insert(0, (first, label))
    if len(sides) > 2:
        message = f"{len(sides)} configs were named: two are compared, or a whole table"
        raise HarnessError(message, "name two, or leave some of a table out with --only")
    return first, sides


def _parts(word: str) -> tuple[Path | None, str]:
    """Returns the suite's file or folder of results, where the word names one, and the label; any may hold colons."""
    ends = [len(word), *(index for index, character in enumerate(word) if character == ":" and index)]
    for end in ends:
        if Path(word[:end]).exists():
            return Path(word[:end]), word[end + 1 :]
    path = word.partition(":")[0]
    if path.endswith((".yaml", ".yml")):
        raise HarnessError(f"cannot read {path}: no such file", EXAMPLE)
    return None, word
