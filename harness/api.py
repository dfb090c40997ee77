"""The Python API beside the table of runs: a plan, and a suite that is trained from a notebook or a script."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    import pandas


def make_plan(
    suite: str | Path,
    overrides: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    *,
    smoke: bool = False,
    plugins: Sequence[str | Path] = (),
) -> pandas.DataFrame:
    """Returns the runs of a suite in their order, one row each, without running them; nothing imports torch.

    The columns are `run_id`, `config_id`, `label`, `seed`, `anchor`, and `spec.…` for each field of the config.

    Args:
        suite: its YAML file, or the name of one that ships.
        overrides: fields to change, e.g. `{"train.epochs": 5}`, as `--set` does.
        only: selections such as `label=best`, as `--only` has them.
        smoke: what the suite's `smoke` makes of it.
        plugins: files of plug-ins beside those that the suite names, as `--plugin` does.

    Raises:
        HarnessError: the suite is wrong; with file, line and a hint.
    """
    import pandas

    from harness.data.prepare import known_fingerprint
    from harness.results.frame import columns_below
    from harness.suite.plan import load_suite

    asked = load_suite(Path(suite), _assignments(overrides), smoke=smoke, plugins=plugins)
    plan = asked.plan(known_fingerprint, only=only)
    specs = {config_id: spec.model_dump(mode="json") for config_id, spec in plan.configs().items()}
    columns: dict[str, list[Any]] = {
        "run_id": [run.run_id for run in plan.runs],
        "config_id": [run.config_id for run in plan.runs],
        "label": [run.spec.label for run in plan.runs],
        "seed": [run.spec.seed for run in plan.runs],
        "anchor": [bool(run.spec.repeat) for run in plan.runs],
    }
    own = [specs[run.config_id] | {"seed": run.spec.seed, "repeat": run.spec.repeat} for run in plan.runs]
    return pandas.DataFrame(columns | columns_below({"spec.": own}))


def train_suite(
    suite: str | Path,
    overrides: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    *,
    smoke: bool = False,
    plugins: Sequence[str | Path] = (),
    output: str | Path = "results",
) -> pandas.DataFrame:
    """Trains what is open of a suite, in processes of its own as `harness run` does, and returns its table of runs.

    Progress goes to stderr. A run that fails ends no other: a warning says so, and its row has its status and cause.

    Args:
        suite, overrides, only, smoke, plugins: see `make_plan`.
        output: the results root.

    Raises:
        HarnessError: the suite is wrong, or training was stopped; the same call goes on from there.
    """
    from harness.data.prepare import fingerprint
    from harness.results.study import study_of_suite
    from harness.suite.plan import load_suite

    asked = load_suite(Path(suite), _assignments(overrides), smoke=smoke, plugins=plugins)
    call = [sys.executable, "-m", "harness", "run", str(suite), "--output", str(output), *["--smoke"] * smoke]
    for option, texts in (("--set", _assignments(overrides)), ("--only", only), ("--plugin", plugins)):
        call += [word for text in texts for word in (option, str(text))]
    done = subprocess.run(call, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 1):
        raise HarnessError(
            f"harness run ended with {done.returncode}", "its words above say why; call it again to go on"
        )
    own = study_of_suite(asked.plan(fingerprint, only=only), [Path(output)]).frame()
    if done.returncode:
        failed = own.loc[own["status"] != "ok", "label"]
        warnings.warn(f"{len(failed)} runs did not end ok: {', '.join(failed.unique())}", stacklevel=2)
    return own


def _assignments(settings: Mapping[str, Any] | None) -> list[str]:
    """Returns settings as `--set` has them; numbers may be those of NumPy."""
    import json

    if settings is not None and not isinstance(settings, Mapping):
        raise HarnessError("the settings to change are no mapping", 'e.g. {"train.epochs": 5}')
    given = settings or {}
    return [f"{path}={json.dumps(value, default=lambda one: one.item())}" for path, value in given.items()]
