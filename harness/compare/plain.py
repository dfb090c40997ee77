"""Comparisons for programs. docs/columns.md documents every field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.compare.comparison import ConfigPair
from harness.compare.gate import Check
from harness.compare.sentences import accuracy_sentence, check_sentence, images_sentence, time_sentence
from harness.results.answers import Answer
from harness.results.measured import MeasuredConfig

SCHEMA_VERSION = 1


def as_json(
    suite: str,
    comparisons: Sequence[ConfigPair],
    correction: str | None,
    checks: Sequence[Check],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Returns plain values; what is not known is null.

    Args:
        correction: over what the p-values are corrected; None where they are not.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": suite,
        "correction": correction,
        "comparisons": [_comparison(one) for one in comparisons],
        "gate": [_check(one) for one in checks],
        "notes": list(notes),
    }


def _comparison(one: ConfigPair) -> dict[str, Any]:
    return {
        "a": _config(one.a),
        "b": _config(one.b),
        "accuracy": answer_values(one.accuracy, accuracy_sentence(one), log=False),
        "time": answer_values(one.time, time_sentence(one), log=True),
        "networks": _networks(one),
        "cautions": list(one.cautions),
    }


def _config(config: MeasuredConfig) -> dict[str, Any]:
    return {
        "suite": config.suite,
        "label": config.label,
        "config_id": config.config_id,
        "from_baseline": config.from_baseline,
        "seeds": config.seeds,
        "ended": config.ended,
        "system_ids": sorted(config.by_system),
    }


def answer_values(found: Answer, sentence: str, *, log: bool) -> dict[str, Any]:
    """Returns one answer; differences of time are ratios here, but for the deviation, which is of their logarithm."""
    summary = found.difference
    known = summary if summary and summary.has_noise and found.p is not None else None
    by_images = summary if summary and summary.images else None

    def scaled(value: float | None) -> float | None:
        if value is None or not log:
            return value
        return math.exp(value) if value < 700 else None

    return {
        "verdict": found.verdict,
        "reason": found.reason or None,
        "hint": found.hint or None,
        "sentence": sentence,
        "seeds": [pair.seed for pair in found.pairs],
        "a_mean": found.a.mean if found.a else None,
        "b_mean": found.b.mean if found.b else None,
        "ratio" if log else "difference": scaled(summary.mean) if summary else None,
        "low": scaled(known.low) if known else None,
        "high": scaled(known.high) if known else None,
        "deviation": summary.sd if summary else None,
        "p": found.p,
        "p_holm": found.p_corrected,
        "effect_size": found.effect_size,
        "deviation_over_images": math.sqrt(by_images.over_images) if by_images else None,
        "margin": found.margin,
        "images": found.images or None,
        "predictions_kept": found.predictions_kept if found.images else None,
        "seeds_for_power_low": found.seeds_for_power[0] if found.seeds_for_power else None,
        "seeds_for_power_high": found.seeds_for_power[1] if found.seeds_for_power else None,
        "detectable": scaled(found.detectable),
        "by_seed": [
            {
                "seed": pair.seed,
                "a": pair.a.train_seconds if log else pair.a.accuracy,
                "b": pair.b.train_seconds if log else pair.b.accuracy,
                "seconds_apart": pair.a.seconds_until(pair.b),
            }
            for pair in found.pairs
        ],
    }


def _networks(one: ConfigPair) -> dict[str, Any] | None:
    found = one.networks
    if found is None:
        return None
    ends = {name: getattr(found.difference, name, None) for name in ("mean", "low", "high")}
    return {
        "difference": ends.pop("mean"),
        **ends,
        "p": found.p,
        "seeds": found.seeds,
        "images": found.images,
        "reason": found.reason or None,
        "hint": found.hint or None,
        "sentence": images_sentence(one),
    }


def _check(one: Check) -> dict[str, Any]:
    log = one.limit.question == "time"

    def scaled(value: float | None) -> float | None:
        return value if value is None or not log else math.expm1(value)

    return {
        "question": one.limit.question,
        "label": one.comparison.a.label,
        "config_id": one.comparison.a.config_id,
        "limit": one.limit.at_most,
        "strict": one.limit.strict,
        "state": one.state,
        "sentence": check_sentence(one),
        "worse": scaled(one.worse.mean),
        "bound": scaled(one.bound),
        "p": one.p,
        "detectable": scaled(one.detectable),
        "seeds": one.worse.n,
        "seeds_died": list(one.died),
    }
