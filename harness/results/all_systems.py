"""A suite whose runs ran on several systems: accuracies of all of them together, as no accuracy is a system's."""

from __future__ import annotations

import dataclasses

from harness.records.result import FINAL, SPLITS, RunResult
from harness.results.answers import chosen_runs
from harness.results.measured import measured_configs
from harness.results.study import Study

ALL_SYSTEMS = "all"
"""Stands for a system's id where runs of several stand together."""
_OF_A_SYSTEM = (
    *("clock", "throughput", "inference", "memory", "energy", "telemetry", "disturbance", "disturbed", "target"),
    *("packed", "replaced", "resumed_at_steps", "elsewhere", "usual_environment", "unavailable"),
)
"""Fields of a run that say something of its system, or of its times."""


def on_all_systems(study: Study) -> Study | None:
    """Returns the suite with one run of each config and seed, without times and memory; None for runs of one system.

    Of a seed that ran on several systems it is the run that `harness compare` takes: see `chosen_runs`. A race is of
    one system.
    """
    runs = [run for run in study.results if not run.is_anchor]
    if len({run.system_id for run in runs}) < 2 or study.race:
        return None
    configs = measured_configs(study.name, study.labels, runs, study.root)
    chosen = {
        (config.config_id, seed): run.system_id
        for config, own in zip(configs, chosen_runs(configs, "accuracy"), strict=True)
        for seed, run in own.items()
    }
    one: dict[tuple[str, int], RunResult] = {}
    for run in sorted(runs, key=lambda run: (run.status == "ok", run.status in FINAL, run.ended_at)):
        if run.system_id == chosen.get((run.config_id, run.seed), run.system_id):
            one[run.config_id, run.seed] = run
    count = len({run.system_id for run in one.values()})
    if count < 2:
        return None
    unknown = {name: RunResult.model_fields[name].get_default(call_default_factory=True) for name in _OF_A_SYSTEM}
    return dataclasses.replace(
        _asking(study, of_systems=False),
        results=[run.model_copy(update={**unknown, "system_id": ALL_SYSTEMS}) for run in one.values()],
        systems={ALL_SYSTEMS: {"name": f"{count} systems"}},
    )


def with_published_of_systems(study: Study) -> Study:
    """Returns the suite with those published numbers alone that are a system's: the table of all has the others."""
    return _asking(study, of_systems=True)


def _asking(study: Study, *, of_systems: bool) -> Study:
    wanted = [one for one in study.question.references if (one.metric.partition(".")[0] not in SPLITS) == of_systems]
    return dataclasses.replace(study, question=study.question.model_copy(update={"references": wanted}))
