"""What the verbs share: the application they belong to, planning, and where words go."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import __version__
from harness.paths import SUITES, hides_shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from harness.launching.accelerate_settings import LauncherSettings
    from harness.spec import DataSection
    from harness.suite.plan import Plan

app = typer.Typer(
    help="Train every architecture x configuration of a suite and compare run time against accuracy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
RESULTS = Path("results")


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def plan_of(
    suite: Path,
    overrides: list[str] | None,
    only: list[str] | None,
    smoke: bool,
    config_file: Path | None,
    num_processes: int | None = None,
    *,
    plugins: list[Path] | None = None,
    asked: LauncherSettings | None = None,
    fingerprint: Callable[[DataSection], str] | None = None,
) -> Plan:
    """Returns the plan of a suite as the options of a verb ask for it.

    Args:
        suite: its file, or the name of one that ships.
        overrides, only, smoke, config_file: see `harness.cli.options`.
        num_processes: of configs that name none; None for the config file's, or one.
        plugins: files of plug-ins, beside those that the suite names.
        asked: by a launcher; None for what the config file asks for.
        fingerprint: gives the identity of the data's content; by default data files are read whose content is not
            known yet, however large they are.
    """
    from harness.errors import HarnessError
    from harness.suite.plan import load_suite
    from harness.suite.yaml_lines import SuiteError

    if config_file:
        from harness.launching.accelerate_settings import of_config
        from harness.launching.launch_command import Launcher

        num_processes = num_processes or Launcher(config_file).num_processes()
        asked = asked or of_config(config_file)
    fingerprint, processes = fingerprint or identify_data, num_processes or 1
    tell_what_counts(suite)
    own = load_suite(suite, overrides or (), smoke=smoke, plugins=plugins or ())
    if not asked or not asked.settings:
        return own.plan(fingerprint, num_processes=processes, only=only or ())
    try:
        launched = dataclasses.replace(own, launched=asked.settings)
        return launched.plan(fingerprint, num_processes=processes, only=only or ())
    except SuiteError as error:
        own.configs(processes)  # where the suite is wrong by itself, it says so with its line
        said = ", ".join(f"{path}={value}" for path, value in asked.settings.items())
        what = re.sub(r"^.*?:\d+: ", "", error.message)
        raise HarnessError(f"{asked.source} sets {said}: {what}", error.hint) from None


@functools.cache
def tell_what_counts(suite: Path) -> None:
    """Says, once for all ranks, where a name stands for a file here and is that of a suite that ships, too."""
    if os.environ.get("RANK", "0") == "0" and (sentence := hides_shipped(suite, SUITES)):
        stderr().print(sentence, markup=False, soft_wrap=True)


def require_all_of_race(plan: Plan, suite: Path, only: Sequence[str] | None, verb: str) -> None:
    """Refuses to begin or go on with a part of a race."""
    from harness.errors import HarnessError

    if only and plan.suite.is_race:
        message = "--only leaves configs or seeds out of a race, which fixes them all before its first run"
        raise HarnessError(message, f"harness {verb} {suite}, or add --set seeds=3 for a fixed number of seeds")


def identify_data(section: DataSection) -> str:
    """Returns the identity of the data's content, and says so where files have to be read for it."""
    from harness.data.prepare import fingerprint

    def on_reading() -> None:
        where = getattr(section, "root", None) or section.name
        stderr().print(
            f"reading all files of {where}: their content is part of each run's identity", markup=False, soft_wrap=True
        )

    return fingerprint(section, on_reading)


def stderr() -> Console:
    """Returns a console for what a person reads."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_text(text: str) -> None:
    """Prints data, to stdout."""
    with contextlib.suppress(ValueError):  # a closed stdout
        sys.stdout.write(text + "\n")


def print_json(value: Any) -> None:
    """Prints plain values, to stdout."""
    print_text(json.dumps(value, indent=1))
