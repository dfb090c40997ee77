"""A race in the live view: who is in, who left and why, what the next look decides, and the time left by the forecast.

It stands still between two looks; only the runs that have ended meanwhile change.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.counted import counted
from harness.durations import rounded_text
from harness.records.forecast import Span, run_spans
from harness.results.race import RaceState
from harness.results.race_text import verdict
from harness.suite.plan import Plan, PlannedRun

SEPARATOR, WIDE = " · ", 100


@dataclass(frozen=True)
class RaceBlock:
    """What is shown of a race until its next look.

    Attributes:
        due: the runs until then.
        possible: the runs that were made or may still be.
        spans: the forecast of runs, by run_id; empty where there is none.
    """

    race: RaceState
    due: tuple[PlannedRun, ...]
    possible: tuple[PlannedRun, ...]
    spans: Mapping[str, Span] = field(default_factory=dict)

    @staticmethod
    def of(plan: Plan, output: Path, runs: Sequence[PlannedRun]) -> RaceBlock:
        """Reads a race, which need not have begun, and the forecast beside it.

        Args:
            plan: of a race.
            output: the results root.
            runs: of the plan, as they are trained.

        Raises:
            HarnessError: a file of the race cannot be read.
        """
        race = RaceState.begin(plan, output, write=False)
        try:
            spans = run_spans(race.folder.parents[1])[2]
        except (OSError, ValueError):
            spans = {}
        return RaceBlock(race, race.due(runs), race.possible(runs), spans)

    def lines(self, ended: Collection[str], width: int) -> list[str]:
        """Returns two or three lines; what matters most comes first in each, as a narrow window cuts its end.

        Args:
            ended: run_ids of the runs that have ended.
            width: in columns of the terminal.
        """
        last = self._next(ended, width)
        return [self._inside(), *([f"left: {self._left()}"] if self.race.left else []), last]

    def _inside(self) -> str:
        race = self.race.race
        reference = f" against {race.configs[race.against]}" if race.against else ""
        of = counted(len(race.configs), "config")
        return f"race: {race.kind}{reference}, {len(self.race.staying)} of {of} in: {self._names(self.race.staying)}"

    def _left(self) -> str:
        """Returns who left at which look and why, those that left last first."""
        groups: dict[str, list[str]] = {}
        for config_id, (look, one) in reversed(self.race.left.items()):
            beside = self._names([one.beside]) if one.beside else ""
            words = {"equivalent": f"equivalent to {beside}", "no value": "no value"}
            why = words.get(one.why, f"{one.why} than {beside}")
            groups.setdefault(f"look {look}, {why}", []).append(config_id)
        return "; ".join(f"{self._names(config_ids)} ({why})" for why, config_ids in groups.items())

    def _next(self, ended: Collection[str], width: int) -> str:
        state, race = self.race, self.race.race
        if not state.seeds:
            return verdict(state)
        made, looks = len(state.looks), race.looks
        coming = [run for run in self.due if run.run_id not in ended]
        if state.ended:
            head = f"{state.ended}: fresh seeds"
        else:
            decides = "who is decided" if race.against else "who leaves"
            which = ", the last" if made + 1 == len(looks) else f" of {len(looks)}"
            head = f"look {made + 1}{which}, at {looks[made]} seeds: {decides}{', or the end' * (width > WIDE)}"
        parts = [head, ", ".join([counted(len(coming), "run"), self._expected(coming) or "no forecast"])]
        rest = [run for run in self.possible if run.spec.seed >= state.seeds.start and run.run_id not in ended]
        whole = self._expected(rest) if not state.ended and len(rest) > len(coming) else ""
        parts += [f"in all at most {whole}"] if whole else []
        return SEPARATOR.join(parts)

    def _expected(self, runs: Iterable[PlannedRun]) -> str:
        spans = [self.spans.get(run.run_id) for run in runs]
        known = [span.seconds for span in spans if span]
        return rounded_text(math.fsum(known)) if known and len(known) == len(spans) else ""

    def _names(self, config_ids: Iterable[str]) -> str:
        return ", ".join(self.race.race.configs[one] for one in config_ids)
