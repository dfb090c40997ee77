"""A run at W&B, through its own client: one id whenever it is told, and nothing that names a person or a machine."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb

from harness.records.claims import claim, owner
from harness.records.result import SPLITS
from harness.records.store import RunFolder
from harness.trackers.account import SENT, WandbProblem, as_problem, write_sent
from harness.trackers.entries import Entries, Row, as_seconds, without_timestamp
from harness.trackers.options import Tracking

DIGEST = "records"  # in the summary: what the run's record was when it was told
_RETRIES = 2
_OPEN: set[WandbRun] = set()
_SCRATCH = tempfile.TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True)  # what the client writes online


class WandbRun:
    """One run; see `harness.trackers.mirror.Tracker`.

    Raises:
        WandbProblem: the server does not take it, or another process tells of this run.
    """

    def __init__(self, entries: Entries, folder: RunFolder, tracking: Tracking) -> None:
        self._folder, self._tracking = folder, tracking
        sent = folder.path / SENT
        self._claim = claim(sent.parent)  # two that told of one run would write over each other
        if self._claim is None:
            raise WandbProblem(f"{entries.name} is being sent by {owner(sent.parent)}")
        wandb.setup(wandb.Settings(silent=True))
        place = folder.path if tracking.offline else Path(_SCRATCH.name)
        try:
            with self._problems():
                self._run = wandb.init(
                    id=entries.id,
                    name=entries.name,
                    entity=tracking.entity or None,
                    project=tracking.project,
                    group=entries.group,
                    job_type=entries.suite[:64],
                    tags=entries.tags,
                    config=entries.config,
                    resume=None if tracking.offline else "allow",
                    settings=_settings(tracking, place, as_seconds(entries.started_at)),
                )
        except BaseException:
            self._claim.release()
            if not _OPEN:  # the client keeps the id of a run that it could not begin, and would not try it again
                wandb.teardown()
            raise
        self._run.define_metric("epoch")
        self._run.define_metric("train_seconds")
        # Of two patterns that fit, the client takes either: none overlap. The last epoch's own are no summary of a run.
        for name in ("learning_rate", *(f"{split}/*" for split in SPLITS)):
            self._run.define_metric(name, step_metric="epoch")
        self._run.define_metric("epoch/*", step_metric="epoch", summary="none")
        self._run.define_metric("by_train_seconds/*", step_metric="train_seconds", summary="none")
        _OPEN.add(self)

    @property
    def path(self) -> str:
        """Entity and project, as the server answered."""
        return f"{self._run.entity}/{self._run.project}"

    def epoch(self, number: int, row: Row) -> None:
        """Takes an epoch; W&B's client leaves out a step that the server has already."""
        self._run.log({**without_timestamp(row), "_timestamp": row["timestamp"]}, step=number)

    def end(self, entries: Entries) -> None:
        """Takes how the run ended.

        Raises:
            WandbProblem: the server did not answer that it has all of it.
        """
        assert self._claim
        _OPEN.discard(self)
        with self._claim, self._problems():
            self._run.config.update(entries.config, allow_val_change=True)
            digest = entries.digest()
            self._run.summary.update({**entries.summary, DIGEST: digest})
            if entries.summary["status"] == "preempted" and not self._tracking.offline:
                self._run.mark_preempting()
            self._run.finish(exit_code=entries.exit_code)
            if self._tracking.offline:
                self._remove_earlier()
                return
            self._await_answer(entries, digest)
            place = {name: getattr(self._run, name) for name in ("entity", "project", "id")}
            write_sent(self._folder, server=server_address(), **place, digest=digest)

    def _await_answer(self, entries: Entries, digest: str) -> None:
        """Asks the server what it has, until it has all of it: a failed upload is no error of `finish`."""
        api = wandb.Api(timeout=max(1, int(self._tracking.patience_seconds)))
        path = f"{self.path}/{entries.id}"
        end = time.monotonic() + self._tracking.patience_seconds
        wait = 0.1
        while True:
            api.flush()
            found = api.run(path)
            if found.summary_metrics.get(DIGEST) == digest and found.lastHistoryStep >= max(entries.rows, default=0):
                return
            if time.monotonic() > end:
                raise WandbProblem(f"W&B does not have all of {entries.name}", "harness wandb sync, later")
            time.sleep(wait)
            wait = min(2 * wait, 5.0)

    def _remove_earlier(self) -> None:
        """Removes earlier offline folders of this run: each holds all of it, and W&B would not merge them."""
        kept = Path(self._run.settings.sync_dir)
        for path in kept.parent.glob(f"offline-run-*-{self._run.id}"):
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            entity = self._tracking.entity or "the account's own entity"
            raise as_problem(error, server_address(), f"{entity}/{self._tracking.project}") from error


def server_address() -> str:
    """Returns the address of the server that W&B's client asks."""
    return str(wandb.setup().settings.base_url)


def _settings(tracking: Tracking, folder: Path, started_at: float) -> wandb.Settings:
    seconds = tracking.patience_seconds
    values: dict[str, Any] = {
        "mode": "offline" if tracking.offline else "online",
        "root_dir": str(folder),
        "reinit": "create_new",
        # Of this process, which only passes on what the records say: nothing of interest, and much that is private.
        "program": "harness",
        "console": "off",
        **dict.fromkeys(("host", "username", "email"), ""),
        **dict.fromkeys(("save_code", "x_save_requirements"), False),
        **dict.fromkeys(("disable_code", "disable_git", "disable_job_creation"), True),
        **dict.fromkeys(("x_disable_meta", "x_disable_machine_info", "x_disable_stats"), True),
        "x_skip_transaction_log": not tracking.offline,
        "x_start_time": started_at,
        "silent": True,
        **dict.fromkeys(("init_timeout", "login_timeout", "finish_timeout"), seconds),
        "finish_timeout_raises": True,
    }
    for client in ("graphql", "file_transfer"):
        values |= {
            f"x_{client}_timeout_seconds": seconds / (_RETRIES + 2),
            f"x_{client}_retry_max": _RETRIES,
            f"x_{client}_retry_wait_min_seconds": seconds / 50,
            f"x_{client}_retry_wait_max_seconds": seconds / 10,
        }
    # While a run goes on the server may be away for long; `finish_timeout` ends it.
    values |= {"x_file_stream_timeout_seconds": seconds / (_RETRIES + 2), "x_file_stream_retry_max": 10_000}
    values |= {"x_file_stream_retry_wait_min_seconds": 0.5, "x_file_stream_retry_wait_max_seconds": seconds / 3}
    return wandb.Settings(**values)


def end_client() -> None:
    """Ends the client, once it has written what it has."""
    wandb.teardown()
    _SCRATCH.cleanup()
