"""What a run's folder tells a tracker: who the run is, a row for each epoch, and how it ended."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.comparable import compares, marks, untimed_by
from harness.records.events import last_epochs, since_last_start
from harness.records.files import read_object
from harness.records.follow import RunFollower
from harness.records.read import SPEC, read_system, require_own_place
from harness.records.result import RunResult
from harness.records.store import Attempt, RunFolder
from harness.spec import is_identity

Row = dict[str, float]
# Facts of a system that name no person, machine or job; the rest is not sent.
_SYSTEM = {"system_id", "name", "gpu", "gpu_count", "gpu_memory_bytes", "gpu_compute_capability", "driver", "cpu"}
_SYSTEM |= {"cpu_count", "memory_bytes", "python", "torch", "torchvision", "accelerate", "numpy", "cuda", "cudnn"}
_SYSTEM |= {"nccl", "dali"}
_IN_CONFIG = {"schema_version", "suite", "label", "run_id", "config_id", "system_id", "seed", "num_processes", "spec"}
_IN_CONFIG |= {"environment", "generation"}  # the latter of a claim: it says nothing of the run
_IN_CONFIG |= {"packed", "disturbed"}  # whose times are not its own, and are told nobody who might rank them
_TAG_LENGTH = 64
_GROUP_LENGTH = 128


@dataclass(frozen=True)
class Entries:
    """All that a tracker is told of a run.

    Attributes:
        id: the same whenever this run is mirrored: letters, digits and hyphens.
        name: for people, e.g. `resnet18, sgd (seed 0)`.
        group: the same for all seeds of a config on one system: what W&B averages over.
        config: the spec by section, what was resolved, and facts of the system.
        started_at: time of day, ISO 8601.
        rows: of the epochs, by their number, counted from 1.
        ending: the result, flat, with `/` between the parts of a name; None for a run that has none.
    """

    id: str
    name: str
    group: str
    suite: str
    label: str
    seed: int
    tags: tuple[str, ...]
    config: dict[str, Any]
    started_at: str
    rows: dict[int, Row]
    ending: dict[str, Any] | None

    @property
    def summary(self) -> dict[str, Any]:
        """The result; of a run that does not go on and has none, that it was interrupted."""
        return self.ending or {"status": "interrupted"}

    @property
    def exit_code(self) -> int:
        """0 where the run is ok, 75 where it may go on, else 1."""
        status = self.summary["status"]
        return 0 if status == "ok" else 75 if status in ("preempted", "interrupted") else 1

    def flat_config(self) -> dict[str, bool | int | float | str]:
        """Returns the config as trackers show it that know no nesting: `optimizer.lr`."""
        values = flat(self.config, ".")
        return {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in values}

    def flat_summary(self) -> dict[str, float | str]:
        """Returns of the summary what trackers that show numbers are told: those, and the status."""
        return {
            f"summary/{name}": value
            for name, value in self.summary.items()
            if name == "status" or (isinstance(value, int | float) and not isinstance(value, bool))
        }

    def digest(self) -> str:
        """Returns what changes when any of it does."""
        value = [self.id, self.config, self.rows, self.ending]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def read_entries(folder: RunFolder) -> Entries | None:
    """Returns what a run's folder says now; see `entries_of`."""
    run = RunFollower(folder)
    run.news()
    return entries_of(run)


def entries_of(run: RunFollower) -> Entries | None:
    """Returns what the record of a run says, as far as it was read; None where nothing was begun.

    What names the machine and places on it stays there: most of the system, data roots, error messages.

    Args:
        run: followed from the beginning of its events.

    Raises:
        ValueError: the record does not count; see `harness.records.read`.
        OSError: it cannot be read.
    """
    folder, result = run.folder.path, run.result
    if not since_last_start(run.events):
        return None
    try:
        try:
            described = read_object(folder / SPEC)
        except ValueError as error:
            raise ValueError(f"{SPEC}: {error}") from None
        system = read_system(folder, folder.absolute().name)
    except FileNotFoundError:
        return None
    if run.problem:
        raise ValueError(f"result.json: {run.problem}")
    attempt = Attempt.of(run.events)
    # Of a run that goes on it is known only whether it is packed.
    with_times = attempt.packed == 1 and not (result and untimed_by(result, with_resumed=True))
    rows = _rows(last_epochs(run.events), with_times=with_times)
    try:
        require_own_place(folder, described["run_id"], system["system_id"])
        suite, run_id, spec = described["suite"], described["run_id"], described["spec"]
        system_id, label, seed = system["system_id"], spec["label"], spec["seed"]
        restarts = _restarts(run.events)
        of_suite = hashlib.sha256(suite.encode()).hexdigest()[:6]
        return Entries(
            id="-".join([run_id, system_id, of_suite, *([str(restarts)] if restarts else [])]),
            name=f"{label} (seed {seed})",
            group=_short(f"{suite}: {label} on {system_id}", _GROUP_LENGTH),
            suite=suite,
            label=label,
            seed=seed,
            tags=tuple(_short(tag, _TAG_LENGTH) for tag in (suite, system["name"]) if tag),
            config=_config(described, system, result, attempt.packed),
            started_at=attempt.started_at,
            rows=rows,
            ending=_ending(result) if result else None,
        )
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{SPEC} or system.json is not what a run writes") from None


def _config(
    described: Mapping[str, Any], system: Mapping[str, Any], result: RunResult | None, packed: int
) -> dict[str, Any]:
    sections: dict[str, Any] = {
        name: {key: each for key, each in value.items() if is_identity(f"{name}.{key}")}
        if isinstance(value, dict)
        else value
        for name, value in described["spec"].items()
        if name in ("label", "seed", "repeat") or is_identity(name)
    }
    model = sections.get("model")
    if isinstance(model, dict) and isinstance(file := model.get("pretrained"), str):
        model["pretrained"] = file.rpartition("/")[2]  # its path names places on the machine
    config = {name: described[name] for name in ("suite", "run_id", "config_id")}
    config |= {"system_id": system["system_id"], **sections}
    config["system"] = {name: value for name, value in system.items() if name in _SYSTEM}
    if packed > 1:
        config["packed"] = packed
    if result:
        if found := marks(result):
            config["marks"] = list(found)
        if result.environment:
            config["environment"] = result.environment
        config["num_processes"] = result.num_processes
        config["resolved"] = result.resolved.model_dump(mode="json") if result.resolved else None
    return config


def _restarts(events: list[dict[str, Any]]) -> int:
    """Returns how often the run began anew after epochs of an earlier attempt: what was mirrored cannot be unsaid."""
    restarts, has_epochs = 0, False
    for event in events:
        if event["event"] == "run_started":
            restarts, has_epochs = restarts + has_epochs, False
        has_epochs |= event["event"] == "epoch"
    return restarts


def _rows(epochs: Mapping[int, Mapping[str, Any]], *, with_times: bool) -> dict[int, Row]:
    """Returns a row for each epoch, by its number, counted from 1; what is not known is left out."""
    rows: dict[int, Row] = {}
    seconds: float | None = 0.0
    for number, (epoch, event) in enumerate(sorted(epochs.items()), 1):
        seconds = seconds + event["train_seconds"] if seconds is not None and epoch == number - 1 else None
        metrics = {
            f"{split}/{name}": value
            for split, values in event.get("metrics", {}).items()
            for name, value in values.items()
            if value is not None
        }
        row = {"epoch": epoch + 1, "timestamp": as_seconds(event["at"]), **metrics}
        row["learning_rate"] = event.get("learning_rate")
        if with_times:
            names = ("train_seconds", "wait_seconds", "eval_seconds", "train_joules")
            row |= {"train_seconds": seconds} | {f"epoch/{name}": event.get(name) for name in names}
        if with_times and seconds is not None:
            row |= {f"by_train_seconds/{name}": value for name, value in metrics.items()}
        rows[epoch + 1] = {name: value for name, value in row.items() if value is not None}
    return rows


def _ending(result: RunResult) -> dict[str, Any]:
    parts = result.model_dump(mode="json", exclude=_IN_CONFIG | {"resolved", "metrics", "extra_metrics"})
    parts |= result.model_dump(mode="json", include={"metrics"})["metrics"]
    parts["extra_metrics"] = {name: metric.value for name, metric in result.extra_metrics.items()}
    if parts["cause"]:  # a message or a traceback may hold paths, and lines of code
        parts["cause"] = {name: parts["cause"][name] for name in ("kind", "rank", "step")}
    return {name: value for name, value in flat(parts) if compares(result, name.replace("/", "."), with_resumed=True)}


def as_seconds(at: str) -> float:
    """Returns a time of day of a record in seconds since 1970."""
    return datetime.datetime.fromisoformat(at).timestamp()


def flat(values: Mapping[str, Any], separator: str = "/", prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of nested mappings, with the parts of their names joined; nulls are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, separator, f"{prefix}{name}{separator}")
        elif value is not None:
            yield f"{prefix}{name}", value


def without_timestamp(row: Row) -> Row:
    """Returns the numbers of an epoch."""
    return {name: value for name, value in row.items() if name != "timestamp"}


def _short(text: str, length: int) -> str:
    """Returns a text that is short enough, and still differs where the whole one does."""
    if len(text) <= length:
        return text
    return f"{text[: length - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"
