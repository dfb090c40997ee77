"""What the lists of a suite file make: for each config what it changes in the base, and where that stands."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.spec.settings import Settings, label_of, named_apart
from harness.suite.file import SuiteFile
from harness.suite.race import RaceSection
from harness.suite.yaml_lines import Source

if TYPE_CHECKING:
    from harness.suite.fraction import Fraction

MOST_RUNS = 1_000_000  # of a suite; planning that many takes a minute or more, and gigabytes


@dataclass(frozen=True)
class Variation:
    """What one config changes in the base, and where in the file that stands."""

    settings: Settings
    origins: tuple[tuple[str | int, ...], ...] = ()


@dataclass(frozen=True)
class Variations:
    """The configs of a file, not yet resolved.

    Attributes:
        overrides: of the command line; what they pin, the lists do not set.
    """

    source: Source
    file: SuiteFile
    overrides: Settings

    @functools.cached_property
    def fraction(self) -> Fraction | None:
        """The cells of the product that a `design` chooses, over all lists of `matrix` and `zip`; None without one.

        What `--set` pins is a factor here all the same: other runs would be chosen otherwise.
        """
        if not self.file.design:
            return None
        from harness.suite.fraction import choose_fraction  # with numpy

        try:
            return choose_fraction([len(axis) for axis in self.axes()], self.file.fraction)
        except HarnessError as error:
            raise self.source.error(("design",), error.message, error.hint) from None

    def notes(self) -> list[str]:
        """Returns what the fraction that a `design` chose can tell; nothing without one."""
        if not self.fraction:
            return []
        from harness.suite.fraction import fraction_notes

        groups = [[path for path in group if path != "label"] or ["label"] for group in self.file.zip]
        names = [*(self.file.matrix or {}), *map(" and ".join, groups)]
        return list(fraction_notes(self.fraction, [len(axis) for axis in self.axes()], names))

    def axes(self) -> list[list[Variation]]:
        """Returns what each list of the file sets, one list after the other; what `--set` pins sets nothing."""
        file = self.file
        axes = []
        for path, values in (file.matrix or {}).items():
            pinned = self._pinned(path)
            axes.append([Variation({} if pinned else {path: value}, (("matrix",),)) for value in values])
        for index, group in enumerate(file.zip):
            free = {path: values for path, values in group.items() if not self._pinned(path)}
            count = len(next(iter(group.values())))
            rows = [{path: values[row] for path, values in free.items()} for row in range(count)]
            axes.append([Variation(row, (("zip", index),)) for row in rows])
        return axes

    def __iter__(self) -> Iterator[Variation]:
        """Yields what each config changes, in the order of the file.

        Raises:
            SuiteError: they are more than MOST_RUNS runs; before the first of them is made.
        """
        file = self.file
        axes = self.axes()
        if not self.fraction:
            axes = [axis for axis in axes if axis[0].settings]
        if file.one_at_a_time:
            single = [
                Variation({path: value}, (("one_at_a_time",),))
                for path, values in file.one_at_a_time.items()
                if not self._pinned(path)
                for value in values
            ]
            axes.append([Variation({}), *single])
        cells = self.fraction.cells if self.fraction else None
        chosen = (
            itertools.product(*axes)
            if cells is None
            else (tuple(axis[level] for axis, level in zip(axes, cell, strict=True)) for cell in cells)
        )
        self._require_few((math.prod(map(len, axes)) if cells is None else len(cells)) + len(file.include))
        groups = [file.matrix or {}, *file.zip, file.one_at_a_time]
        by_name = {path for group in groups for path in named_apart(group)}
        if axes or file.matrix or file.zip or not file.include:
            for parts in chosen:
                settings = {path: value for part in parts for path, value in part.settings.items()}
                label = _label(parts, by_name) or ("base" if file.one_at_a_time else "")
                origins = tuple(origin for part in parts for origin in part.origins)
                yield Variation({**settings, "label": label}, origins)
        for index, entry in enumerate(file.include):
            settings = {path: value for path, value in entry.items() if not self._pinned(path)}
            yield Variation({"label": label_of(settings), **settings}, (("include", index),))

    def _require_few(self, configs: int) -> None:
        seeds = self.overrides.get("seeds", self.file.seeds)
        seeds = seeds.most_seeds if isinstance(seeds, RaceSection) else seeds
        runs = configs * (seeds if isinstance(seeds, int) else len(seeds))
        if runs > MOST_RUNS:
            where = next(
                key for key in ("matrix", "zip", "one_at_a_time", "include", "seeds") if key in self.source.values
            )
            message = f"{runs:,} runs, and a suite has {MOST_RUNS:,} at most, those that 'exclude' leaves out included"
            hint = "give fewer values or seeds, vary some with one_at_a_time, or see 'design: fractional'"
            raise self.source.error((where,), message, hint)

    def _pinned(self, path: str) -> bool:
        return any(path == pin or path.startswith(f"{pin}.") for pin in self.overrides)


def _label(parts: Sequence[Variation], by_name: Set[str]) -> str:
    """Returns the labels that the parts give themselves, and what the others set."""
    named = [str(part.settings["label"]) for part in parts if "label" in part.settings]
    others = [part.settings for part in parts if "label" not in part.settings]
    unnamed = {path: value for settings in others for path, value in settings.items()}
    return ", ".join(filter(None, [*named, label_of(unnamed, by_name)]))
