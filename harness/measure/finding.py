"""One verdict."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["ok", "warning", "stop"]


class Finding(NamedTuple):
    """What was looked at, and what came of it.

    Attributes:
        about: what was looked at, in a word or two.
        verdict: `stop` for what would stop a run, or make it one of another device than is there.
        says: one sentence.
        hint: what to do about it; empty where there is nothing to do.
    """

    about: str
    verdict: Verdict
    says: str
    hint: str = ""
