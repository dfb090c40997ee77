"""The metrics of plug-ins in the results of a suite: all values of one code, computed anew where that is known here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness import registry
from harness.counted import counted
from harness.errors import HarnessError
from harness.plugin_source import Plugin
from harness.records.extra_metrics import code_of, compute, field_of, nulls
from harness.records.predictions import PREDICTIONS, read_predictions
from harness.records.result import RunResult

MOST_READ = 2000  # files of predictions that are read without being asked: a second
NOT_KEPT = "the predictions of the run were not kept"
OTHER_CODE = "it was computed by other code than in the other runs; name its file to compute it anew from predictions"


def with_extra_metrics(results: Sequence[RunResult]) -> tuple[list[RunResult], list[str]]:
    """Returns results in which each metric is by one code, and notes on what is missing.

    A metric that is known here and that a run lacks is computed from its predictions; so is one that it has by other
    code, where the suite or the call names the metric's file, or other runs have it by the code that is known. No
    record is changed. Metrics whose files are not named are computed for `MOST_READ` runs at the most. What stays of
    other code is null.

    Args:
        results: of a suite, as they were read.
    """
    known = {plugin.names[0]: plugin for plugin in registry.plugins("metric")}
    codes = {name: code_of(plugin) for name, plugin in known.items()}
    there = {(name, own.code) for run in results for name, own in run.extra_metrics.items()}
    ours = {name for name, plugin in known.items() if plugin.is_named or (name, codes[name]) in there}

    def lacks(run: RunResult, name: str) -> bool:
        own = run.extra_metrics.get(name)
        return run.status == "ok" and (own is None or (own.code != codes[name] and name in ours))

    wanted = [
        plugin
        for name, plugin in known.items()
        if plugin.is_named or sum(lacks(run, name) for run in results) <= MOST_READ
    ]
    found = [_computed(run, [plugin for plugin in wanted if lacks(run, plugin.names[0])]) for run in results]
    names = dict.fromkeys(name for run in found for name in run.extra_metrics)
    for name in names:
        found = _of_one_code(found, name, codes.get(name))
    ok = [run for run in found if run.status == "ok"]
    return found, [note for name in names for note in _notes(ok, name)]


def _computed(run: RunResult, plugins: Sequence[Plugin]) -> RunResult:
    if not plugins or run.data is None or run.folder is None:
        return run
    try:
        more, reasons = compute(plugins, *read_predictions(run.folder / PREDICTIONS), run.data.num_classes)
    except HarnessError:
        lacking = [plugin for plugin in plugins if plugin.is_named and plugin.names[0] not in run.extra_metrics]
        more, reasons = nulls(lacking, NOT_KEPT)
    return run.model_copy(update={"extra_metrics": run.extra_metrics | more, "unavailable": run.unavailable | reasons})


def _of_one_code(results: Sequence[RunResult], name: str, known: str | None) -> list[RunResult]:
    """Returns the results with one metric null where it is by other code than is known here, or than the newest's."""
    having = [run for run in results if name in run.extra_metrics]
    codes = {run.extra_metrics[name].code for run in having}
    if len(codes) == 1:
        return list(results)
    counts = known if known in codes else max(having, key=lambda run: run.ended_at).extra_metrics[name].code
    newest = next(run.extra_metrics[name] for run in having if run.extra_metrics[name].code == counts)

    def of_it(run: RunResult) -> RunResult:
        if name not in run.extra_metrics or run.extra_metrics[name].code == counts:
            return run
        extra = run.extra_metrics | {name: newest.model_copy(update={"value": None})}
        return run.model_copy(
            update={"extra_metrics": extra, "unavailable": run.unavailable | {field_of(name): OTHER_CODE}}
        )

    return [of_it(run) for run in results]


def _notes(ok: Sequence[RunResult], name: str) -> list[str]:
    values = {id(run): run.extra_metrics[name].value for run in ok if name in run.extra_metrics}
    missing = [run for run in ok if values.get(id(run)) is None]
    reasons = Counter(run.unavailable.get(field_of(name), NOT_KEPT) for run in missing)
    return [f"test_{name} is missing in {counted(count, 'run')}: {reason}." for reason, count in reasons.items()]
