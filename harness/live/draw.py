"""How a suite's state looks, in as many columns and lines as there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.text import Text

from harness.live.current_run import CurrentRun, RankSeen
from harness.live.state import ConfigSoFar, SuiteState

GIB = 2**30
GAP = 2
LEAST_NAME = 12
FRONT_ROWS = 8
LEAST_BAR = 6
PHASES = {"import": "imports", "data": "reads data", "start": "builds"}


def draw(states: Sequence[SuiteState], width: int, height: int, note: str = "") -> list[Text]:
    """Returns the lines that show the states: at most `height`, none wider than `width`.

    Args:
        states: of a suite, one for each system that runs it.
        width, height: of the room, in columns and lines.
        note: a last line, say on a queue; empty for none.
    """
    note = note if height > 1 else ""
    room = height - bool(note)
    lines: list[Text] = []
    for number, state in enumerate(states):
        lines += _system(state, width, (room - len(lines)) // (len(states) - number))
    lines = [*lines[:room], *([Text(note, style="dim")] if note else [])]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap, line.end = True, ""
    return lines


def _system(state: SuiteState, width: int, room: int) -> list[Text]:
    """Returns the lines of one system: the suite, then the runs that go on, then the front so far."""
    lines = [_suite(state, width)]
    front = state.front()
    # The runs come first, but the head of the front and two of its rows are kept where there is any room.
    kept = min(len(front), 2) + 1 if front and room >= 6 else 0
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
    head = ["running", "epoch", "loss", "test", "samples/s", "waited", "left", "on"]
    rows = [[Text(word, style="dim") for word in head], *(_cells(state, run_id, run) for run_id, run in shown)]
    if not any(run.where for _, run in shown):
        rows = [row[:-1] for row in rows]
    first, *lines = _lay_out(rows, width, name=0, optional=[7, 5])
    spare = room - len(shown) - bool(hidden)
    with_ranks = [first]
    for line, (_, run) in zip(lines, shown, strict=True):
        ranks = _ranks(run, spare // max(1, len(shown)))
        with_ranks += [line, *(Text(f"  {told}", style="dim") for told in ranks)]
    return [*with_ranks, *([Text(f"and {hidden} more", style="dim")] if hidden else [])]


def _cells(state: SuiteState, run_id: str, run: CurrentRun) -> list[Text]:
    if run.current_epoch:
        epoch = f"{run.current_epoch}/{run.epochs}"
    else:
        epoch = PHASES.get(run.ranks[0].phase, "starts") if 0 in run.ranks else "starts"
    rate, wait = run.samples_per_second, run.wait_share
    accuracy = run.epoch.accuracy if run.epoch else None
    cells = [
        run.name,
        epoch,
        f"{run.epoch.loss:.4g}" if run.epoch else "-",
        "-" if accuracy is None else f"{accuracy:.2%}",
        "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}",
        "-" if wait is None else f"{wait:.1%}",
        about(state.seconds_left_of_run(run_id)) or "-",
        run.where or "-",
    ]
    return [Text(cell) for cell in cells]


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
    head = ["", "so far; ◆ on the front", "test", "train time", "runs"]
    table = [[Text(word, style="dim") for word in head]]
    for config in front[:rows]:
        seconds = "-" if config.train_seconds is None else f"{config.train_seconds:,.4g} s"
        cells = (config.label, f"{config.accuracy:.2%}", seconds, str(config.runs))
        table.append([Text("◆" if config.on_front else " ", style="green"), *map(Text, cells)])
    return _lay_out(table, width, name=1, optional=[4])


def about(seconds: float | None) -> str:
    """Returns a duration as a guess is told, e.g. `about 12 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"about {seconds / 86400:.1f} days"


def _lay_out(rows: Sequence[Sequence[Text]], width: int, *, name: int, optional: Sequence[int] = ()) -> list[Text]:
    """Returns a line for each row, never wider than there is room.

    Args:
        rows: of cells, all of one length.
        width: in columns of the terminal.
        name: the column that is aligned left and cut first; those after it are numbers, aligned right.
        optional: columns that are left out where the name would be cut below a dozen characters, in this order.
    """
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    kept = list(range(len(widths)))
    for column in (*optional, *reversed(range(name + 1, len(widths)))):
        if _room_for_name(widths, kept, name, width) >= min(widths[name], LEAST_NAME):
            break
        if column in kept:
            kept.remove(column)
    widths[name] = max(1, min(widths[name], _room_for_name(widths, kept, name, width)))
    return [_line([row[column] for column in kept], [widths[column] for column in kept], kept, name) for row in rows]


def _room_for_name(widths: list[int], kept: list[int], name: int, width: int) -> int:
    return width - sum(widths[column] + GAP for column in kept if column != name)


def _line(cells: list[Text], widths: list[int], kept: list[int], name: int) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    for place, (cell, width, column) in enumerate(zip(cells, widths, kept, strict=True)):
        cell = cell.copy()
        cell.truncate(width, overflow="ellipsis")
        space = " " * (width - cell.cell_len)
        parts = (cell, space) if column <= name else (space, cell)
        line.append(" " * GAP if place else "")
        for part in parts:
            line.append(part)
    line.rstrip()
    return line
