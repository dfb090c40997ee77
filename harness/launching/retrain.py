"""Runs that have a valid result and are to be trained again, by a rule that was fixed before anything was trained.

A rule looks at a record and says why the run is to be trained again; the record that it looked at is named by its
attempt, so that a process which finds a newer one leaves it alone. The earlier record is set aside, not deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.records.result import FINAL, RunResult
from harness.records.store import RunFolder

DISTURBED = "disturbed"
OTHER_CODE = "other code"
Rule = Callable[[RunResult, RunFolder], str]
"""Says why a run that is done is to be trained again; an empty text: it is not."""


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

    def is_of(self, result: RunResult) -> bool:
        """Tells whether a record is the one that is to be replaced, and no newer one."""
        return result.attempt == self.attempt


def retake_rule(most: int) -> Rule:
    """Returns the rule of `--retake`: what was disturbed is trained again, unless it was so `most` times.

    It never looks at a time or an accuracy: a rule that did would choose among them.
    """

    def rule(result: RunResult, folder: RunFolder) -> str:
        retakes = most and result.status == "ok" and result.disturbed and folder.times_set_aside(DISTURBED) < most
        return DISTURBED if retakes else ""

    return rule


def renew_rule(code_now: Callable[[str], str]) -> Rule:
    """Returns the rule of `--renew`: what was trained by other code than this, or by unknown code, is trained again.

    Args:
        code_now: returns the hash of the code that would train a run now, by its run_id.
    """

    def rule(result: RunResult, folder: RunFolder) -> str:
        return OTHER_CODE if result.code != code_now(result.run_id) else ""

    return rule


def asked(rule: Rule, folders: dict[str, RunFolder]) -> dict[str, Retrain]:
    """Returns the runs of which a rule says that they are to be trained again, by run_id, in the order of `folders`."""
    found: dict[str, Retrain] = {}
    for run_id, folder in folders.items():
        result = folder.result()
        if result and result.status in FINAL and (reason := rule(result, folder)):
            found[run_id] = Retrain.of(result, reason)
    return found
