"""`harness plan`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.app import RESULTS, app, plan_of, print_json, print_text, stderr
from harness.cli.options import (
    AsJson,
    ConfigFile,
    Output,
    Overrides,
    Plugins,
    Selections,
    Small,
    SuitePath,
    text_option,
)
from harness.counted import counted
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.data.source import DataSource
    from harness.suite.plan import Plan, PlannedRun

SECONDS = 60.0


@app.command()
def plan(
    suite: SuitePath,
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    config_file: ConfigFile = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Step each config for some seconds: how long will the open runs take?")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="For stepping all configs; by default 60.")
    ] = None,
    within: Annotated[
        str, text_option("--within", metavar="TIME", help="Say what to leave out to be done in time, e.g. 8h.")
    ] = "",
    price_per_hour: Annotated[
        float | None, typer.Option("--price-per-hour", min=0.0, help="Of this machine, for the cost.")
    ] = None,
    system: Annotated[
        str,
        text_option("--system", metavar="ID", help="Forecast for another calibrated system: its id, or a path."),
    ] = "",
    output: Output = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show the runs of a suite in their order, without running them; --forecast says how long they will take."""
    from harness.data.prepare import absent, known_fingerprint, read_by

    limit = _limit(within)
    alone = _given(seconds=seconds, within=limit, price_per_hour=price_per_hour, system=system or None)
    if alone and not forecast:
        raise HarnessError(f"--{alone} belongs to a forecast", f"harness plan {suite} --forecast --{alone} ...")
    if forecast:
        _refuse_launcher(suite)
    planned = plan_of(suite, set_, only, smoke, config_file, plugins=plugin, fingerprint=known_fingerprint)
    if forecast:
        _forecast(planned, output, config_file, seconds or SECONDS, limit, price_per_hour, system, as_json)
        return
    runs = planned.runs
    lacking = {key: _lacking(source, suite) for key, source in absent(run.spec.data for run in runs).items()}
    if as_json:
        print_json([_row(run) | {"missing_data": lacking.get(read_by(run.spec.data))} for run in runs])
        return
    of = [
        counted(len({run.config_id for run in runs}), "config"),
        counted(len({run.spec.seed for run in runs}), "seed"),
    ]
    if anchors := sum(run.spec.repeat > 0 for run in runs):
        of.append(counted(anchors, "anchor"))
    if race := planned.race:
        least, most = race.runs()
        many = f"{least:,} runs if the first look decides, {most:,} at most"
        sys.stderr.write(f"{race.text()}: {many}; race {race.race_id}\n")
    sys.stderr.write(f"{counted(len(runs), 'run')}: {', '.join(of)}\n")
    if any(not run.run_id for run in runs):
        sys.stderr.write("empty run ids depend on large data files that only `harness run` reads\n")
    for note in (*dict.fromkeys(lacking.values()), *planned.suite.variations.notes()):
        sys.stderr.write(f"{note}\n")
    rows = (f"{run.run_id:<12}  {run.spec.seed:<4}  {run.spec.label}{run.which_anchor}" for run in runs)
    print_text("\n".join(["run_id        seed  label", *rows]))


def _lacking(source: DataSource, suite: Path) -> str:
    assert source.archive
    return source.archive.lacking(f"harness run {shlex.quote(str(suite))}{'' if source.download else ' --download'}")


def _row(run: PlannedRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "config_id": run.config_id,
        "seed": run.spec.seed,
        "label": run.spec.label,
        "anchor": bool(run.spec.repeat),
        "spec": run.spec.model_dump(mode="json"),
    }


def _forecast(
    planned: Plan,
    output: Path,
    config_file: Path | None,
    seconds: float,
    within: float | None,
    price_per_hour: float | None,
    system: str,
    as_json: bool,
) -> None:
    """Makes, writes and prints a forecast."""
    from harness.forecast.make import make_forecast
    from harness.forecast.show import forecast_text
    from harness.launching.launch_command import Launcher
    from harness.records.forecast import FORECAST_FILE
    from harness.results.race import without_needless_runs

    console = stderr()

    def say(sentence: str) -> None:
        console.print(sentence, markup=False, soft_wrap=True)

    if planned.race:
        planned = without_needless_runs(planned, output)
        say("a race: the forecast is of all runs that it may still make, which is the most that it can take")
    options = {"within": within, "price_per_hour": price_per_hour, "elsewhere": system}
    made = make_forecast(planned, output, Launcher(config_file), seconds, say, **options)
    print_json(made.model_dump(mode="json")) if as_json else print_text(forecast_text(made, console.width))
    if made.open_runs:
        say(f"written to {output / planned.suite.name / FORECAST_FILE}")


def _limit(within: str) -> float | None:
    from harness.durations import HINT, parse_duration

    try:
        return parse_duration(within) if within else None
    except ValueError:
        raise HarnessError(f"--within {within} is no duration", HINT) from None


def _given(**options: float | str | None) -> str:
    """Returns the first option that was given, as people write it; empty for none."""
    return next((name.replace("_", "-") for name, value in options.items() if value is not None), "")


def _refuse_launcher(suite: Path) -> None:
    from harness.launching.accelerate_settings import under_a_launcher

    if under_a_launcher():
        message = "--forecast starts a process itself, and a launcher has started this one"
        raise HarnessError(message, f"harness plan {suite} --forecast")
