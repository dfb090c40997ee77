"""A plan -> its forecast: what is open, what has to be stepped, and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from harness.counted import counted, is_are
from harness.durations import duration_text
from harness.errors import HarnessError, see_doctor
from harness.forecast.alike import timing_key
from harness.forecast.ask import on_login_node, require_torch, send_to_node, step_all
from harness.forecast.elsewhere import Elsewhere
from harness.forecast.forecast import Forecast, Known, leave_out, total_of, useful_records, with_shares
from harness.launching.launch_command import Launcher
from harness.launching.manifest import Manifest
from harness.launching.run_suite import KnownRuns, environments
from harness.measure.surroundings import Surroundings
from harness.measure.system import describe_system
from harness.measure.usable_gpus import before_training
from harness.records.files import recording, require_writable, write_json
from harness.records.forecast import FORECAST_FILE
from harness.records.store import now
from harness.suite.plan import Plan, PlannedRun

GPU_WARM_UP_SECONDS = 10.0
"""As `harness.running.warm_up`, which imports torch."""


def make_forecast(
    plan: Plan,
    output: Path,
    launcher: Launcher,
    seconds: float,
    say: Callable[[str], None],
    *,
    within: float | None = None,
    price_per_hour: float | None = None,
    elsewhere: str = "",
) -> Forecast:
    """Returns the forecast of a plan's open runs on a system, and writes it beside the suite's results.

    Args:
        plan: of the suite.
        output: the results root.
        launcher: as of `harness run`.
        seconds: for stepping all configs together.
        say: is given sentences for a person.
        within: seconds in which the runs shall be done.
        price_per_hour: of the machine.
        elsewhere: another system that the forecast is for, see `Elsewhere.of`; empty for this one.

    Raises:
        HarnessError: torch is missing, nothing can be stepped, a calibration is missing, or the forecast cannot be
            written.
    """
    require_torch()
    require_writable(output / plan.suite.name)
    if on_login_node(launcher):
        say(f"this is no job of SLURM and has no GPU: the forecast is of the CPU here; {send_to_node()}")
    manifest = Manifest.of(plan, output)
    system = describe_system(use_cpu=launcher.uses_cpu())
    other = Elsewhere.of(output, system["system_id"], elsewhere) if elsewhere else None
    if other:
        system = {"system_id": other.there.system_id, "name": other.there.system}
    identified = tuple(run for run in plan.runs if run.run_id)  # of the others the data were never read here
    known_runs = KnownRuns.of(manifest.model_copy(update={"runs": identified}), system["system_id"])
    done = known_runs.done
    open_runs = [run for run in plan.runs if run.run_id not in done]
    of_another = known_runs.of_another_environment({} if other else environments(launcher, system, open_runs))
    records = useful_records(
        result for run_id, result in done.items() if run_id not in known_runs.by_other_code and run_id not in of_another
    )
    wanted: dict[str, PlannedRun] = {}
    for run in open_runs:
        if run.config_id not in records:
            wanted.setdefault(run.config_id, run)
    in_order = {config_id: wanted[config_id] for config_id in plan.configs() if config_id in wanted}
    chosen, stepped_for = _one_of_each(in_order)
    stepped, started = {}, None
    surroundings = Surroundings({os.getpid()})
    if chosen:
        for sentence in () if launcher.is_told_to_use_cpu() else before_training():
            say(sentence)
        say(f"stepping {counted(len(chosen), 'config')} for {duration_text(seconds)} in all")
        stepped, started = step_all(manifest.model_copy(update={"runs": tuple(chosen)}), launcher, seconds)
    warm_up = manifest.warm_up_seconds
    if warm_up is None:
        warm_up = 0.0 if launcher.uses_cpu() else GPU_WARM_UP_SECONDS
    known = Known(
        specs={config_id: spec for config_id, spec in plan.configs().items() if config_id in _configs_of(open_runs)},
        open_runs=open_runs,
        stepped=stepped,
        stepped_for=stepped_for,
        records=records,
        started_seconds=started,
        warm_up_seconds=warm_up if open_runs else 0.0,
    )
    notes = [_few(chosen_count=len(chosen), stepped_count=len(stepped), seconds=seconds)]
    if chosen and (used := surroundings.busy_cores()) and used > 0.5:
        notes.append(f"other processes used {used:.1f} cores meanwhile: the forecast is of the machine as it is now")
    forecast = _assemble(plan, known, system, [note for note in notes if note], within, price_per_hour, other)
    if open_runs and forecast.wall is None:
        told = next((config for config in forecast.configs if config.problem), None)
        which = f"“{told.label}”: {told.problem}" if told else ""
        raise HarnessError(f"no config could be stepped: {which}", (told and told.hint) or see_doctor())
    if open_runs:  # else the forecast of the runs that are done stays, to be shown beside what they took
        _write(forecast, output / plan.suite.name)
    return forecast


def _configs_of(runs: list[PlannedRun]) -> set[str]:
    return {run.config_id for run in runs}


def _one_of_each(runs: dict[str, PlannedRun]) -> tuple[list[PlannedRun], dict[str, str]]:
    """Returns a run of each kind that takes a time of its own, and for each config the one that is stepped for it."""
    first: dict[str, PlannedRun] = {}
    stepped_for = {}
    for config_id, run in runs.items():
        stepped_for[config_id] = first.setdefault(timing_key(run.spec), run).config_id
    return list(first.values()), stepped_for


def _few(*, chosen_count: int, stepped_count: int, seconds: float) -> str:
    if stepped_count >= chosen_count:
        return ""
    left = chosen_count - stepped_count
    return (
        f"{stepped_count} of {counted(chosen_count, 'config')} were stepped in {duration_text(seconds)}, {left} "
        f"{is_are(left)} not in the sum: give --seconds {max(1.0, seconds * chosen_count / max(1, stepped_count)):.0f}"
    )


def _assemble(
    plan: Plan,
    known: Known,
    system: dict,
    notes: list[str],
    within: float | None,
    price_per_hour: float | None,
    other: Elsewhere | None,
) -> Forecast:
    found, once = [known.config(config_id) for config_id in known.specs], known.once()
    if other:
        found, once = [other.config(own, known.specs[own.config_id]) for own in found], other.once(once)
        notes = [*notes, *other.notes()]
    configs = with_shares(found)
    timed = [config for config in configs if config.total]
    wall = total_of(timed, once) if timed else None
    joules = [config.joules for config in timed]
    by_id = {config.config_id: config.wall for config in timed}
    spans = {run.run_id: by_id.get(run.config_id) for run in known.open_runs if run.run_id}
    return Forecast(
        suite=plan.suite.name,
        system_id=system["system_id"],
        system=str(system.get("name", "")),
        made_at=now(),
        open_runs=len(known.open_runs),
        done_runs=len(plan.runs) - len(known.open_runs),
        wall=wall,
        complete=len(timed) == len(configs),
        once=once,
        joules=sum(value for value in joules if value is not None) if timed and None not in joules else None,
        price_per_hour=price_per_hour,
        cost=wall.times(price_per_hour / 3600) if wall and price_per_hour is not None else None,
        within=leave_out(within, timed, once, known.open_runs) if within is not None else None,
        configs=configs,
        runs={run_id: span for run_id, span in spans.items() if span},
        notes=notes,
    )


def _write(forecast: Forecast, folder: Path) -> None:
    with recording(folder):
        write_json(folder / FORECAST_FILE, forecast.model_dump(mode="json"))
