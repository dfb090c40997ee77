"""A forecast as people read it: the sum first, then a table of the configs, then what to know of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from harness.counted import counted, is_are
from harness.durations import duration_text, rounded_text
from harness.forecast.forecast import ConfigForecast, Forecast, LeaveOut

GAP = 2
LEAST_LABEL = 12
GIB, MIB = 2**30, 2**20
HEADS = ("config", "runs", "step", "epoch", "train", "all runs", "share", "memory")


def forecast_text(forecast: Forecast, width: int) -> str:
    """Returns the forecast in lines of at most `width` columns."""
    lines = [_sum(forecast)]
    if forecast.configs:
        lines += ["", *_table(forecast.configs, width), ""]
    lines += _notes(forecast)
    return "\n".join(line for text in lines for line in (_wrapped(text, width) if len(text) > width else [text]))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False)


def _sum(forecast: Forecast) -> str:
    runs, done = counted(forecast.open_runs, "open run"), forecast.done_runs
    skipped = f"; {done} {is_are(done)} done" if done else ""
    if forecast.wall is None:
        return f"{forecast.suite}: nothing to run: {counted(done, 'run')} {is_are(done)} done on {forecast.system}"
    least = "" if forecast.complete else "more than "
    counts = sum(config.open_runs for config in forecast.configs if config.total)
    of = runs if forecast.complete else f"{counts} of {runs}"
    return f"{forecast.suite} on {forecast.system}: {least}about {forecast.wall.text()} for {of}{skipped}"


def _table(configs: Sequence[ConfigForecast], width: int) -> list[str]:
    rows = [HEADS, *(_cells(config) for config in configs)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], max(LEAST_LABEL, width - sum(GAP + number for number in widths[1:])))
    lines = []
    for label, *numbers in rows:
        cut = label if cell_len(label) <= widths[0] else set_cell_size(label, widths[0] - 1) + "…"
        cells = (f"{number:>{GAP + room}}" for number, room in zip(numbers, widths[1:], strict=True))
        lines.append(set_cell_size(cut, widths[0]) + "".join(cells))
    return [lines[0], "─" * max(map(cell_len, lines)), *lines[1:]]


def _cells(config: ConfigForecast) -> tuple[str, ...]:
    return (
        config.label,
        str(config.open_runs),
        _step(config.step_seconds),
        _step(config.epoch_seconds),
        rounded_text(config.train.seconds) if config.train else "-",
        rounded_text(config.total.seconds) if config.total else "-",
        "-" if config.share is None else f"{config.share:.0%}",
        _bytes(config.peak_bytes),
    )


def _step(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.3g} ms" if seconds < 0.95 else rounded_text(seconds)


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    return f"{count / MIB:.0f} MiB" if count < GIB else f"{count / GIB:.1f} GiB"


def _notes(forecast: Forecast) -> Iterator[str]:
    for config in forecast.configs:
        if config.problem:
            yield f"“{config.label}”: {config.problem}"
    yield from forecast.notes
    if forecast.within:
        yield from _within(forecast.within, complete=forecast.complete)
    if memory := _memory(forecast.configs):
        yield memory
    if forecast.joules is not None:
        yield f"energy of the GPU over the train time: {forecast.joules / 3.6e6:.3g} kWh"
    if forecast.cost is not None:
        ends = "" if forecast.cost.low is None else f" ({forecast.cost.low:.2f} to {forecast.cost.high:.2f})"
        yield f"at {forecast.price_per_hour:g} an hour: {forecast.cost.seconds:.2f}{ends}"
    measured = [config.label for config in forecast.configs if config.source == "records"]
    if measured:
        yield f"by the records of their own runs, and not stepped: {_quoted(measured)}"
    alike = [f"“{config.label}” as “{config.stepped_as}”" for config in forecast.configs if config.stepped_as]
    if alike:
        yield f"take as long as one that was stepped: {', '.join(alike)}"
    if forecast.wall:
        once = f"; beside them {duration} once: starting, reading the data" if (duration := _once(forecast)) else ""
        yield f"train: of one run; all runs: with evaluation and building{once}; {forecast.covers}"


def _once(forecast: Forecast) -> str:
    """Returns what the sum has beyond the table; empty where that is less than a hundredth of it."""
    seconds = forecast.once.seconds
    return rounded_text(seconds) if forecast.wall and seconds > 0.01 * forecast.wall.seconds else ""


def _memory(configs: Sequence[ConfigForecast]) -> str:
    known = [config for config in configs if config.peak_bytes is not None]
    if not known:
        return ""
    most = max(known, key=lambda config: config.peak_bytes or 0)
    of = f" of {_bytes(most.device_bytes)}" if most.device_bytes else ""
    too_large = [config.label for config in configs if config.problem.startswith("out of memory")]
    fits = f"; does not fit: {_quoted(too_large)}" if too_large else ": it fits" if of else ""
    return f"most memory: “{most.label}”, {_bytes(most.peak_bytes)}{of}{fits}"


def _within(within: LeaveOut, *, complete: bool) -> Iterator[str]:
    of = "" if complete else ", of the runs with a forecast alone"
    wanted = f"within {duration_text(within.seconds)}{of}"
    if within.fits or within.fits is None:
        yield f"{wanted}: all of it, also at the high end of the interval"
        return
    ways = []
    if within.seeds and within.with_seeds:
        seeds = " ".join(f"--only seed={seed}" for seed in within.seeds)
        ways.append(f"{seeds}: {within.with_seeds.text()}")
    if within.configs and within.without_configs:
        ways.append(f"leave out {_quoted(within.configs)}: {within.without_configs.text()}")
    yield f"{wanted}: {'; or '.join(ways) if ways else 'not even one config or one seed'}"


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"“{label}”" for label in labels)
