"""`seeds: {race: ...}`: seeds until it is decided which config is the best; what a race fixes before its first run."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.errors import nearest
from harness.parameters import NonNegativeInt
from harness.spec import RunSpec, Section
from harness.statistics.race import METHOD, Kind, spending
from harness.suite.yaml_lines import Source

MOST_SEEDS = 10_000
LEVEL = 0.05


def growing(looks: list[int]) -> list[int]:
    """Returns the looks.

    Raises:
        ValueError: there are none, they do not grow, or one is out of range.
    """
    if (
        not looks
        or looks[0] < 2
        or looks[-1] > MOST_SEEDS
        or any(now <= before for before, now in itertools.pairwise(looks))
    ):
        raise ValueError(f"write counts of seeds that grow, from 2 to {MOST_SEEDS:,}, such as [3, 5, 8, 12, 20]")
    return looks


class RaceSection(Section):
    """Seeds until it is decided: at each look the configs that are beaten leave."""

    race: Kind = Field(description="who leaves: beaten in accuracy; in accuracy and time; slower and no more accurate")
    looks: Annotated[list[int], AfterValidator(growing)] = Field(
        description="after how many seeds it is tested who leaves, e.g. [3, 5, 8, 12, 20]"
    )
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="differences of accuracy below it do not matter; the suite's margin by default"
    )
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=LEVEL, description="how often the best may be lost, all looks together"
    )
    against: str | None = Field(default=None, description="label of a config: the others are compared with it alone")
    confirm: NonNegativeInt = Field(default=0, description="fresh seeds for those that are left, after the end")

    @property
    def most_seeds(self) -> int:
        """Of a config, those that confirm included."""
        return self.looks[-1] + self.confirm


class Race(BaseModel):
    """What a race fixes before its first run: kept as `race.json`, and hashed into its id.

    Attributes:
        kind, looks, margin, confirm: as in the suite.
        alphas: what each look spends.
        against: a config_id, or None.
        configs: labels by config_id, in the order of the file: all pairs of them are the family of comparisons.
        fingerprint: of the data, which all configs share; empty where it is not known yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    kind: Kind
    looks: tuple[int, ...]
    alphas: tuple[float, ...]
    margin: float | None
    against: str | None
    confirm: int
    configs: dict[str, str]
    fingerprint: str
    method: str = METHOD

    @property
    def race_id(self) -> str:
        """The hash of what is fixed; labels say nothing."""
        fixed = self.model_dump(mode="json") | {"configs": sorted(self.configs)}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:12]

    def runs(self) -> tuple[int, int]:
        """Returns how many runs there are at least and at most."""
        count = len(self.configs)
        least = self.looks[0] * count + self.confirm * (2 if self.against else 1)
        return least, (self.looks[-1] + self.confirm) * count

    def text(self) -> str:
        """Returns e.g. `race: best, looks at 3, 5 and 8 seeds, alpha 5 %, margin 0.3 points`."""
        looks = " and ".join(filter(None, [", ".join(map(str, self.looks[:-1])), str(self.looks[-1])]))
        parts = [f"race: {self.kind}{f' against “{self.configs[self.against]}”' if self.against else ''}"]
        parts += [f"looks at {looks} seeds", f"alpha {100 * sum(self.alphas):g} %"]
        if self.margin is not None:
            parts.append(f"margin {100 * self.margin:g} points")
        return ", ".join(parts)


def check_race(source: Source, section: RaceSection, margin: float | None, anchors: bool) -> None:
    """Checks what needs no config.

    Raises:
        SuiteError: a margin is missing; `against` is no question of this race; anchors stand beside it.
    """
    if section.margin is None and margin is None and section.race != "front":
        reason = "configs that are equally good would be trained to the last look"
        if section.race == "fastest":
            reason = "it says which configs are accurate enough to be the fastest"
        message = f"a race for the {section.race} needs a margin: {reason}"
        raise source.error(("seeds", "race"), message, "add e.g. margin: 0.003 for 0.3 points of accuracy")
    if section.against is not None and section.race != "best":
        message = f"'against' compares accuracies with one config, and this is a race for the {section.race}"
        raise source.error(("seeds", "against"), message, "write race: best, or leave 'against' out")
    if anchors:
        message = "anchors have a place among all runs of a plan, and a race does not know them beforehand"
        raise source.error(("anchors",), message, "leave 'anchors' out, or give 'seeds' a count")


def race_of(
    source: Source,
    suite: str,
    section: RaceSection,
    margin: float | None,
    configs: Mapping[str, RunSpec],
    fingerprints: Mapping[str, str],
) -> Race:
    """Returns a race between configs.

    Args:
        margin: of the suite.
        configs: by config_id.
        fingerprints: of their data, by config_id.

    Raises:
        SuiteError: there is but one config, they read other data, or no config has the label of `against`.
    """
    labels = {config_id: spec.label for config_id, spec in configs.items()}
    if len(labels) < 2:
        raise source.error(("seeds", "race"), "a race over one config", "vary something, or write seeds: 3")
    data: dict[Any, str] = {}
    for config_id, spec in configs.items():
        data.setdefault((spec.data.name, spec.data.test_samples, fingerprints[config_id]), spec.label)
    if len(data) > 1:
        first, other = list(data.values())[:2]
        message = f"a race over different data: '{first}' and '{other}' are tested on other images"
        raise source.error(("seeds", "race"), message, "write a suite for each, or seeds: 3")
    against = next((config_id for config_id, label in labels.items() if label == section.against), None)
    if section.against is not None and against is None:
        message = f"no config is called '{section.against}'"
        raise source.error(("seeds", "against"), message, nearest(section.against, labels.values()))
    return Race(
        suite=suite,
        kind=section.race,
        looks=tuple(section.looks),
        alphas=spending(section.looks, section.alpha),
        margin=margin if section.margin is None else section.margin,
        against=against,
        confirm=section.confirm,
        configs=labels,
        fingerprint=next(iter(fingerprints.values())),
    )
