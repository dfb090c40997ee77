"""What a suite asks, kept beside its results: a report of the records alone answers it, too."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.records.files import read_object, recording, require_writable, write_json
from harness.spec import is_identity
from harness.suite.file import Reference, SuiteFile
from harness.suite.plan import Plan, Suite

QUESTION = "suite.json"


class DeclaredFactor(BaseModel):
    """A list of a suite's file whose values are crossed with those of the others.

    Attributes:
        paths: what it sets, dotted; those of a `zip` advance together.
        levels: how many values there are.
        one_at_a_time: whether each value is set alone, beside the base.
    """

    paths: list[str]
    levels: int
    one_at_a_time: bool = False


class SuiteQuestion(BaseModel):
    """What a suite asks, beside its configs; kept as `suite.json` in the folder of its results.

    Attributes:
        labels: of its configs by their ids, in the order of its file.
        factors: the lists of its file; None in a `suite.json` of an earlier version.
        overrides: what the command line changed in it.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    description: str = ""
    budget: float | None = None
    margin: float | None = None
    references: list[Reference] = []
    labels: dict[str, str] = {}
    factors: list[DeclaredFactor] | None = None
    overrides: dict[str, Any] = {}

    @staticmethod
    def of(suite: Suite, labels: Mapping[str, str]) -> SuiteQuestion:
        """Returns what a suite asks."""
        file = suite.file
        return SuiteQuestion(
            description=file.description,
            budget=file.budget,
            margin=file.margin,
            references=file.references,
            labels=dict(labels),
            factors=_factors(file),
            # What is no part of a run's identity changes no number, and a data root says nothing elsewhere.
            overrides={path: value for path, value in suite.overrides.items() if is_identity(path)},
        )

    def keeps(self, known: SuiteQuestion) -> bool:
        """Tells whether this is asked with `--set` of a suite that was run without: what is known of it stays."""
        return bool(known.labels and self.overrides and not known.overrides)


def is_trial(asked: SuiteQuestion, folder: Path) -> bool:
    """Tells whether `--set` makes other configs of a suite that was run without: the suite's own tables stay. More
    seeds of the same configs are no trial.
    """
    with contextlib.suppress(HarnessError):  # it cannot be read: whoever needs it says so
        known = read_question([folder])
        return asked.keeps(known) and not asked.labels.keys() <= known.labels.keys()
    return False


def keep_question(plan: Plan, output: Path) -> None:
    """Writes what a suite asks beside its results, so that they can be reported without its file.

    What `--set` makes of it is kept only where the suite was not run without.

    Raises:
        HarnessError: it cannot be written.
    """
    folder = output / plan.suite.name
    require_writable(folder)
    known = read_question([folder])
    asked = SuiteQuestion.of(plan.suite, {config_id: spec.label for config_id, spec in plan.configs().items()})
    if asked.keeps(known):
        return
    if plan.selection:
        asked = asked.model_copy(update={"labels": known.labels | asked.labels})
    with recording(folder):
        write_json(folder / QUESTION, asked.model_dump(mode="json"))


def read_question(folders: Sequence[Path]) -> SuiteQuestion:
    """Returns what the suite of these folders asks: from the first that says so; else nothing.

    Raises:
        HarnessError: it cannot be read.
    """
    for folder in folders:
        try:
            return SuiteQuestion.model_validate(read_object(folder / QUESTION))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, ValidationError) as error:
            raise HarnessError(
                f"{folder / QUESTION} cannot be read: {error}", "delete it, or run the suite again"
            ) from None
    return SuiteQuestion()


def _factors(file: SuiteFile) -> list[DeclaredFactor]:
    found = [DeclaredFactor(paths=[path], levels=len(values)) for path, values in (file.matrix or {}).items()]
    for group in file.zip:
        paths = [path for path in group if path != "label"]
        found.append(DeclaredFactor(paths=paths, levels=len(next(iter(group.values())))))
    if file.one_at_a_time:
        levels = 1 + sum(map(len, file.one_at_a_time.values()))
        found.append(DeclaredFactor(paths=list(file.one_at_a_time), levels=levels, one_at_a_time=True))
    return found
