"""The verbs, one a file: each parses, calls one function, prints. Data go to stdout, everything else to stderr."""

from __future__ import annotations

import sys

# isort: off
# The order of `harness --help`.
from harness.cli import init, list_, plan, run, submit, status, report, compare  # noqa: F401
from harness.cli import visualize, track, calibrate, doctor, schema  # noqa: F401

# isort: on
from harness.cli.app import app, guard_stdout, keep_streams
from harness.cli.home import require_home
from harness.errors import HarnessError


def main(arguments: list[str] | None = None) -> None:
    """Runs a verb and exits: 0 all well, 1 some runs failed, 2 bad input, 75 stopped."""
    keep_streams()
    guard_stdout()
    try:
        require_home()
        try:
            app(args=arguments, prog_name="harness")
        except SystemExit:
            sys.stdout.flush()  # here, where an error has its sentence
            raise
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("stopped: finished runs are kept, the same command goes on from here\n")
        sys.exit(75)
