"""What stands under a table: what its numbers are, and what is missing from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.counted import counted, is_are
from harness.records.comparable import Mark, marks
from harness.records.result import Cause, RunResult
from harness.report.derived import guessing_notes, is_guessing, target_notes
from harness.report.fronts import front_notes
from harness.report.rows import Row, ran
from harness.report.texts import FRONT, column_texts, listed, one_line, quoted, shortened
from harness.results.all_systems import ALL_SYSTEMS
from harness.results.columns import RAN, Column
from harness.results.measured import count_statuses
from harness.spec.settings import value_at

MOST_CAUSES = 10
MOST_FILES = 3


def cautions(rows: Sequence[Row]) -> list[str]:
    """Returns what could change a decision that is taken by one system's table, the gravest first."""
    return [
        *_causes(rows),
        *_guessing(rows),
        *_skipped_files(rows),
        *_marks(rows),
        *_mixtures(rows),
        *_fallbacks(rows),
        *_not_ranked(rows),
    ]


def table_notes(rows: Sequence[Row], columns: Sequence[Column], planned: Mapping[str, str]) -> list[str]:
    """Returns what else is to be said of one system's table.

    Args:
        columns: those that may say the same of every row, and are then said here.
        planned: labels by config_id.
    """
    return [
        *_runs(rows, planned),
        *_meaning(rows),
        *_same_everywhere(rows, columns),
        *_replaced(rows),
        *_unmeasured(rows),
    ]


SELECTED_ON_TEST = (
    "Selected on test: the epoch was chosen on the test set itself, so the value is too high; do not compare it."
)


def _runs(rows: Sequence[Row], planned: Mapping[str, str]) -> Iterator[str]:
    runs = [run for row in rows for run in row.runs]
    sizes = sorted({run.num_processes for run in runs})
    processes = f" on {counted(sizes[0], 'process', 'processes')}" if len(sizes) == 1 else ""
    ended = count_statuses(run.status for run in runs)
    yield f"{counted(len(runs), 'run')} of {counted(len(rows), 'config')}{processes}: {ended}."
    here = {row.config_id for row in rows}
    missing = [quoted(label) for config_id, label in planned.items() if config_id not in here]
    if missing:
        where = "" if rows[0].system_id == ALL_SYSTEMS else " on this system"
        yield f"No result yet{where}: {listed(missing)} ({len(missing)} of {len(planned)} planned configs)."


def _meaning(rows: Sequence[Row]) -> Iterator[str]:
    if any(row.values["on_front"] for row in rows):
        yield f"{FRONT} is on the Pareto front: every more accurate config whose time counts takes longer."
    yield from front_notes(rows)
    with_numbers = [row for row in rows if row.ok]
    single = [quoted(row.label) for row in with_numbers if len(row.ok) == 1]
    if len(single) < len(with_numbers):
        yield (
            "Numbers are means over the seeds that ended ok; ± is half of the 95 % Student-t interval of the mean. "
            "Where that is more than half of the mean, the least and the largest value are shown instead."
        )
    if single:
        whose = "" if len(single) == len(with_numbers) else f" ({listed(single)})"
        yield f"No interval: one seed{whose}."
    yield from guessing_notes(rows)
    yield from target_notes(rows)


def _not_ranked(rows: Sequence[Row]) -> Iterator[str]:
    synthetic = [quoted(row.label) for row in rows if row.ok and not row.values["rankable"]]
    if synthetic:
        yield f"Not ranked, since accuracy on synthetic data means nothing: {listed(synthetic)}."


def _guessing(rows: Sequence[Row]) -> Iterator[str]:
    if told := _whose(rows, is_guessing):
        yield f"No better than guessing one class: {listed(told)}."


def _skipped_files(rows: Sequence[Row]) -> Iterator[str]:
    read = (run.data for row in rows for run in row.ok if run.data)
    found = max(read, key=lambda data: data.skipped_files, default=None)
    if found and (skipped := found.skipped_files):
        names = [one_line(name) for name in found.skipped_names[:MOST_FILES]]
        more = [f"{skipped - len(names)} more"] * (len(names) < skipped)
        which = f" ({', '.join(names + more)})" if names else ""
        yield f"{counted(skipped, 'file')} of the data could not be read and {is_are(skipped)} in no run here{which}."


def _same_everywhere(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[str]:
    """The counterpart of `build.Table.shown`, which leaves these columns out."""
    for column in columns:
        asked = next((path for name, _, path in RAN if name == column.name), None)
        mixed = asked and ", " in str(rows[0].values.get(column.name))  # which runs of each config differ in
        if same_in_all(rows, column) and rows[0].values.get(column.name) is not None and not mixed:
            asked_for = {value_at(row.runs[0].spec, asked) for row in rows} if asked else set()
            wanted = f" (asked for: {', '.join(sorted(map(str, asked_for - {None})))})" if asked_for - {None} else ""
            yield f"All runs here: {column.title} = {column_texts(column, [rows[0].values[column.name]])[0]}{wanted}."


def same_in_all(rows: Sequence[Row], column: Column) -> bool:
    """Tells whether a column of the configs, or of what ran, says the same in each row."""
    return len({str(row.values.get(column.name)) for row in rows}) == 1


def _mixtures(rows: Sequence[Row]) -> Iterator[str]:
    """A mean over runs that were not alike is still shown, but never in silence."""
    found: dict[str, list[str]] = {}
    for row in rows:
        unlike = [title for name, title, _ in RAN if isinstance(text := ran(row.ok, name), str) and ", " in text]
        if len({run.data.fingerprint for run in row.ok if run.data}) > 1:
            unlike.append("version of the data")
        if unlike:
            found.setdefault(" and ".join(unlike), []).append(quoted(row.label))
    for unlike, labels in found.items():
        of, mean = ("its runs", "the mean mixes") if len(labels) == 1 else ("their runs", "the means mix")
        yield f"{listed(labels)}: {of} differ in {unlike}; {mean} them."


def _fallbacks(rows: Sequence[Row]) -> Iterator[str]:
    """Yields why another loader ran than the one that was asked for by name."""
    reasons: Counter[tuple[str, str, str]] = Counter()
    for run in (run for row in rows for run in row.ok):
        asked, resolved = str(value_at(run.spec, "loader.name")), run.resolved
        if resolved and isinstance(why := resolved.loader_images_per_second.get(asked), str):
            reasons[asked, resolved.loader, one_line(why)] += 1
    for (asked, other, why), count in reasons.items():
        yield f"{count} run{'s' * (count > 1)}: loader {other} instead of {asked}: {why}."


def _marks(rows: Sequence[Row]) -> Iterator[str]:
    """Says of each mark which runs carry it and why; that a run was resumed alone where nothing else marks it."""
    runs = [run for row in rows for run in row.ok]
    marks_of = {id(run): marks(run) for run in runs}
    for mark, (title, what_counts) in _OF_MARKS.items():

        def is_told(run: RunResult, mark: Mark = mark) -> bool:
            own = marks_of[id(run)]
            return mark in own and (mark != "resumed" or len(own) == 1)

        if whose := _whose(rows, is_told):
            # The first words of each; `runs.csv` has all of them.
            reasons = list(dict.fromkeys(marks_of[id(run)][mark].partition("; ")[0] for run in runs if is_told(run)))
            told = "all runs here" if all(map(is_told, runs)) else listed(whose)
            summed = mark == "resumed" and rows[0].with_resumed
            what = "Their times are sums over the parts." if summed else what_counts
            more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            yield f"{title} ({one_line(reasons[0])}{more}): {told}. {what}"


_OF_MARKS: Mapping[Mark, tuple[str, str]] = {
    "packed": (
        "Packed",
        "Their times are left out, and the readings of the shared device; for clean times run the suite "
        "without --pack and with another --output.",
    ),
    "disturbed": (
        "Disturbed",
        "Their times are left out; `harness run SUITE --retake N` trains them again, up to N times each.",
    ),
    "elsewhere": (
        "Run elsewhere",
        "Their times are left out: they were not interleaved with the other runs here.",
    ),
    "environment": (
        "Another environment than most runs",
        "Their times are left out; for times that count set them as in the other runs, and use another --output.",
    ),
    "resumed": ("Resumed from a checkpoint", "Their times are left out; --with-resumed includes them."),
}


def _replaced(rows: Sequence[Row]) -> Iterator[str]:
    if told := _whose(rows, lambda run: run.replaced > 0):
        count = sum(run.replaced for row in rows for run in row.ok)
        earlier = f"{counted(count, 'earlier record')} of them {is_are(count)} kept in `replaced/`"
        yield f"Trained again: {listed(told)}. {earlier} beside the run's own, and left out here."


def _whose(rows: Sequence[Row], is_told: Callable[[RunResult], bool]) -> list[str]:
    """Returns e.g. `2 of 3 runs of a` for each row that has such runs."""
    counts = [(row, sum(map(is_told, row.ok))) for row in rows]
    return [f"{count} of {counted(len(row.ok), 'run')} of {quoted(row.label)}" for row, count in counts if count]


def _unmeasured(rows: Sequence[Row]) -> Iterator[str]:
    reasons: dict[str, dict[str, None]] = {}
    for name, reason in (pair for row in rows for run in row.ok for pair in run.unavailable.items()):
        if name != "calibration":  # of earlier records: it is not the run that knows
            reasons.setdefault(one_line(reason), {})[name] = None
    for reason, names in reasons.items():
        yield f"Not measured: {listed(list(names))} ({reason})."


def _causes(rows: Sequence[Row]) -> Iterator[str]:
    """What ended without a result; runs of a config that ended alike share a line."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for run in (run for run in row.runs if run.status != "ok"):
            alike.setdefault((quoted(row.label), run.status, _why(run.cause)), []).append(str(run.seed))
    for (label, status, why), seeds in list(alike.items())[:MOST_CAUSES]:
        yield f"{label}, seed{'s' * (len(seeds) > 1)} {listed(seeds)}: {status}, {why}."
    if more := sum(map(len, list(alike.values())[MOST_CAUSES:])):
        yield f"{more} more runs without a result; `harness status` lists them."


def _why(cause: Cause | None) -> str:
    if cause is None:
        return "no cause recorded"
    where = [f"{name} {value}" for name, value in (("rank", cause.rank), ("step", cause.step)) if value is not None]
    message = cause.message.replace("\nhint: ", "; hint: ")
    why = shortened(one_line(f"{cause.kind}: {message}").rstrip("."), 200)
    return f"{why} ({', '.join(where)})" if where else why
