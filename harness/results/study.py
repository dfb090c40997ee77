"""A suite with its results: what reports, comparisons and the table of runs are made from.

It comes from a suite's file and the results roots, or from a folder of records alone: `results/SUITE`, copied from
wherever it was made. A folder needs neither the suite's file nor its data, nor the plug-ins that trained it.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.counted import counted
from harness.errors import HarnessError
from harness.records.events import EVENTS
from harness.records.planned import of_newest, with_elsewhere
from harness.records.read import SuiteResults, merged, read_suite
from harness.records.result import RunResult
from harness.results.extra_metrics import with_extra_metrics
from harness.results.question import SuiteQuestion, is_trial, read_question
from harness.results.race import RaceState, race_of
from harness.results.unplanned import flat_identity, in_what_they_differ
from harness.spec.settings import matches, require_field
from harness.suite.file import Reference, parse_only, selected
from harness.suite.plan import Plan

if TYPE_CHECKING:
    import pandas

    from harness.spec import RunSpec


@dataclass(frozen=True)
class Study:
    """A suite with its results.

    Attributes:
        name: of the suite.
        source: the suite's file, or the folder of its records, as a command names it.
        folder: where its reports go.
        specs: the configs to show, by config_id, in their order, as records hold them.
        labels: theirs, all distinct.
        results: those that count, on all systems, anchors among them.
        systems: by system_id.
        question: what the suite asks.
        selection: of its runs, as `--only` has it.
        trial: what `--set` changed in a suite that was run without, as `PATH=VALUE`; see `harness.results.question`.
        notes: what is to be told of the results: those left out, those that cannot be read.
    """

    name: str
    source: Path
    folder: Path
    specs: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, str]
    results: Sequence[RunResult]
    systems: Mapping[str, Mapping[str, Any]]
    question: SuiteQuestion = field(default_factory=SuiteQuestion)
    selection: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()

    @functools.cached_property
    def race(self) -> RaceState | None:
        """The race that decided which runs there are, if one did."""
        return race_of(self.folder, self.results)

    @property
    def root(self) -> Path:
        """The results root, where calibrations lie."""
        return self.folder.parent

    def frame(self) -> pandas.DataFrame:
        """Returns the table of its runs, see `harness.results.frame`."""
        from harness.results.frame import named_frame

        names = {system_id: str(facts.get("name") or system_id) for system_id, facts in self.systems.items()}
        return named_frame([(self.name, result) for result in self.results], names)

    def references(self) -> dict[str, list[Reference]]:
        """Returns the published numbers of each config, by config_id; without a record, by its label alone."""
        wanted, specs = self.question.references, dict(self.specs)
        if self.source == self.folder and not self.selection:
            specs |= {i: {"label": label} for i, label in self.question.labels.items() if i not in specs}
        return {i: [one for one in wanted if matches(one.match, spec)] for i, spec in specs.items()}


def study_of_suite(first: Plan, roots: Sequence[Path], plan_for: Callable[[int], Plan] | None = None) -> Study:
    """Returns a suite, as its file has it, with its results.

    A run whose id is not known, as its data are not here, is found by its config and seed.

    Args:
        first: its plan.
        roots: the results roots; the reports go to the first.
        plan_for: gives the plan at another world size that there are results of, for configs that name none; without
            it they are left out.

    Raises:
        HarnessError: there is no result of the plan; it says in what stored results differ from it.
    """
    suite = first.suite
    own = [read_suite(root, suite.name) for root in roots]
    planned_for = first.runs[0].spec.train.num_processes
    sizes = {result.num_processes for part in own for result in part.results} - {planned_for}
    plans = [first, *(plan_for(size) for size in sorted(sizes) if plan_for)]
    run_ids = {run.run_id for plan in plans for run in plan.runs} - {""}
    parts = [with_elsewhere(part, root, suite.name, run_ids) for part, root in zip(own, roots, strict=True)]
    return study_of_plans(plans, merged(parts), roots)


def study_of_plans(plans: Sequence[Plan], stored: SuiteResults, roots: Sequence[Path]) -> Study:
    """Returns a suite from its plans and what is stored.

    Args:
        plans: for each world size that configs without `num_processes` may have been run at.
        stored: the records of the roots together.
        roots: the results roots; the reports go to the first.

    Raises:
        HarnessError: see `study_of_suite`.
    """
    first, suite = plans[0], plans[0].suite
    run_ids = {run.run_id for plan in plans for run in plan.runs} - {""}
    unknown = {(run.config_id, run.spec.seed, run.spec.repeat) for plan in plans for run in plan.runs if not run.run_id}

    def is_planned(result: RunResult) -> bool:
        key = result.config_id, result.seed, result.spec.get("repeat") or 0
        return result.run_id in run_ids or (bool(unknown) and key in unknown)

    stored = of_newest(stored, is_planned)
    results = [result for result in stored.results if is_planned(result)]
    if not results:
        raise _no_results(plans, stored, roots)
    notes = list(stored.notes)
    if unknown:
        notes.append("The data are not here: stored runs were found by config and seed, not by their content.")
    if others := [result for result in stored.results if not is_planned(result)]:
        difference, count = in_what_they_differ(others, plans), counted(len(others), "stored result")
        notes.append(f"Left out: {count} that belong to no run of this plan ({difference}).")
    ran = {result.config_id for result in results}
    left_open = _left_open(plans, ran)
    shown = {
        config_id: (f"{spec.label} on {spec.train.num_processes}" if len(plans) > 1 else spec.label, spec)
        for plan in plans
        for config_id, spec in plan.configs().items()
        if config_id in ran or (plan is first and config_id not in left_open)
    }
    folder = roots[0] / suite.name
    results, missing = with_extra_metrics(results)
    question = SuiteQuestion.of(suite, {config_id: spec.label for config_id, spec in first.configs().items()})
    changed = question.overrides if is_trial(question, folder) else {}
    return Study(
        name=suite.name,
        source=suite.source.path,
        folder=folder,
        specs={config_id: spec.model_dump(mode="json") for config_id, (_, spec) in shown.items()},
        labels={config_id: label for config_id, (label, _) in shown.items()},
        results=results,
        systems=stored.systems,
        question=question,
        selection=first.selection,
        notes=(*notes, *missing, *_unreadable(stored)),
        trial=tuple(f"{path}={json.dumps(value)}" for path, value in changed.items()),
    )


def _left_open(plans: Sequence[Plan], ran: Collection[str]) -> set[str]:
    """Returns the configs of the first plan that ran at another world size only, which their suite leaves open."""
    if len(plans) == 1:
        return set()

    def settings(spec: RunSpec) -> str:
        dump = spec.model_dump(mode="json")
        return json.dumps({**dump, "train": {**dump["train"], "num_processes": None}}, sort_keys=True)

    configs = [plan.configs() for plan in plans]
    elsewhere = {settings(spec) for own in configs[1:] for config_id, spec in own.items() if config_id in ran}
    open_size = configs[0].keys() - configs[1].keys()  # a config that names its size is the same in each plan
    return {config_id for config_id in open_size if settings(configs[0][config_id]) in elsewhere}


def study_of_folders(folders: Sequence[Path], only: Sequence[str] = ()) -> Study:
    """Returns a suite from the folders of its records.

    Args:
        folders: `ROOT/SUITE` of each results root, all of one suite; the reports go to the first.
        only: selections, as `--only` has them.

    Raises:
        HarnessError: there is no record, or none that is selected.
    """
    first, name = folders[0].resolve() if not folders[0].name else folders[0], folders[0].resolve().name
    stored = of_newest(read_folders(folders), lambda _: True)
    if not stored.results:
        odd = _unreadable(stored)
        raise HarnessError(f"no results in {first}{' can be read' if odd else ''}", "; ".join(odd[:3]))
    question, notes = read_question(folders), [*stored.notes, *_other_questions(folders)]
    results = _selected(_asked(stored.results, question, notes), only)
    results, missing = with_extra_metrics(results)
    latest = {run.config_id: run for run in sorted(results, key=lambda run: run.ended_at)}
    names = {i: question.labels.get(i) or run.label or i for i, run in latest.items()}
    places = {config_id: place for place, config_id in enumerate(question.labels)}
    order = sorted(latest, key=lambda config_id: (places.get(config_id, len(places)), names[config_id], config_id))
    specs = {config_id: latest[config_id].spec for config_id in order}
    labels = _distinct({config_id: names[config_id] for config_id in order}, specs)
    every = (*notes, *missing, *_unreadable(stored))
    return Study(name, first, first, specs, labels, results, stored.systems, question, tuple(only), every)


def _asked(results: Sequence[RunResult], question: SuiteQuestion, notes: list[str]) -> Sequence[RunResult]:
    """Returns the results of the configs that the suite asks for, at any world size; notes tell of the others.

    Where none of the suite's configs has a result, all are returned.
    """

    def at_any_size(result: RunResult) -> str:
        fields = {path: value for path, value in flat_identity(result.spec) if path != "train.num_processes"}
        return json.dumps(fields, sort_keys=True)

    latest = {result.config_id: result for result in results}
    ran = set(latest)
    if not ran & question.labels.keys():
        return results
    wanted = {at_any_size(latest[config_id]) for config_id in ran & question.labels.keys()}
    counts = {config_id for config_id, result in latest.items() if at_any_size(result) in wanted}
    if missing := [f"“{label}”" for config_id, label in question.labels.items() if config_id not in ran]:
        names = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        notes.append(f"No record here of {counted(len(missing), 'config')} of the suite: {names}.")
    if others := [result for result in results if result.config_id not in counts]:
        labels = ", ".join(sorted({f"“{result.label}”" for result in others})[:6])
        notes.append(f"Left out: {counted(len(others), 'result')} of configs that the suite does not have ({labels}).")
    return [result for result in results if result.config_id in counts]


def _other_questions(folders: Sequence[Path]) -> list[str]:
    """Returns a note where folders of one suite ask with different margins or budgets."""
    asked = {folder: one for folder in folders if (one := read_question([folder])).labels}
    several = len({(one.margin, one.budget) for one in asked.values()}) > 1
    return [f"The folders have different margins or budgets: those of {next(iter(asked), '')} count."] * several


def read_folders(folders: Sequence[Path]) -> SuiteResults:
    """Reads the records of one suite from its folders, all that count.

    A folder may bear another name than the suite had where it was run: only a record of another suite than most is from
    elsewhere.
    """
    stored = merged([read_suite(folder.parent, folder.name) for folder in folders])
    count = Counter(result.suite for result in stored.results)
    own = max(count, key=lambda suite: (count[suite], suite)) if count else ""
    for result in stored.results:
        result.elsewhere = None if result.suite == own else result.suite
    return stored


def suite_folders(path: Path, *, begun: bool = False) -> list[Path]:
    """Returns the folders with records of suites: a suite's folder itself, or those of a results root.

    Args:
        path: either of them.
        begun: also of suites of which no run has ended yet.
    """
    files = ("result.json", EVENTS) if begun else ("result.json",)
    if any(next(path.glob(f"*/*/{name}"), None) for name in files):
        return [path]
    return sorted({found.parents[2] for name in files for found in path.glob(f"*/*/*/{name}")})


def _selected(results: Sequence[RunResult], only: Sequence[str]) -> list[RunResult]:
    selection = parse_only(only)
    if not selection:
        return list(results)
    for path in selection:
        require_field(f"--only {path}", path, [result.spec for result in results])
    found = [result for result in results if selected(selection, dict(result.spec)) and not result.is_anchor]
    if not found:
        labels = ", ".join(sorted({result.label for result in results})[:20])
        raise HarnessError(f"--only {' '.join(only)} selects no run", f"labels: {labels}")
    return found


def _distinct(labels: Mapping[str, str], specs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Returns the labels, and to those that several configs have, adds in what these differ."""
    count = Counter(labels.values())
    found = dict(labels)
    for label in (label for label, times in count.items() if times > 1):
        same = {config_id: dict(flat_identity(specs[config_id])) for config_id, own in labels.items() if own == label}
        for config_id, own in same.items():
            differing = (path for path in own if any(other.get(path) != own[path] for other in same.values()))
            told = ", ".join(f"{path}={json.dumps(own[path])}" for path in differing)
            found[config_id] = f"{label} ({told or config_id})"
    return found


def _no_results(plans: Sequence[Plan], stored: SuiteResults, roots: Sequence[Path]) -> HarnessError:
    """Returns why there is nothing to report: tables would be empty, and overwrite those of another plan."""
    suite, where, odd = plans[0].suite.name, ", ".join(map(str, roots)), _unreadable(stored)
    if stored.results:
        count = counted(len(stored.results), "stored result")
        message = f"no results of this plan of {suite}, but {count} that it does not have"
        return HarnessError(message, f"they differ: {in_what_they_differ(stored.results, plans)}")
    if odd:
        return HarnessError(f"no results of {suite} in {where} can be read", "; ".join(odd[:3]))
    return HarnessError(
        f"no results of {suite} in {where} yet", "run it: harness run SUITE, or name the root: --output"
    )


def _unreadable(stored: SuiteResults) -> list[str]:
    return [f"Unreadable record {path}: {reason}." for path, reason in stored.unreadable.items()]
