"""W&B as far as it can be told of without its client: where the key lies, what errors mean, what it has of a run."""

from __future__ import annotations

import configparser
import contextlib
import netrc
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import HarnessError, see_doctor
from harness.records.files import read_object, write_json
from harness.records.store import RunFolder, now

HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")  # the latter is the default since wandb 0.31
SENT = "trackers/wandb.json"  # in the folder of a run: what of it is at W&B, as its server has answered
# What the words of its client mean, and what helps; the first that fits.
_MEANINGS = (
    (
        r"\b401\b|not logged in|api.?key|relogin|credentials|unauthenticated",
        "W&B at {server} refuses the key",
        "wandb login --relogin, or mend WANDB_API_KEY",
    ),
    (
        r"\b403\b|permission denied|permission error|not authorized|forbidden",
        "W&B does not let this account write to {place}",
        "ask its owner, or name another entity",
    ),
    (
        r"entity|\b404\b|not found",
        "W&B knows no {place}",
        "name another: ENTITY is a user or a team, as in the site's address",
    ),
)


class WandbProblem(HarnessError):
    """W&B cannot be used as asked; nothing local is lost by it."""


def places_of_a_key(environment: Mapping[str, str], home: Path) -> Iterator[str]:
    """Yields where a key is found, in the order in which W&B looks; the key itself is never shown."""
    if environment.get("WANDB_API_KEY"):
        yield "WANDB_API_KEY"
    if environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        yield "WANDB_IDENTITY_TOKEN_FILE"
    folder = Path(environment.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb")
    for path in (folder / "settings", Path("wandb") / "settings"):
        if _settings_have_a_key(path):
            yield "wandb's settings"
    own = environment.get("WANDB_BASE_URL")
    hosts = (urlsplit(own).hostname or "",) if own else HOSTS
    for path in [Path(environment["NETRC"])] if environment.get("NETRC") else [home / ".netrc", home / "_netrc"]:
        try:
            known = netrc.netrc(path)
        except (OSError, netrc.NetrcParseError):
            continue
        if any(known.authenticators(host) for host in hosts):
            yield path.name


def why_offline(environment: Mapping[str, str], home: Path) -> str:
    """Returns why runs can only be written to this disk; empty where they can be sent."""
    mode = environment.get("WANDB_MODE", "")
    if mode in ("offline", "dryrun", "disabled"):
        return f"WANDB_MODE is {mode}"
    return "" if next(places_of_a_key(environment, home), "") else "no key is found"


def require_key(environment: Mapping[str, str], home: Path) -> None:
    """Checks that W&B can be asked.

    Raises:
        WandbProblem: there is no key, or W&B is switched off.
    """
    if why := why_offline(environment, home):
        hint = "unset WANDB_MODE" if why.startswith("WANDB_MODE") else see_doctor("wandb login, or set WANDB_API_KEY")
        raise WandbProblem(f"W&B cannot be reached: {why}", hint)


def as_problem(error: Exception, server: str, place: str) -> WandbProblem:
    """Returns what an error of W&B's client means, in one sentence."""
    if isinstance(error, WandbProblem):
        return error
    said = " ".join(str(error).split())
    for words, meaning, hint in _MEANINGS:
        if re.search(words, said, re.IGNORECASE):
            return WandbProblem(meaning.format(server=server, place=place), hint)
    found = re.search(r"HTTP \d{3}|connection (?:reset|refused)|no such host|timed? ?out|deadline", said, re.IGNORECASE)
    why = found[0].lower().replace("deadline", "timeout").replace("http", "HTTP") if found else said[:100]
    return WandbProblem(
        f"W&B at {server} does not answer as it should ({why or type(error).__name__})", "try again later"
    )


def _settings_have_a_key(path: Path) -> bool:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (OSError, configparser.Error, UnicodeDecodeError):
        return False
    return any(parser[section].get("api_key") for section in parser.sections())


def write_sent(folder: RunFolder, **what: Any) -> None:
    """Writes what W&B has of a run: the `server`, `entity`, `project` and `id`, and the `digest`, see `Entries.digest`.

    Where it cannot be written, the run is brought up once more, which changes nothing.
    """
    with contextlib.suppress(OSError):
        path = folder.path / SENT
        path.parent.mkdir(exist_ok=True)
        write_json(path, {**what, "at": now()})


def read_sent(folder: RunFolder) -> dict[str, Any]:
    """Returns what was brought up last; empty where nothing was."""
    try:
        return read_object(folder.path / SENT)
    except (OSError, ValueError):
        return {}
