"""Comparisons for programs: as JSON, and as a table of pandas. docs/columns.md documents every field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compare.compared import Check, Compared
from harness.compare.pair import ComparedMetric, ConfigPair, compare
from harness.compare.show import check_sentence, sentence
from harness.errors import HarnessError, nearest
from harness.results.answers import Answer
from harness.results.measured import SECONDS, MeasuredConfig, MeasuredRun, count_statuses, round_seconds
from harness.results.summary import plain_columns

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 1


def as_json(found: Compared) -> dict[str, Any]:
    """Returns plain values; what is not known is null."""
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": found.suite,
        "correction": found.correction,
        "comparisons": [
            {
                "a": _config(one.a),
                "b": _config(one.b),
                "accuracy": _answer(one, one.accuracy),
                "time": _answer(one, one.time),
                "networks": _networks(one, one.networks) if one.networks else None,
                "metrics": [_metric(found) for found in one.metrics],
                "cautions": list(one.cautions),
            }
            for one in found.comparisons
        ],
        "gate": [_check(one) for one in found.checks],
        "notes": list(found.notes),
    }


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
    one, other = _config_of(frame, a), _config_of(frame, b)
    found = compare(one, other, round_seconds([one, other]), margin=margin, test_images=False)
    rows = {"accuracy": _answer(found, found.accuracy), "train time": _answer(found, found.time)}
    answer = pandas.DataFrame.from_dict(rows, orient="index").drop(columns="by_seed")
    answer.attrs["cautions"] = list(found.cautions)
    return answer


def _config_of(frame: pandas.DataFrame, name: str) -> MeasuredConfig:
    table = plain_columns(frame)
    every = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    rows = [run for run in every if name in (run["label"], run["config_id"])]
    own = {(run["suite"], run["config_id"]) for run in rows}
    if not own:
        raise HarnessError(f"the table has no config '{name}'", nearest(name, set(map(str, frame["label"]))))
    if len(own) > 1:
        ids = ", ".join(f"{config_id} of {suite}" for suite, config_id in sorted(own))
        raise HarnessError(f"{len(own)} configs are called '{name}'", f"give an id ({ids}), or a part of the table")
    [(suite, config_id)] = own
    ok = sorted((run for run in rows if run["status"] == "ok"), key=lambda run: run["seed"])
    ended = count_statuses(run["status"] for run in rows)
    return MeasuredConfig(suite, rows[0]["label"], config_id, tuple(map(_run, ok)), ended)


def _run(run: Mapping[str, Any]) -> MeasuredRun:
    return MeasuredRun(
        seed=int(run["seed"]),
        run_id=run["run_id"],
        system_id=run["system_id"],
        accuracy=run.get("metrics.test.accuracy") if run["data.rankable"] else None,
        train_seconds=None if run["marks"] else run[SECONDS],
        started_at=run["started_at"],
        ended_at=run["ended_at"],
        data_fingerprint=run["data.fingerprint"],
        test_samples=int(run["data.test_samples"]),
        rankable=bool(run["data.rankable"]),
        predictions=Path(run["folder"] or "") / "predictions.npz",
        num_processes=int(run["num_processes"]),
        environment=json.loads(run["environment"]) if run.get("environment") else None,
    )


def _config(config: MeasuredConfig) -> dict[str, Any]:
    return {
        "suite": config.suite,
        "label": config.label,
        "config_id": config.config_id,
        "from_baseline": config.from_baseline,
        "seeds": config.seeds,
        "ended": config.ended,
        "system_ids": sorted({run.system_id for run in config.runs}),
    }


def _answer(one: ConfigPair, found: Answer) -> dict[str, Any]:
    """Returns one answer; differences of time are ratios here, but for the deviation, which is of their logarithm."""
    summary, is_time = found.difference, found.question == "time"
    known = summary if summary and summary.has_noise and found.p is not None else None

    def scaled(value: float | None) -> float | None:
        if value is None or not is_time:
            return value
        return math.exp(value) if value < 700 else None

    seeds_low, seeds_high = found.seeds_for_power or (None, None)
    return {
        "verdict": found.verdict,
        "reason": found.reason or None,
        "hint": found.hint or None,
        "sentence": sentence(one, found),
        "seeds": [pair.seed for pair in found.pairs],
        "a_mean": found.a.mean if found.a else None,
        "b_mean": found.b.mean if found.b else None,
        "ratio" if is_time else "difference": scaled(summary.mean) if summary else None,
        "low": scaled(known.low) if known else None,
        "high": scaled(known.high) if known else None,
        "deviation": summary.sd if summary else None,
        "p": found.p,
        "p_holm": found.p_corrected,
        "deviation_over_images": math.sqrt(summary.over_images) if summary and summary.images else None,
        "margin": found.margin,
        "images": found.images or None,
        "predictions_kept": found.predictions_kept if found.images else None,
        "seeds_for_power_low": seeds_low,
        "seeds_for_power_high": seeds_high,
        "detectable": scaled(found.detectable),
        "by_seed": [
            {
                "seed": pair.seed,
                "a": pair.a.train_seconds if is_time else pair.a.accuracy,
                "b": pair.b.train_seconds if is_time else pair.b.accuracy,
                "seconds_apart": pair.a.seconds_until(pair.b),
            }
            for pair in found.pairs
        ],
    }


def _networks(one: ConfigPair, found: Answer) -> dict[str, Any]:
    answer = _answer(one, found)
    names = ("difference", "low", "high", "p", "images", "reason", "hint", "sentence")
    return {name: answer[name] for name in names} | {"seeds": len(found.pairs)}


def _metric(found: ComparedMetric) -> dict[str, Any]:
    known = found.difference if found.difference.ci95 is not None else None
    return {
        "name": found.name,
        "unit": found.declared.unit,
        "title": found.declared.title,
        "better": found.declared.better,
        "seeds": list(found.seeds),
        "a_mean": found.a.mean,
        "b_mean": found.b.mean,
        "difference": found.difference.mean,
        "low": known.low if known else None,
        "high": known.high if known else None,
    }


def _check(one: Check) -> dict[str, Any]:
    def scaled(value: float | None) -> float | None:
        return value if value is None or one.limit.question == "accuracy" else math.expm1(value)

    return {
        "question": one.limit.question,
        "label": one.comparison.a.label,
        "config_id": one.comparison.a.config_id,
        "limit": one.limit.at_most,
        "state": one.state,
        "sentence": check_sentence(one),
        "worse": scaled(one.worse.mean),
        "bound": scaled(one.bound),
        "p": one.p,
        "detectable": scaled(one.detectable),
        "seeds": one.worse.n,
        "seeds_died": list(one.died),
    }
