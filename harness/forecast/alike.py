"""Which configs take the same time: those that differ only in what no step's time depends on."""

from __future__ import annotations

import json
from typing import Any

from harness.spec import RunSpec

# The numbers of these sections and fields change what is computed, and not how long that takes.
OF_TRAIN = ("label_smoothing", "clip_grad_norm", "ema_decay", "class_weights")
NOT_OF_A_STEP = ("epochs", "evaluate_every_epochs", "keep_weights", "untimed_steps", "timeout_seconds")
CHECKPOINTS = ("checkpoint_every_seconds", "checkpoint_every_steps")


def timing_key(spec: RunSpec) -> str:
    """Returns what decides how long a step, an evaluation and the building of a config take.

    Two configs of the same key differ in their label, seed, schedule, number of epochs, or in numbers such as learning
    rates. A number that is zero, or left out, is kept apart from others: momentum and weight decay cost time. Whole
    numbers, such as Muon's iterations, are counts of work, and stay.
    """
    dump: dict[str, Any] = spec.model_dump(mode="json", exclude={"label", "seed", "repeat", "schedule"})
    dump["optimizer"] = {name: _is_there(value) for name, value in dump["optimizer"].items()}
    train = dump["train"]
    for name in (*NOT_OF_A_STEP, *CHECKPOINTS):
        train.pop(name, None)
    for name in OF_TRAIN:
        train[name] = bool(train[name])
    return json.dumps(dump, sort_keys=True)


def _is_there(value: Any) -> Any:
    """Returns a fraction as whether it is zero; anything else stays."""
    if isinstance(value, list):
        return [_is_there(one) for one in value]
    return bool(value) if isinstance(value, float) else value
