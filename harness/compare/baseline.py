"""A baseline file: what was measured once, small enough for git, so that a later comparison needs no old results."""

from __future__ import annotations

import base64
import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.records.files import read_object, recording, write_json
from harness.records.store import now
from harness.results.measured import MeasuredConfig, MeasuredRun, Outcomes

BASELINE_SCHEMA_VERSION = 1
MOST_IMAGES = 100_000  # 17 kB a run: of more the outcomes are not kept
RENEW = "write it anew with --write-baseline"


@dataclass(frozen=True)
class BaselineRun(MeasuredRun):
    """A run of the file.

    Attributes:
        labels_sha256: as of `Outcomes`; None where these were not kept.
        correct: a bit for each test image: packed, deflated, base64; None where they were not kept.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    labels_sha256: str | None
    correct: str | None

    def outcomes(self) -> Outcomes:
        """See `MeasuredRun`."""
        import numpy as np

        if self.labels_sha256 is None or self.correct is None:
            raise HarnessError(f"the baseline has no predictions of seed {self.seed}", RENEW)
        damaged = HarnessError(f"the baseline's predictions of seed {self.seed} are damaged", RENEW)
        try:
            packed = np.frombuffer(zlib.decompress(base64.b64decode(self.correct, validate=True)), np.uint8)
        except (ValueError, zlib.error):
            raise damaged from None
        if len(packed) != (self.test_samples + 7) // 8:
            raise damaged
        return Outcomes(self.labels_sha256, np.unpackbits(packed, count=self.test_samples).astype(bool))


class StoredConfig(BaseModel):
    """A config and its runs that ended ok."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    label: str
    config_id: str
    ended: str
    runs: list[BaselineRun]


class Baseline(BaseModel):
    """The whole file.

    Attributes:
        systems: names by system_id.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)

    schema_version: int
    suite: str
    written_at: str
    systems: dict[str, str]
    configs: list[StoredConfig]


def write_baseline(path: Path, suite: str, configs: Sequence[MeasuredConfig], systems: dict[str, str]) -> int:
    """Writes the baseline of configs, whole or not at all; those without a result are left out.

    Args:
        suite: its name.
        systems: names by system_id.

    Returns:
        How many configs it has.

    Raises:
        HarnessError: none of them has a result, or the file cannot be written.
    """
    stored = [
        StoredConfig(label=one.label, config_id=one.config_id, ended=one.ended, runs=list(map(_stored, one.runs)))
        for one in configs
        if one.runs
    ]
    if not stored:
        raise HarnessError(f"no results of {suite} yet: there is nothing to write", "run it: harness run SUITE")
    used = sorted({run.system_id for one in stored for run in one.runs})
    names = {system_id: systems.get(system_id, system_id) for system_id in used}
    baseline = Baseline(
        schema_version=BASELINE_SCHEMA_VERSION, suite=suite, written_at=now(), systems=names, configs=stored
    )
    with recording(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, baseline.model_dump(mode="json", by_alias=True))
    return len(stored)


def read_baseline(path: Path, suite: str) -> list[MeasuredConfig]:
    """Reads the configs of a suite's baseline.

    Raises:
        HarnessError: it cannot be read, is none, is of another schema version or of another suite.
    """
    try:
        values = read_object(path)
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror}", "write one with --write-baseline FILE") from None
    except ValueError:
        raise HarnessError(f"{path} is no baseline: not a whole JSON object", RENEW) from None
    version = values.get("schema_version", BASELINE_SCHEMA_VERSION)
    if version != BASELINE_SCHEMA_VERSION:
        message = f"{path} is a baseline of schema version {version}; this harness reads {BASELINE_SCHEMA_VERSION}"
        raise HarnessError(message, RENEW)
    try:
        found = Baseline.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HarnessError(f"{path} is no baseline: {where}: {first['msg']}", RENEW) from None
    if found.suite != suite:
        message = f"{path} is a baseline of the suite '{found.suite}', and this is '{suite}'"
        raise HarnessError(message, "compare it with its own suite")
    return [
        MeasuredConfig(suite, one.label, one.config_id, tuple(one.runs), one.ended, from_baseline=True)
        for one in found.configs
    ]


def _stored(run: MeasuredRun) -> BaselineRun:
    import numpy as np

    labels_sha256, correct = None, None
    if run.test_samples <= MOST_IMAGES:
        with contextlib.suppress(HarnessError):  # null in the file, and said when it is compared
            found = run.outcomes()
            labels_sha256 = found.labels_sha256
            correct = base64.b64encode(zlib.compress(np.packbits(found.correct).tobytes(), 9)).decode()
    same = {one.name: getattr(run, one.name) for one in fields(MeasuredRun)}
    return BaselineRun(**same, labels_sha256=labels_sha256, correct=correct)
