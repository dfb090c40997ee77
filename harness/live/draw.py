"""How a suite's state looks, in as many columns and lines as there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from harness.live.current_run import CurrentRun, RankSeen
from harness.live.state import ConfigSoFar, SuiteState

GIB = 2**30
GAP = 2
LEAST_NAME = 12
FRONT_ROWS = 8
LEAST_BAR = 6
LEAST_FOR_RACE, LEAST_FOR_LOOK = 8, 4  # lines of room for all that is told of a race, and for its next look alone
UNKNOWN = "-"
PHASES = {"import": "imports", "data": "reads data", "start": "builds"}
# What is shown of a run, and in how many columns of the terminal at least.
RUN = {"running": 0, "epoch": 24, "loss": 30, "test": 36, "samples/s": 44, "waited": 70, "left": 60, "on": 80}
FRONT = {"   so far; ◆ on the front": 0, "test": 24, "train time": 36, "runs": 44}


def draw(states: Sequence[SuiteState], width: int, height: int, note: str = "") -> list[Text]:
    """Returns the lines that show the states: at most `height`, none wider than `width`."""
    note = note if height > 1 else ""
    room = height - bool(note)
    lines: list[Text] = []
    for number, state in enumerate(states):
        lines += _system(state, width, (room - len(lines)) // (len(states) - number))
    lines = [*lines[:room], *([Text(note, style="dim")] if note else [])]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
        line.no_wrap = True
    return lines


def _system(state: SuiteState, width: int, room: int) -> list[Text]:
    """Returns the lines of one system: the suite and its race, then the runs that go on, then the front so far."""
    lines = [_suite(state, width)]
    if state.race:
        told = state.race.lines(state.ended, width)
        shown = told if room >= LEAST_FOR_RACE else told[-1:] if room >= LEAST_FOR_LOOK else []
        lines += [Text(line) for line in shown]
    front = state.front()
    # The runs come first, but the head of the front and two of its rows are kept where there is any room.
    kept = min(len(front), 2) + 1 if front and room - len(lines) >= 5 else 0
    lines += _runs(state, width, room - len(lines) - kept)
    if front and room - len(lines) >= 2:
        lines += _front(front, width, min(room - len(lines) - 1, FRONT_ROWS))
    return lines


def _suite(state: SuiteState, width: int) -> Text:
    counts = state.counts()
    done, total = counts["done"], len(state.planned)
    bad = ", ".join(f"{count} {name}" for name, count in counts.items() if name not in ("done", "running", "open"))
    seconds = state.seconds_left()
    running = f", {counts['running']} running" if counts["running"] else ""
    left = "time left not known yet" if seconds is None else f"{about(seconds)} left" if seconds else ""
    words = Text.assemble(f"{done} of {total} done{running}", (f", {bad}" if bad else "", "red"))
    words.append(f", {left}" if left else "")
    name = Text.assemble((state.suite, "bold"), f" on {state.system}" if state.system else "")
    name.truncate(max(LEAST_NAME, width - words.cell_len - 2), overflow="ellipsis")
    room = min(40, width // 6, width - name.cell_len - words.cell_len - 4)
    share = (done + sum(run.share_done for run in state.current.values())) / max(1, total)
    bar = [_bar(share, room)] if room >= LEAST_BAR else []
    return Text("  ").join([name, *bar, words])


def _bar(share: float, width: int) -> Text:
    full = round(width * min(1.0, share))
    return Text.assemble(("━" * full, "green"), ("─" * (width - full), "dim"))


def _runs(state: SuiteState, width: int, room: int) -> list[Text]:
    """Returns a head and a line for each run, under it its ranks where they have GPUs; at most so many lines."""
    if room < 1 or not state.current:
        return []
    runs = sorted(state.current.items(), key=lambda item: item[1].name)
    if room == 1:
        return [Text(f"running: {', '.join(run.name for _, run in runs)}")]
    room -= 1
    shown = runs if len(runs) <= room else runs[: room - 1]
    hidden = len(runs) - len(shown)
    columns = RUN if any(run.where for _, run in shown) else {name: RUN[name] for name in RUN if name != "on"}
    first, *lines = _lay_out(columns, [cells(state, run_id, run) for run_id, run in shown], width)
    spare = room - len(shown) - bool(hidden)
    with_ranks = [first]
    for line, (_, run) in zip(lines, shown, strict=True):
        ranks = _ranks(run, spare // max(1, len(shown)))
        with_ranks += [line, *(Text(f"  {told}", style="dim") for told in ranks)]
    return [*with_ranks, *([Text(f"and {hidden} more", style="dim")] if hidden else [])]


def cells(state: SuiteState, run_id: str, run: CurrentRun) -> list[str]:
    """Returns what is shown of a run, in the order of `RUN`."""
    if run.current_epoch:
        epoch = f"{run.current_epoch}/{run.epochs}"
    else:
        epoch = PHASES.get(run.ranks[0].phase, "starts") if 0 in run.ranks else "starts"
    rate, wait = run.samples_per_second, run.wait_share
    accuracy = run.epoch.accuracy if run.epoch else None
    return [
        run.name,
        epoch,
        f"{run.epoch.loss:.4g}" if run.epoch else UNKNOWN,
        UNKNOWN if accuracy is None else f"{accuracy:.2%}",
        UNKNOWN if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}",
        UNKNOWN if wait is None else f"{wait:.1%}",
        about(state.seconds_left_of_run(run_id)) or UNKNOWN,
        run.where or UNKNOWN,
    ]


def _ranks(run: CurrentRun, room: int) -> list[str]:
    """Returns a line for each rank that has a GPU, or one for all of them where there is no room for each."""
    seen = {number: rank for number, rank in sorted(run.ranks.items()) if rank.device_bytes is not None}
    if not seen or room < 1:
        return []
    if len(seen) <= room:
        return [f"rank {number}: {_gpu([rank])}" for number, rank in seen.items()]
    return [f"{len(seen)} ranks: {_gpu(seen.values())}"]


def _gpu(ranks: Collection[RankSeen]) -> str:
    busy = [100 * rank.gpu_utilization for rank in ranks if rank.gpu_utilization is not None]
    used = [rank.device_bytes / GIB for rank in ranks if rank.device_bytes is not None]
    total = [rank.device_total_bytes / GIB for rank in ranks if rank.device_total_bytes is not None]
    of = f" of {_span(total, '.0f')}" if total else ""
    return ", ".join([*([f"GPU {_span(busy, '.0f')} % busy"] if busy else []), f"{_span(used, '.1f')}{of} GiB"])


def _span(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _front(front: list[ConfigSoFar], width: int, rows: int) -> list[Text]:
    table = []
    for config in front[:rows]:
        seconds = "-" if config.train_seconds is None else f"{config.train_seconds:,.4g} s"
        name = f"{'◆' if config.on_front else ' '}  {config.label}"
        table.append([name, f"{config.accuracy:.2%}", seconds, str(config.runs)])
    return _lay_out(FRONT, table, width)


def about(seconds: float | None) -> str:
    """Returns a duration as a guess is told, e.g. `about 12 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"about {seconds / 86400:.1f} days"


def _lay_out(columns: Mapping[str, int], rows: Sequence[Sequence[str]], width: int) -> list[Text]:
    """Returns the head and a line for each row: a name, which is cut where there is no room, and numbers to the right.

    Args:
        columns: the least width, in columns of the terminal, in which each is shown, by its head.
        rows: their cells; those beyond the columns are left out.
        width: in columns of the terminal.
    """
    shown = [place for place, least in enumerate(columns.values()) if width >= least]
    table = [[row[place] for place in shown] for row in (list(columns), *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    widths[0] = max(1, min(widths[0], width - sum(GAP + number for number in widths[1:])))
    lines = []
    for name, *numbers in table:
        line = Text(name)
        line.truncate(widths[0], overflow="ellipsis", pad=True)
        line.append("".join(f"{number:>{GAP + room}}" for number, room in zip(numbers, widths[1:], strict=True)))
        lines.append(line)
    lines[0].stylize("dim")
    return lines
