"""The words of a call: `SUITE.yaml:LABEL`, `SUITE.yaml`, or a label of the first suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.counted import counted
from harness.errors import HarnessError, nearest
from harness.results.measured import MeasuredConfig

EXAMPLE = "write harness compare SUITE.yaml LABEL LABEL"


@dataclass(frozen=True)
class Side:
    """One of the configs of a call.

    Attributes:
        label: as it stands in the call; empty for the only config of its suite.
    """

    suite: Path
    label: str


@dataclass(frozen=True)
class Call:
    """What is to be compared.

    Attributes:
        suite: the first one: the table, or where labels belong that name no suite.
        sides: none for the whole table.
    """

    suite: Path
    sides: tuple[Side, ...]


def parse_words(words: Sequence[str]) -> Call:
    """Returns what the words of a call name.

    Raises:
        HarnessError: the first is no suite file, or there are more than two sides.
    """
    first, label = _parts(words[0])
    if first is None:
        raise HarnessError(f"'{words[0]}' is no suite file", EXAMPLE)
    rest = [_parts(word) for word in words[1:]]
    # A suite that labels of its own follow is where they belong, and no side.
    alone = not label and all(path is None for path, _ in rest)
    sides = () if alone else (Side(first, label),)
    sides += tuple(Side(path or first, name) for path, name in rest)
    if len(sides) > 2:
        message = f"{len(sides)} configs were named: two are compared, or a whole table"
        raise HarnessError(message, "name two, or leave some of a table out with --only")
    return Call(first, sides)


def find(side: Side, configs: Sequence[MeasuredConfig], suite: str) -> MeasuredConfig:
    """Returns the config that a label or a config_id names.

    Raises:
        HarnessError: there is none, or several.
    """
    if not side.label:
        if len(configs) == 1:
            return configs[0]
        message = f"{side.suite} has {counted(len(configs), 'config')}: which one?"
        raise HarnessError(message, f"write {side.suite}:{configs[0].label!r}" if configs else EXAMPLE)
    named: Mapping[str, MeasuredConfig] = {one.label: one for one in configs}
    found = named.get(side.label) or next((one for one in configs if one.config_id == side.label), None)
    if found is None:
        raise HarnessError(f"{suite} has no config '{side.label}'", nearest(side.label, named))
    return found


def _parts(word: str) -> tuple[Path | None, str]:
    """Returns the suite's file or folder of results, where the word names one, and the label; any may hold colons."""
    if Path(word).exists():
        return Path(word), ""
    colons = [index for index, character in enumerate(word) if character == ":"]
    for index in colons:
        if Path(word[:index]).exists() and index:
            return Path(word[:index]), word[index + 1 :]
    path = word.partition(":")[0]
    if path.endswith((".yaml", ".yml")):
        raise HarnessError(f"cannot read {path}: no such file", EXAMPLE)
    return None, word
