"""The verbs, one a file: each parses, calls one function, prints. Data go to stdout, everything else to stderr."""

from __future__ import annotations

import sys

import typer

# isort: off
# The order of `harness --help`.
from harness.cli import init, list_, plan, run, submit, status, report, compare  # noqa: F401
from harness.cli import infer, visualize, reproduce, track, calibrate, doctor, schema, check_plugin  # noqa: F401

# isort: on
from harness.cli.app import app
from harness.cli.home import require_home
from harness.cli.refusing import UsageError, refuse
from harness.errors import HarnessError
from harness.streams import guard_streams


def main(arguments: list[str] | None = None) -> None:
    """Runs a verb and exits: 0 all well, 1 some runs failed, 2 bad input, 75 stopped."""
    guard_streams()
    try:
        require_home()
        code = app(args=arguments, prog_name="harness", standalone_mode=False)
        sys.stdout.flush()  # here, where an error has its sentence
        sys.exit(code if isinstance(code, int) else 0)
    except UsageError as error:
        refuse(error.show)
    except HarnessError as error:
        text = f"error: {error}\n"
        refuse(lambda: sys.stderr.write(text))
    except typer.Abort:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped: finished runs are kept; the same command resumes\n")
        sys.exit(75)
