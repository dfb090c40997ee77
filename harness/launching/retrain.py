"""Runs that have a valid result and are to be trained again, for a reason that was fixed before anything was trained.

The record that is to be replaced is named by its attempt, so that a process which finds a newer one leaves it alone. It
is set aside, not deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.result import RunResult
from harness.records.store import RunFolder

DISTURBED = "disturbed"
OTHER_CODE = "other code"


@dataclass(frozen=True)
class Retrain:
    """One run that is to be trained again.

    Attributes:
        attempt: of the record that is to be replaced; 0 where there is none, as the run is done under another suite.
        reason: one word or more, recorded in the run's events.
    """

    attempt: int
    reason: str

    @staticmethod
    def of(result: RunResult, reason: str) -> Retrain:
        """Returns what is to be done about a result that counts for a suite; see `harness.records.planned`."""
        return Retrain(0 if result.kept_under else result.attempt, reason)


def is_to_retake(result: RunResult, folder: RunFolder, most: int) -> bool:
    """Tells whether `--retake` trains a run again: it was disturbed, and was not trained again for that `most` times.

    It never looks at a time or an accuracy: a rule that did would choose among them.
    """
    return result.status == "ok" and bool(result.disturbed) and folder.times_set_aside(DISTURBED) < most
