"""One run at MLflow, by its client: MLflow's fluent functions know one run at a time, and tell who started it."""

from __future__ import annotations

import importlib.util
import os
import time

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported

import mlflow  # pyright: ignore[reportMissingImports]
from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]
from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

from harness.errors import HarnessError
from harness.records.store import RunFolder
from harness.trackers.entries import Entries, Row, as_seconds, without_timestamp
from harness.trackers.options import Tracking

ID_TAG = "harness.id"
LONGEST_PARAM = 6000  # MLflow's MAX_PARAM_VAL_LENGTH
PARAMS_AT_ONCE = 100  # its MAX_PARAMS_TAGS_PER_BATCH
ENDED = {0: "FINISHED", 75: "KILLED"}  # by exit code; MLflow has no word for a run that may go on


class MlflowRun:
    """One run; see `harness.trackers.mirror.Tracker`. A run that goes on after a stop goes on there, too.

    Args:
        tracking: names the experiment, unless MLFLOW_EXPERIMENT_NAME does.
    """

    def __init__(self, entries: Entries, folder: RunFolder, tracking: Tracking) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, round(tracking.patience_seconds))))
        try:
            self._client = mlflow.MlflowClient()
        except MlflowException as error:
            why = " ".join(str(error).split())[:150]
            skinny = "mlflow-skinny has no store of its own: pip install mlflow, or set MLFLOW_TRACKING_URI to a server"
            message = skinny if importlib.util.find_spec("sqlalchemy") is None else why
            raise HarnessError(f"MLflow cannot keep runs at {mlflow.get_tracking_uri()}: {message}") from None
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or tracking.project)
        earlier = self._client.search_runs([experiment], f"tags.`{ID_TAG}` = '{entries.id}'", max_results=1)
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {
                ID_TAG: entries.id,
                "suite": entries.suite,
                "label": entries.label,
                "seed": str(entries.seed),
                "group": entries.group,
            }
            started = round(1000 * as_seconds(entries.started_at))
            self._id = self._client.create_run(experiment, started, tags, entries.name).info.run_id
        self._params = set(earlier[0].data.params) if earlier else set()
        self._last = max((one.step for one in self._client.get_metric_history(self._id, "epoch")), default=0)
        self._tell_params(entries)

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch; one that MLflow has is left as it is."""
        if number > self._last:
            self._log(without_timestamp(row), row["timestamp"], number)
            self._last = number

    def end(self, entries: Entries) -> None:
        """Takes how the run ended: its numbers at the last epoch, its status as a tag and as MLflow's own."""
        self._tell_params(entries)
        told = entries.flat_summary()
        self._client.set_tag(self._id, "status", str(told.pop("summary/status")))
        ended_at = entries.summary.get("ended_at")
        ended = as_seconds(ended_at) if ended_at else time.time()
        self._log({name: float(value) for name, value in told.items()}, ended, self._last)
        self._client.set_terminated(self._id, ENDED.get(entries.exit_code, "FAILED"), round(1000 * ended))

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:  # another process was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id

    def _log(self, values: Row, at: float, step: int) -> None:
        metrics = [Metric(name, value, round(1000 * at), step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def _tell_params(self, entries: Entries) -> None:
        """Tells what MLflow does not have yet: a parameter's value cannot change there."""
        new = {name: str(value)[:LONGEST_PARAM] for name, value in entries.flat_config().items()}
        params = [Param(name, value) for name, value in new.items() if name not in self._params]
        for start in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + PARAMS_AT_ONCE])
        self._params |= new.keys()
