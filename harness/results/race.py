"""A race in the folder of a suite's results: what its looks decided, each written once, and what comes next.

`races/<race id>/race.json` says what was fixed before the first run, and `look-1.json`, ... what each look decided, and
from which values. Whoever runs the suite, wherever and however often, reads what is there and goes on behind it. Of two
that decide at the same time the first one counts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.counted import counted, is_are
from harness.errors import HarnessError
from harness.records.comparable import compares
from harness.records.planned import folders_elsewhere, tell_of_environments, with_elsewhere
from harness.records.read import names_in, read_suite
from harness.records.result import FINAL, RunResult, metric
from harness.records.store import now
from harness.results.measured import ACCURACY, SECONDS
from harness.results.race_files import Left, RaceLook, Start, Values, read_kept, write_once
from harness.statistics.race import Ending, decide
from harness.suite.plan import Plan, PlannedRun
from harness.suite.race import Race

if TYPE_CHECKING:
    import numpy as np

RACES, RACE_FILE = "races", "race.json"
ENDED = FINAL | {"oom"}
"""Statuses that a look does not wait for; a run that was out of memory has no value."""
WORST = 0.0
"""The accuracy of a run that diverged."""


@dataclass(frozen=True)
class RaceState:
    """A race, as far as it has come.

    Attributes:
        folder: of its files.
        looks: those that were made.
    """

    folder: Path
    start: Start
    looks: tuple[RaceLook, ...] = ()

    @staticmethod
    def begin(plan: Plan, output: Path, *, write: bool = True) -> RaceState:
        """Starts the race of a plan, or goes on with it.

        Args:
            write: whether it is to begin now, if it has not.

        Raises:
            HarnessError: its files cannot be read or written.
        """
        race = plan.race
        assert race
        own = output / race.suite
        folder = own / RACES / race.race_id
        if not (folder / RACE_FILE).exists():
            run_ids = {run.run_id for run in plan.runs}
            there = run_ids.intersection(names_in(own)) | folders_elsewhere(output, race.suite, run_ids).keys()
            start = Start(at=now(), race=race, earlier=tuple(sorted(there)))
            if not write:
                return RaceState(folder, start)
            write_once(folder / RACE_FILE, start)
        return RaceState.read(folder)

    @staticmethod
    def read(folder: Path) -> RaceState:
        """Reads a race that has begun.

        Raises:
            HarnessError: a file of it cannot be read.
        """
        start, looks = read_kept(folder / RACE_FILE, Start), list[RaceLook]()
        while (path := folder / f"look-{len(looks) + 1}.json").exists():
            looks.append(read_kept(path, RaceLook))
        return RaceState(folder, start, tuple(looks))

    @property
    def race(self) -> Race:
        """What was fixed."""
        return self.start.race

    @property
    def staying(self) -> tuple[str, ...]:
        """The ids of the configs in the race."""
        return self.looks[-1].staying if self.looks else tuple(self.race.configs)

    @property
    def ended(self) -> Ending | None:
        """How it ended; None while it goes on."""
        return self.looks[-1].ended if self.looks else None

    @property
    def seeds(self) -> range:
        """Those that the configs in the race get next; none where it is over."""
        looks = self.race.looks
        if self.ended:
            confirm = self.race.confirm if self.ended != "budget spent" else 0
            return range(looks[-1], looks[-1] + confirm)
        made = len(self.looks)
        return range(looks[made - 1] if made else 0, looks[made])

    def possible(self, runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
        """Returns the runs of the plan that were made or may still be: a config that left gets no more seeds."""
        made = {one: len(values) for one, values in self.looks[-1].accuracy.items()} if self.looks else {}
        staying, seeds = set(self.staying), self.seeds
        return tuple(
            run
            for run in runs
            if run.spec.seed < made.get(run.config_id, 0)
            or (run.config_id in staying and (not self.ended or run.spec.seed in seeds))
        )

    def due(self, runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
        """Returns which runs of the plan come next, in its order."""
        staying, seeds = set(self.staying), self.seeds
        return tuple(run for run in runs if run.config_id in staying and run.spec.seed in seeds)

    @property
    def is_fixed_design(self) -> bool:
        """Whether no config was stopped: all have the seeds of the last look."""
        return bool(self.looks) and all(len(one) == self.race.looks[-1] for one in self.looks[-1].accuracy.values())

    def taken(self) -> int:
        """Returns how many runs its looks decided from."""
        return sum(len(values) for values in self.looks[-1].accuracy.values()) if self.looks else 0

    def results(self, runs: Iterable[PlannedRun]) -> list[RunResult]:
        """Returns what there is of runs, of each on the system that has most of them."""
        planned = {run.run_id for run in runs}
        stored = read_suite(self.folder.parents[1].parent, self.race.suite)
        stored = with_elsewhere(stored, self.folder.parents[1].parent, self.race.suite, planned)
        wanted = [result for result in stored.results if result.run_id in planned]
        most = Counter(result.system_id for result in wanted)
        wanted.sort(key=lambda result: (result.status in ENDED, most[result.system_id], result.system_id))
        found = list({result.run_id: result for result in wanted}.values())
        tell_of_environments(found)
        return found

    def look(self, runs: Sequence[PlannedRun]) -> RaceState:
        """Makes the next look, and writes what it decides; another process may have done so meanwhile.

        Args:
            runs: all of the plan.

        Returns:
            The race behind the look; the race as it is where runs are missing.

        Raises:
            HarnessError: no accuracy counts, or the files cannot be read or written.
        """
        import numpy as np

        due = {run.run_id for run in self.due(runs)}
        seeds = self.seeds.stop
        by_id = {run.run_id: run for run in runs if run.spec.seed < seeds}
        results = [result for result in self.results(by_id.values()) if result.status in ENDED]
        if self.ended or due - {result.run_id for result in results}:
            return self
        places = {config_id: place for place, config_id in enumerate(self.race.configs)}
        accuracy, seconds = (np.full((len(places), seeds), np.nan) for _ in range(2))
        entered = self._entered(seeds)
        systems = Counter(result.system_id for result in results)
        own = min(systems, key=lambda system: (-systems[system], system))
        counted_runs = []
        for result in results:
            run = by_id[result.run_id]
            if run.spec.seed < entered[run.config_id]:
                at = places[run.config_id], run.spec.seed
                accuracy[at], seconds[at] = _values(result, own)
                counted_runs.append(result)
        if np.isnan(accuracy[[places[one] for one in self.staying]]).all():
            message = f"no run of this race has an accuracy that counts, at {seeds} seeds"
            raise HarnessError(message, "see why: harness status SUITE; accuracy on synthetic data means nothing")
        ids = list(places)
        found = decide(
            self.race.kind,
            accuracy,
            [places[one] for one in self.staying],
            self.race.alphas[len(self.looks)],
            margin=self.race.margin,
            seconds=None if self.race.kind == "best" else seconds,
            against=None if self.race.against is None else places[self.race.against],
            last=len(self.looks) + 1 == len(self.race.looks),
        )
        look = RaceLook(
            at=now(),
            seeds=seeds,
            alpha=self.race.alphas[len(self.looks)],
            left=tuple(
                Left(
                    config_id=ids[one.config],
                    why=one.why,
                    beside=None if one.beside is None else ids[one.beside],
                    p=one.p,
                )
                for one in found.leaving
            ),
            staying=tuple(ids[one] for one in found.staying),
            ended=found.ended,
            exploratory=tuple(self._doubts(counted_runs)),
            accuracy=_listed(accuracy, entered),
            train_seconds={} if self.race.kind == "best" else _listed(seconds, entered),
        )
        write_once(self.folder / f"look-{len(self.looks) + 1}.json", look)
        return RaceState.read(self.folder)

    def _entered(self, seeds: int) -> dict[str, int]:
        """Returns how many seeds each config has by the next look: those that left got no more."""
        found = dict.fromkeys(self.race.configs, seeds)
        for look in reversed(self.looks):
            found |= {left.config_id: look.seeds for left in look.left}
        return found

    @functools.cached_property
    def left(self) -> dict[str, tuple[int, Left]]:
        """Who left, by config_id, and at which look, from 1."""
        return {one.config_id: (number, one) for number, look in enumerate(self.looks, 1) for one in look.left}

    def _doubts(self, results: Sequence[RunResult]) -> Iterable[str]:
        """Yields why the verdicts are no more than hints."""
        earlier = len({result.run_id for result in results} & set(self.start.earlier))
        if earlier:
            yield f"{counted(earlier, 'run')} {is_are(earlier)} older than the race"
        codes: dict[str, set[str | None]] = {}
        for result in results:
            codes.setdefault(result.config_id, set()).add(result.code)
        mixed = sum(len(own) > 1 for own in codes.values())
        if mixed:
            yield f"the runs of {counted(mixed, 'config')} were trained by several versions of the code"


def race_of(folder: Path, results: Iterable[RunResult]) -> RaceState | None:
    """Returns the race that decided which runs there are; None where other runs were made beside it, as those of a
    fixed number of seeds.

    Args:
        folder: of a suite's results.
        results: those that a table is made from.
    """
    races = races_in(folder)
    if not races:
        return None
    made: dict[str, int] = {}
    for state in races:  # what an earlier race has made is no fixed number of seeds either
        for config_id, values in state.looks[-1].accuracy.items() if state.looks else ():
            made[config_id] = max(len(values), made.get(config_id, 0))
        for config_id in state.staying if state.seeds else ():
            made[config_id] = max(state.seeds.stop, made.get(config_id, 0))
    beside = any(result.seed >= made.get(result.config_id, 0) for result in results if not result.is_anchor)
    return None if beside else races[-1]


def races_in(folder: Path) -> list[RaceState]:
    """Returns the races in a suite's folder, the newest last.

    Raises:
        HarnessError: a file of one cannot be read.
    """
    found = [RaceState.read(folder / RACES / name) for name in names_in(folder / RACES)]
    return sorted(found, key=lambda state: state.start.at)


def _values(result: RunResult, system_id: str) -> tuple[float, float]:
    """Returns accuracy and train time of a run; NaN for what does not count."""
    if result.status == "diverged":
        return WORST, float("nan")
    accuracy = metric(result, ACCURACY) if result.data and result.data.rankable else None
    timed = result.system_id == system_id and compares(result, SECONDS)
    seconds = metric(result, SECONDS) if timed else None
    return float("nan") if accuracy is None else accuracy, seconds or float("nan")


def _listed(values: np.ndarray, entered: Mapping[str, int]) -> Values:
    return {
        config_id: [None if value != value else value for value in row[:seeds]]
        for (config_id, seeds), row in zip(entered.items(), values.tolist(), strict=True)
    }


def without_needless_runs(plan: Plan, output: Path) -> Plan:
    """Returns a plan with the runs alone that its race has made or may still make; any other plan as it is."""
    if plan.race is None:
        return plan
    return dataclasses.replace(plan, runs=RaceState.begin(plan, output, write=False).possible(plan.runs))
