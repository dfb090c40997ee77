"""The verbs: each parses, calls one function, prints. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.records.store import SuiteResults
    from harness.suite import Plan

app = typer.Typer(
    help="Train every architecture x configuration of a suite and compare run time against accuracy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SuitePath = Annotated[Path, typer.Argument(metavar="SUITE", help="The suite's YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="The last word on a field, e.g. train.epochs=5.")
]
Selections = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATH=VALUE", help="Runs that match, e.g. label=best. Several: all; one path: any."),
]
Small = Annotated[bool, typer.Option("--smoke", help="What the suite's 'smoke' makes of it: a minute on a CPU.")]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="The results root.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config_file", metavar="FILE", help="An Accelerate config, e.g. of launch/.")
]
RESULTS = Path("results")


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="suites, architectures, datasets, loaders, optimizers, schedules")] = "",
    name: Annotated[str, typer.Argument(help="One of them, to see its parameters.")] = "",
    as_json: AsJson = False,
) -> None:
    """List what there is: suites, architectures, datasets, loaders, optimizers, schedules."""
    from harness.catalogue import catalogue, describe

    found = describe(kind, name) if name else catalogue(kind)
    _print_data(found.kinds) if as_json else _print(found.text())


@app.command()
def plan(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the runs of a suite in their order, without running them."""
    planned = _plan(suite, set_, only, smoke, config_file)
    rows = [
        {"run_id": run.run_id, "config_id": run.config_id, "seed": run.spec.seed, "label": run.spec.label}
        for run in planned.runs
    ]
    if as_json:
        specs = (run.spec.model_dump(mode="json") for run in planned.runs)
        _print_data([{**row, "spec": spec} for row, spec in zip(rows, specs, strict=True)])
        return
    configs, seeds = len({row["config_id"] for row in rows}), len({row["seed"] for row in rows})
    counts = ((len(rows), "run"), (configs, "config"), (seeds, "seed"))
    runs, *of = (f"{count} {name}{'s' * (count != 1)}" for count, name in counts)
    sys.stderr.write(f"{runs}: {', '.join(of)}\n")
    _print("\n".join(["run_id        seed  label", *(f"{r['run_id']}  {r['seed']:<4}  {r['label']}" for r in rows)]))


@app.command()
def run(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    isolate: Annotated[bool, typer.Option("--isolate", help="A fresh process for each run.")] = False,
    sort: Annotated[str, typer.Option("--sort", metavar="COLUMN", help="What the table is sorted by.")] = "",
) -> None:
    """Run what is open of a suite, then show and write its tables."""
    gc.enable()  # a long life, unlike the other verbs'
    from harness.records.files import require_writable
    from harness.records.store import read_suite
    from harness.scheduling.launch import launch_folder

    console = _stderr()
    folder = launch_folder()
    if folder:
        from harness.scheduling.launch import Manifest, refuse
        from harness.worker import STOPPED, work

        try:
            code = work(Manifest.read(folder), folder, console)
            raise typer.Exit(0 if code == STOPPED else code)  # the supervisor knows; a launcher would print a traceback
        except HarnessError as error:
            refuse(folder, error)  # the supervisor prints it, once for all ranks
            raise typer.Exit(0) from None
    if _under_a_launcher():
        from harness.worker import work_unsupervised

        planned = _plan(suite, set_, only, smoke, None, num_processes=int(os.environ.get("WORLD_SIZE", "1")))
        code = work_unsupervised(planned, output, console)
        if int(os.environ.get("RANK", "0")):
            raise typer.Exit(code)
    else:
        from harness.scheduling.commands import Launcher
        from harness.scheduling.launch import Manifest
        from harness.scheduling.supervisor import Supervisor

        planned = _plan(suite, set_, only, smoke, config_file)
        require_writable(output / planned.suite.name)
        launcher = Launcher(config_file)
        arguments = [str(suite), "--output", str(output)]
        supervisor = Supervisor(Manifest.of(planned, output), launcher, arguments, console)
        code = supervisor.run(isolate=isolate)
    if code in (0, 1):
        _report([planned], read_suite(output, planned.suite.name), output, sort)
    raise typer.Exit(code)


@app.command()
def status(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Tell which runs of a suite are done, failed or open, on every system that ran them."""
    from harness.scheduling.status import suite_status

    found = suite_status(_plan(suite, set_, only, smoke, config_file), output)
    _print_data(found.as_json()) if as_json else _print(found.text())


@app.command()
def report(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Output = RESULTS,
    config_file: ConfigFile = None,
    sort: Annotated[str, typer.Option("--sort", metavar="COLUMN", help="What the table is sorted by.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the table of a suite's results and write it with its chart beside them."""
    from harness.records.store import read_suite

    first = _plan(suite, set_, only, smoke, config_file)
    stored = read_suite(output, first.suite.name)
    planned_for = first.runs[0].spec.train.num_processes
    sizes = {result.num_processes for result in stored.results} - {planned_for}
    others = [_plan(suite, set_, only, smoke, None, num_processes=size) for size in sorted(sizes)]
    _report([first, *others], stored, output, sort, json_wanted=as_json)


@app.command()
def visualize(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or ids as `plan` shows them.")],
    what: Annotated[list[str], typer.Option("--what", metavar="PICTURE", help="See `harness list pictures`.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the picture, or a path such as data.root."),
    ] = None,
    output: Output = RESULTS,
) -> None:
    """Draw pictures of trained networks into the folders of their runs: filters, feature maps, curves, ..."""
    from harness.visualize.draw import draw

    for path in draw(runs, what, set_ or (), output, _stderr()):
        _print(str(path))


@app.command()
def schema(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to write it; stdout by default.")] = None,
) -> None:
    """Write the JSON schema of suite files, for editors."""
    from harness.records.files import write_json
    from harness.schema import suite_schema

    if file is None:
        _print_data(suite_schema())
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, suite_schema())
    except OSError as error:
        raise HarnessError(f"cannot write {file}: {error.strerror}", "name a file that can be written") from None


def main(arguments: list[str] | None = None) -> None:
    """Runs a verb and exits: 0 all well, 1 some runs failed, 2 bad input, 75 stopped."""
    try:
        app(args=arguments, prog_name="harness")
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except BrokenPipeError:  # `harness plan ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.stderr.write("stopped: finished runs are kept, the same command goes on from here\n")
        sys.exit(75)


def _plan(
    suite: Path,
    overrides: list[str] | None,
    only: list[str] | None,
    smoke: bool,
    config_file: Path | None,
    num_processes: int | None = None,
) -> Plan:
    from harness.data.prepare import fingerprint
    from harness.suite import load_suite

    if config_file:
        from harness.scheduling.commands import Launcher

        num_processes = Launcher(config_file).num_processes()
    return load_suite(suite, overrides or (), smoke=smoke).plan(
        fingerprint, num_processes=num_processes or 1, only=only or ()
    )


def _report(plans: list[Plan], stored: SuiteResults, output: Path, sort: str, *, json_wanted: bool = False) -> None:
    from harness.report.of_suite import report_suite

    report_suite(plans, stored, output, sort, _stderr(), json_wanted=json_wanted)


def _under_a_launcher() -> bool:
    """Tells whether `accelerate launch` or `torchrun` started this process."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_RANK" in os.environ


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _print(text: str) -> None:
    with contextlib.suppress(ValueError):  # a closed stdout
        sys.stdout.write(text + "\n")


def _print_data(value: Any) -> None:
    _print(json.dumps(value, indent=1))
