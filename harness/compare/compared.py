"""What a call of `harness compare` finds: two configs, a whole table, or a suite beside its baseline; and a gate.

Is the new one shown to be slower, or less accurate, by more than is allowed? A gate that fails by chance is switched
off, so it fails only where the regression is beyond the noise: where the one-sided 95 % bound lies above the limit.
What it cannot see with so few seeds, it says.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare.pair import ConfigPair, compare, one_of
from harness.compare.sides import MeasuredSuite
from harness.counted import counted
from harness.errors import HarnessError
from harness.report.texts import listed, quoted
from harness.results.answers import Family, Question, as_one_family
from harness.results.measured import MeasuredConfig, round_seconds
from harness.statistics.intervals import Summary, chance_above
from harness.statistics.pairs import ALIKE, LEVEL, holm
from harness.statistics.power import Noise, detectable
from harness.statistics.race import spending


@dataclass(frozen=True)
class Limit:
    """How much worse is allowed.

    Attributes:
        at_most: the loss of accuracy as a fraction, or the growth of train time as a fraction of it.
        looks: numbers of seeds at which the gate is asked, until it is decided; empty where it is asked once.
    """

    question: Question
    at_most: float
    looks: tuple[int, ...] = ()

    @property
    def threshold(self) -> float:
        """The limit on the scale on which the test is made: a fraction, or the logarithm of a ratio."""
        return self.at_most if self.question == "accuracy" else math.log1p(self.at_most)


@dataclass(frozen=True)
class Check:
    """What a gate finds of one config.

    Attributes:
        worse: how much worse the new one is, on the limit's scale.
        bound: the end of the one-sided 95 % interval: so much worse at least.
        p: that it is worse than the limit; corrected by Holm's method over the configs of the gate.
        detectable: so much worse (on the limit's scale) is found 8 times of 10 with these seeds; None without noise.
        died: seeds of the new one that did not end ok, and of the old one did: with any, the gate fails.
    """

    comparison: ConfigPair
    limit: Limit
    worse: Summary
    bound: float
    p: float
    state: Literal["passes", "fails", "undecided"]
    detectable: float | None
    died: tuple[int, ...] = ()


def check(comparisons: Sequence[ConfigPair], limit: Limit) -> list[Check]:
    """Holds each A, the new one, against its B.

    Where there are several looks, each has its share of the level, see `harness.statistics.race.spending`: A fails
    where it is shown to be worse than the limit, and passes where it is shown not to be, or at the last look.

    Raises:
        HarnessError: it cannot be decided for one of them: a gate that cannot see must not be green.
    """
    losses = [_loss(one, limit) for one in comparisons]
    chances = [_chance(loss, limit.threshold) for loss in losses]
    found = []
    for comparison, loss, p in zip(comparisons, losses, holm(chances).tolist(), strict=True):
        reach, seen = 0.0, None
        if loss.has_noise:
            reach, seen = loss.half_width(LEVEL), limit.threshold + detectable(Noise.of(loss), loss.n, sides=1)
        died = tuple(sorted(set(comparison.a.died) & set(comparison.b.seeds)))
        level, last = _level(comparison, limit)
        # That all are within the limit must hold at once, so this is not corrected.
        opposite = dataclasses.replace(loss, mean=-loss.mean)
        is_within = last or _chance(opposite, -limit.threshold) < level
        state = "fails" if p < level or died else "passes" if is_within else "undecided"
        found.append(Check(comparison, limit, loss, loss.mean - reach, p, state, seen, died))
    return found


def _loss(comparison: ConfigPair, limit: Limit) -> Summary:
    """Returns how much worse A is, over the seeds."""
    is_accuracy = limit.question == "accuracy"
    found = comparison.accuracy if is_accuracy else comparison.time
    refused = f"{'--fail-if-worse' if is_accuracy else '--fail-if-slower'} cannot be decided for '{comparison.a.label}'"
    if found.difference is None:
        raise HarnessError(f"{refused}: {found.reason}", found.hint)
    if found.difference.n < 2:
        raise HarnessError(f"{refused} by one seed", "run at least two seeds of it, better five")
    return dataclasses.replace(found.difference, mean=-found.difference.mean) if is_accuracy else found.difference


def _level(comparison: ConfigPair, limit: Limit) -> tuple[float, bool]:
    """Returns what the look spends, and whether it is the last one."""
    if not limit.looks:
        return LEVEL, True
    seeds = len(set(comparison.a.seeds) & set(comparison.b.seeds) | set(comparison.a.died))
    if seeds not in limit.looks:
        looks = ", ".join(map(str, limit.looks))
        message = (
            f"--until-decided {looks}: '{comparison.a.label}' has {counted(seeds, 'seed')}, and is not looked at now"
        )
        more = next((look for look in limit.looks if look > seeds), limit.looks[-1])
        raise HarnessError(message, f"run it and what it is compared with: harness run SUITE --set seeds={more}")
    place = limit.looks.index(seeds)
    return spending(limit.looks, LEVEL)[place], place == len(limit.looks) - 1


def _chance(loss: Summary, threshold: float) -> float:
    """Returns the p-value of the one-sided test that the loss is above the threshold; 0 or 1 where seeds are alike."""
    above = chance_above(loss, threshold)
    return float(loss.mean <= threshold + ALIKE) if above is None else above


@dataclass(frozen=True)
class Compared:
    """The comparisons of one call.

    Attributes:
        to: what each is compared with, in a word or two.
        correction: over what p-values are corrected; None where there is one comparison.
        checks: what the gates find.
    """

    suite: str
    to: str
    comparisons: tuple[ConfigPair, ...]
    correction: str | None
    notes: tuple[str, ...]
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a gate fails."""
        return any(one.state == "fails" for one in self.checks)

    @property
    def undecided(self) -> bool:
        """Whether a gate needs more seeds."""
        return any(one.state == "undecided" for one in self.checks)


def compare_two(sides: Sequence[MeasuredConfig], suites: Sequence[MeasuredSuite], limits: Sequence[Limit]) -> Compared:
    """Compares two configs.

    Args:
        sides: A and B.
        suites: theirs; the margin is that of the first.

    Raises:
        HarnessError: they are the same, or neither question can be answered.
    """
    a, b = sides
    if (a.suite, a.config_id) == (b.suite, b.config_id):
        raise HarnessError(f"'{a.label}' is compared with itself", "name two configs")
    together = sum(round_seconds(suite.configs) for suite in suites)
    found = compare(a, b, together, margin=suites[0].margin)
    return _compared(a.suite, "B", [found], "", [note for suite in suites for note in suite.notes], limits)


def compare_table(suite: MeasuredSuite, to: str, limits: Sequence[Limit]) -> Compared:
    """Compares each config of a suite with one that is named, or with the best.

    Args:
        to: a label or a config_id; empty for the best.

    Raises:
        HarnessError: there is nothing to compare, or a gate is asked for, which has no old and no new here.
    """
    if limits:
        message = "a gate compares two configs, or a suite with its baseline"
        raise HarnessError(message, "name two configs, the new one first, or give --baseline FOLDER")
    notes = list(suite.notes)
    if missing := [config.label for config in suite.configs if not config.runs]:
        notes.append(f"No result yet: {_quoted(missing)}.")
    suite = dataclasses.replace(suite, configs=tuple(config for config in suite.configs if config.runs))
    configs, together = suite.configs, round_seconds(suite.configs)
    if len(configs) < 2:
        odd = [note for note in suite.notes if note.startswith("Unreadable")]
        of = "one config only" if configs else "no config"
        message = f"{suite.study.name} has results of {of}: nothing to compare"
        raise HarnessError(message, " ".join(["run more of it", *odd[:3]]))
    place = configs.index(suite.find(to)) if to else None
    accuracy = Family("accuracy", configs, suite.margin, to=place)
    if place is None:
        first = accuracy.tests.best
        if first is None:
            reason = accuracy.answer(0, 1).reason
            raise HarnessError(f"no config is the best in accuracy: {reason}", "name one with --to LABEL")
        place = first.index
    named = quoted(configs[place].label)
    if len(configs) == 2:
        found = [compare(configs[1 - place], configs[place], together, margin=suite.margin)]
        return _compared(suite.study.name, named, found, "", notes)
    time = Family("time", configs, beside=place, to=place if to else None)
    found = [one_of(accuracy, time, other, place, together) for other in range(len(configs)) if other != place]
    over = f"{counted(len(found), 'comparison')} with {named}"
    if not to:
        over = f"all {math.comb(len(configs), 2)} pairs of the table"
        notes.append(
            f"{named} has the highest mean accuracy. The same data chose it, so the correction is over {over}. "
            "`--to LABEL` names a config beforehand."
        )
    return _compared(suite.study.name, named, found, over, notes)


def compare_with_baseline(
    suite: MeasuredSuite, wanted: Sequence[MeasuredConfig], old: Sequence[MeasuredConfig], limits: Sequence[Limit]
) -> Compared:
    """Compares configs of a suite, as they are now, with what a baseline has of them: their records of before.

    Args:
        wanted: those that are asked for.
        old: all of the baseline.

    Raises:
        HarnessError: the baseline has none of them, or no question can be answered.
    """
    by_id, by_label = {one.config_id: one for one in old}, {one.label: one for one in old}
    couples, unknown, notes = [], [], list(suite.notes)
    for config in wanted:
        before = by_id.get(config.config_id) or by_label.get(config.label)
        if before is None:
            unknown.append(config.label)
            continue
        if before.config_id != config.config_id:
            notes.append(f"{quoted(config.label)}: its config has changed since the baseline.")
        couples.append((config, before))
    if not couples:
        message = f"the baseline has none of: {_quoted(unknown)}"
        raise HarnessError(message, f"it has: {_quoted(one.label for one in old)}")
    if unknown:
        notes.append(f"Not in the baseline: {_quoted(unknown)}.")
    together = round_seconds(config for config, _ in couples)
    found = [compare(config, before, together, margin=suite.margin) for config, before in couples]
    over = ""
    if len(found) > 1:
        over = f"{len(found)} configs"
        answers = as_one_family([one.accuracy for one in found]), as_one_family([one.time for one in found])
        found = [
            dataclasses.replace(one, accuracy=accuracy, time=time)
            for one, accuracy, time in zip(found, *answers, strict=True)
        ]
    return _compared(suite.study.name, "its baseline", found, over, notes, limits)


def _compared(
    suite: str, to: str, found: Sequence[ConfigPair], over: str, notes: list[str], limits: Sequence[Limit] = ()
) -> Compared:
    """Returns what was found.

    Args:
        over: what the correction is over; empty for one comparison.

    Raises:
        HarnessError: neither question can be answered for any pair.
    """
    answers = [answer for one in found for answer in one.answers]
    if not any(answer.pairs for answer in answers):
        reasons = dict.fromkeys(answer.reason for answer in answers)
        raise HarnessError("; ".join(list(reasons)[:2]), answers[0].hint)
    undecided = [answer for answer in answers if answer.verdict == "undecided"]
    if lost := [answer.question for answer in undecided if answer.p is not None and answer.p < LEVEL]:
        counts = " and ".join(f"{count} in {question}" for question, count in Counter(lost).items())
        notes.append(
            f"Undecided by the correction alone: {counts}. By themselves they would be decided, but that is no proof "
            "where so many were looked at."
        )
    correction = f"Holm's method over {over}, for accuracy and for time each" if over else None
    checks = tuple(one for limit in limits for one in check(found, limit))
    return Compared(suite, to, tuple(found), correction, tuple(notes), checks)


def _quoted(labels: Iterable[str]) -> str:
    return listed(list(map(quoted, labels)))
