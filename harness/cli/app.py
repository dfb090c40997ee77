"""What the verbs share: the application they belong to, planning, and where words go."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.records.read import SuiteResults
    from harness.report.options import Options
    from harness.report.tables import Report
    from harness.scheduling.accelerate_settings import Asked
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


def plan_of(
    suite: Path,
    overrides: list[str] | None,
    only: list[str] | None,
    smoke: bool,
    config_file: Path | None,
    num_processes: int | None = None,
    *,
    asked: Asked | None = None,
    read_data: bool = True,
) -> Plan:
    """Returns the plan of a suite as the options of a verb ask for it.

    Args:
        suite: its file.
        overrides, only, smoke, config_file: see `harness.cli.options`.
        num_processes: of configs that name none; None for the config file's, or one.
        asked: by a launcher; None for what the config file asks for.
        read_data: read data files whose content is not known yet, however large they are; else the ids of their runs
            may be left empty.
    """
    from harness.data.prepare import known_fingerprint
    from harness.suite.plan import load_suite

    if config_file:
        from harness.scheduling.accelerate_settings import of_config
        from harness.scheduling.commands import Launcher

        num_processes = num_processes or Launcher(config_file).num_processes()
        asked = asked or of_config(config_file)
    loaded = load_suite(suite, overrides or (), smoke=smoke)
    if asked:
        loaded = dataclasses.replace(loaded, launched=asked.settings)
    return loaded.plan(
        _identify_data if read_data else known_fingerprint, num_processes=num_processes or 1, only=only or ()
    )


def _identify_data(section: DataSection) -> str:
    """Returns the identity of the data's content, and says so where files have to be read for it."""
    from harness.data.prepare import fingerprint, known_fingerprint

    if not known_fingerprint(section) and os.environ.get("RANK", "0") == "0":
        where = getattr(section, "root", None) or section.name
        stderr().print(
            f"reading all files of {where}: their content is part of each run's identity", markup=False, soft_wrap=True
        )
    return fingerprint(section)


def plans_with(
    suite: Path,
    overrides: list[str] | None,
    only: list[str] | None,
    smoke: bool,
    config_file: Path | None,
    output: Path,
) -> tuple[list[Plan], SuiteResults]:
    """Returns the plan of a suite, and that for each other world size it has results of; and all its results."""
    from harness.records.planned import count_planned
    from harness.records.read import read_suite

    first = plan_of(suite, overrides, only, smoke, config_file)
    planned_for = first.runs[0].spec.train.num_processes
    stored = read_suite(output, first.suite.name)
    sizes = {result.num_processes for result in stored.results} - {planned_for}
    others = [plan_of(suite, overrides, only, smoke, config_file, num_processes=size) for size in sorted(sizes)]
    plans = [first, *others]
    run_ids = {run.run_id for plan in plans for run in plan.runs}
    return plans, count_planned(stored, output, first.suite.name, run_ids)


def show_report(
    plans: list[Plan],
    stored: SuiteResults,
    output: Path,
    options: Options,
    *,
    json_wanted: bool = False,
    page_wanted: bool = False,
) -> Report:
    """Prints the tables of a suite, writes them, and returns them."""
    from harness.report.of_suite import report_suite

    return report_suite(plans, stored, output, stderr(), options, json_wanted=json_wanted, page_wanted=page_wanted)


def stderr() -> Console:
    """Returns a console for what a person reads."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


class _Kept:
    """A stream of which the caller never hears that it cannot be written.

    The terminal was closed, the log's disk is full, who read the pipe has gone: no reason to end a training, or to
    leave with another exit code.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream was closed
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def keep_streams() -> None:
    """Makes this process go on whatever becomes of its stderr, and of the terminal that its stdout is."""
    if sys.stderr is None:  # it was closed from the beginning, and the next file would take its place
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 2:
            os.dup2(null, 2)
        sys.stderr = os.fdopen(2, "w")
    if not isinstance(sys.stderr, _Kept):
        sys.stderr = cast(TextIO, _Kept(sys.stderr))
    # A pipe or a file that cannot be written is an error: data are lost. A terminal that was closed has no reader.
    if sys.stdout is not None and not isinstance(sys.stdout, _Kept) and sys.stdout.isatty():
        sys.stdout = cast(TextIO, _Kept(sys.stdout))


class _Data:
    """A stdout of which one sentence says that it cannot be written.

    That a reader has gone, as in `harness plan ... | head`, is no error: nobody is written to, the exit code is the
    verb's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed: HarnessError | None = None

    def write(self, text: str) -> int:
        if self._failed:  # who wrote before may have taken the error for another
            raise self._failed
        with self._writing():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        with self._writing():
            self._stream.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError, ValueError):  # what is left in its buffer is written when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError):
                hint = "free space on its disk, or send stdout elsewhere"
                self._failed = HarnessError(f"cannot write to stdout: {error.strerror or error}", hint)
                raise self._failed from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_stdout() -> None:
    """Makes a stdout that cannot be written an error that `main` prints. One that is closed takes everything."""
    if sys.stdout is None:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 1:
            os.dup2(null, 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if not isinstance(sys.stdout, _Data):
        sys.stdout = cast(TextIO, _Data(sys.stdout))


def print_text(text: str) -> None:
    """Prints data, to stdout."""
    with contextlib.suppress(ValueError):  # a closed stdout
        sys.stdout.write(text + "\n")


def print_json(value: Any) -> None:
    """Prints plain values, to stdout."""
    print_text(json.dumps(value, indent=1))
