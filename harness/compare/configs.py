"""Two configs of a table of runs compared: the Python way to `harness compare SUITE A B`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compare.comparison import compare
from harness.compare.plain import answer_values
from harness.compare.sentences import accuracy_sentence, time_sentence
from harness.errors import HarnessError, nearest
from harness.records.comparable import compares_with
from harness.results.measured import SECONDS, MeasuredConfig, MeasuredRun, TestImages, count_statuses, round_seconds
from harness.results.outcomes import read_outcomes
from harness.results.summary import marks_of, plain_rows

if TYPE_CHECKING:
    import pandas


def compare_configs(frame: pandas.DataFrame, a: str, b: str, *, margin: float | None = None) -> pandas.DataFrame:
    """Returns what is known of config A against B, over the seeds that both have: a row for accuracy, one for time.

    The columns are those of `harness compare --json`: `verdict` is `a`, `b`, `equivalent` or `undecided`, with the
    difference of accuracy (a fraction) or the ratio of train times, `low` and `high` of its 95 % interval, `p`, and
    `sentence`. The interval of accuracy is over seeds and test images; predictions are read from the runs' folders.
    `attrs["cautions"]` says what a reader must know, e.g. seeds that only one of them has.

    Args:
        frame: from `harness.read_results`, or a part of it.
        a, b: labels or config ids.
        margin: differences of accuracy below it do not matter, e.g. 0.003 for 0.3 points; without it nothing is
            called equivalent.

    Raises:
        HarnessError: there is no such config, or several suites have one of that label.
    """
    import pandas

    if margin is not None and not (isinstance(margin, int | float) and 0 < margin < 1):
        raise HarnessError(f"margin={margin!r} is no share of the test images", "e.g. margin=0.003 for 0.3 points")
    one, other = _config(frame, a), _config(frame, b)
    found = compare(one, other, round_seconds([one, other]), margin=margin, test_images=False)
    rows = {
        "accuracy": answer_values(found.accuracy, accuracy_sentence(found), log=False),
        "train time": answer_values(found.time, time_sentence(found), log=True),
    }
    answer = pandas.DataFrame.from_dict(rows, orient="index").drop(columns="by_seed")
    answer.attrs["cautions"] = list(found.cautions)
    return answer


def _config(frame: pandas.DataFrame, name: str) -> MeasuredConfig:
    rows = [run for run in plain_rows(frame) if name in (run["label"], run["config_id"])]
    own = {(run["suite"], run["config_id"]) for run in rows}
    if not own:
        raise HarnessError(f"the table has no config '{name}'", nearest(name, set(map(str, frame["label"]))))
    if len(own) > 1:
        ids = ", ".join(f"{config_id} of {suite}" for suite, config_id in sorted(own))
        raise HarnessError(f"{len(own)} configs are called '{name}'", f"give an id ({ids}), or a part of the table")
    [(suite, config_id)] = own
    ok = sorted((run for run in rows if run["status"] == "ok"), key=lambda run: run["seed"])
    died = {run["seed"] for run in rows} - {run["seed"] for run in ok}
    ended = count_statuses(run["status"] for run in rows)
    return MeasuredConfig(suite, rows[0]["label"], config_id, tuple(map(_run, ok)), ended, tuple(sorted(died)))


def _run(run: Mapping[str, Any]) -> MeasuredRun:
    return MeasuredRun(
        seed=int(run["seed"]),
        run_id=run["run_id"],
        system_id=run["system_id"],
        accuracy=run.get("metrics.test.accuracy") if run["data.rankable"] else None,
        train_seconds=run[SECONDS] if compares_with(marks_of(run), SECONDS) else None,
        started_at=run["started_at"],
        ended_at=run["ended_at"],
        images=TestImages(run["data.fingerprint"], int(run["data.test_samples"])),
        rankable=bool(run["data.rankable"]),
        outcomes=functools.partial(read_outcomes, Path(run["folder"] or "") / "predictions.npz"),
    )
