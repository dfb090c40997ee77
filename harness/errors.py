"""Errors that a person caused and can mend: one cause, one hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Bad input or an unusable environment; the command line prints it and exits with 2.

    Args:
        message: the cause, in one sentence.
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class MachineError(HarnessError):
    """The machine, not the suite, is in the way: a GPU, its memory or driver, the host's memory, the cache's disk.

    `harness doctor` looks at all of these, and so is the first hint.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, see_doctor(hint))


DOCTOR = "`harness doctor` tells what this machine has and lacks"


def see_doctor(hint: str = "") -> str:
    """Returns a hint that names the doctor first."""
    return f"{DOCTOR}; {hint}" if hint else DOCTOR


# What other programs call a field, where the nearest name by its letters would be another one or none.
ALIASES = {
    "batch": "global_batch_size",
    "batch_size": "global_batch_size",
    "train_batch_size": "global_batch_size",
    "learning_rate": "lr",
    "wd": "weight_decay",
    "amp": "mixed_precision",
    "precision": "mixed_precision",
    "dtype": "mixed_precision",
    "arch": "model",
    "architecture": "model",
    "network": "model",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "weights": "pretrained",
}


def nearest(name: str, valid: Iterable[str], *, most: int = 12) -> str:
    """Returns a hint that names the nearest valid name, or lists the valid ones."""
    names = sorted(valid)
    parent, dot, last = str(name).rpartition(".")
    if (alias := f"{parent}{dot}{ALIASES.get(last.lower())}") in names:
        return f"did you mean '{alias}'?"
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{by_lower[close[0]]}'?"
    shown = ", ".join(names[:most])
    return f"valid: {shown}{', ...' if len(names) > most else ''}" if names else "nothing is valid here"
