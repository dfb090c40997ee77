"""A baseline file: what was measured once, small enough for git, so that a later comparison needs no old results."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.records.files import read_file, recording, write_json
from harness.records.ranges import Count, Moment, Seconds, Share
from harness.records.store import now
from harness.results.measured import MeasuredConfig, MeasuredRun, TestImages
from harness.results.outcomes import Outcomes

BASELINE_SCHEMA_VERSION = 1
MOST_IMAGES = 100_000  # 17 kB a run: of more the outcomes are not kept
_SAME = ("seed", "run_id", "system_id", "train_seconds", "started_at", "ended_at", "rankable")
RENEW = "write it anew with --write-baseline"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class StoredRun(_Stored):
    """A run. `correct` holds a bit for each test image, as `Outcomes.packed` writes them; null: not kept."""

    seed: Count
    run_id: str
    system_id: str
    test_accuracy: Share | None
    train_seconds: Seconds | None
    started_at: Moment
    ended_at: Moment
    data_fingerprint: str
    test_samples: Count
    rankable: bool
    labels_sha256: str | None
    correct: str | None


class StoredConfig(_Stored):
    """A config and its runs that ended ok."""

    label: str
    config_id: str
    ended: str
    runs: list[StoredRun]


class Baseline(_Stored):
    """The whole file.

    Attributes:
        systems: names by system_id.
    """

    schema_version: int = BASELINE_SCHEMA_VERSION
    suite: str
    written_at: str
    systems: dict[str, str]
    configs: list[StoredConfig]

    def measured(self) -> list[MeasuredConfig]:
        """Returns its configs."""
        return [
            MeasuredConfig(
                self.suite,
                one.label,
                one.config_id,
                tuple(_measured(run, one.label) for run in one.runs),
                one.ended,
                from_baseline=True,
            )
            for one in self.configs
        ]


def baseline_of(suite: str, configs: Sequence[MeasuredConfig], systems: dict[str, str]) -> Baseline:
    """Returns the baseline of configs; those without a result are left out.

    Args:
        systems: names by system_id.

    Raises:
        HarnessError: none of them has a result.
    """
    with_runs = [one for one in configs if one.runs]
    if not with_runs:
        raise HarnessError(f"no results of {suite} yet: there is nothing to write", "run it: harness run SUITE")
    stored = [
        StoredConfig(label=one.label, config_id=one.config_id, ended=one.ended, runs=[_stored(run) for run in one.runs])
        for one in with_runs
    ]
    used = {run.system_id for one in with_runs for run in one.runs}
    names = {system_id: systems.get(system_id, system_id) for system_id in sorted(used)}
    return Baseline(suite=suite, written_at=now(), systems=names, configs=stored)


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Writes the file, whole or not at all.

    Raises:
        HarnessError: it cannot be written.
    """
    with recording(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, baseline.model_dump(mode="json"))


def read_baseline(path: Path, suite: str) -> Baseline:
    """Reads the file of a suite.

    Raises:
        HarnessError: it cannot be read, is none, is of another schema version or of another suite.
    """
    try:
        values: Any = json.loads(read_file(path))
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror}", "write one with --write-baseline FILE") from None
    except ValueError:
        raise HarnessError(f"{path} is no baseline: not a whole JSON object", RENEW) from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != BASELINE_SCHEMA_VERSION:
        message = f"{path} is a baseline of schema version {version}; this harness reads {BASELINE_SCHEMA_VERSION}"
        raise HarnessError(message if version is not None else f"{path} is no baseline", RENEW)
    try:
        found = Baseline.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HarnessError(f"{path} is no baseline: {where}: {first['msg']}", RENEW) from None
    if found.suite != suite:
        message = f"{path} is a baseline of the suite '{found.suite}', and this is '{suite}'"
        raise HarnessError(message, "compare it with its own suite")
    return found


def _stored(run: MeasuredRun) -> StoredRun:
    outcomes = None
    if run.images.samples <= MOST_IMAGES:
        with contextlib.suppress(HarnessError):  # null in the file, and said when it is compared
            outcomes = run.outcomes()
    return StoredRun(
        **{name: getattr(run, name) for name in _SAME},
        test_accuracy=run.accuracy,
        data_fingerprint=run.images.fingerprint,
        test_samples=run.images.samples,
        labels_sha256=outcomes.labels_sha256 if outcomes else None,
        correct=outcomes.packed() if outcomes else None,
    )


def _measured(run: StoredRun, label: str) -> MeasuredRun:
    return MeasuredRun(
        **{name: getattr(run, name) for name in _SAME},
        accuracy=run.test_accuracy,
        images=TestImages(run.data_fingerprint, run.test_samples),
        outcomes=functools.partial(_outcomes, run, label),
    )


def _outcomes(run: StoredRun, label: str) -> Outcomes:
    if run.labels_sha256 is None or run.correct is None:
        raise HarnessError(f"the baseline has no predictions of '{label}', seed {run.seed}", RENEW)
    try:
        return Outcomes.unpacked(run.labels_sha256, run.correct, run.test_samples)
    except ValueError:
        raise HarnessError(f"the baseline's predictions of '{label}', seed {run.seed} are damaged", RENEW) from None
