"""The report as one page: a file that opens from disk, asks no network, and says first what to take.

The template shows in its order what `suite_page` gathers of a suite's report; a policy lets nothing else in.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib.resources
import json
import math
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from harness.counted import counted
from harness.records.files import recording, require_writable, write_atomically
from harness.report.budgets import budget_rows, budgets, latency_rows
from harness.report.charts.chart import Chart, coloured
from harness.report.charts.drawing import vega_script
from harness.report.charts.of_report import chart_name, stems
from harness.report.charts.theme import PALETTE, css, on_page
from harness.report.pictures import MOST_BYTES, gallery
from harness.report.rows import Row
from harness.report.tables import Report, Table
from harness.report.texts import one_line
from harness.results.all_systems import ALL_SYSTEMS
from harness.results.columns import number
from harness.results.study import Study

NAME = "report.html"
MOST_CONFIGS = 400  # rows of the ranking
SHOWN = 7  # columns of the ranking at first
_FACTS = {
    "gpu": "GPU",
    "gpu_count": "GPUs",
    "gpu_memory_bytes": "GPU memory",
    "driver": "driver",
    "cpu": "CPU",
    "cpu_count": "CPU cores",
    "memory_bytes": "memory",
    "kernel": "kernel",
    "python": "Python",
    "torch": "torch",
    "torchvision": "torchvision",
    "accelerate": "Accelerate",
    "cuda": "CUDA",
    "system_id": "system id",
}


class PageSource(NamedTuple):
    """One suite of a page.

    Attributes:
        charts: by name, as `harness.report.charts.of_report` names them; None where they cannot be drawn.
    """

    report: Report
    study: Study
    charts: Mapping[str, Chart] | None


def write_page(folder: Path, sources: Sequence[PageSource], vega: Callable[[], str] = vega_script) -> Path:
    """Writes the page of one suite or several, and returns its path.

    Args:
        folder: that the suites' results lie in, or below.
        vega: gives vega, vega-lite and vega-embed in one script; takes seconds where they are not at hand.

    Raises:
        HarnessError: the folder cannot be written.
    """
    keys = [f"suite-{index}" for index in range(len(sources))] if len(sources) > 1 else ["suite"]
    both = list(zip(sources, keys, strict=True))
    suites = [_suite(source, key, folder, MOST_BYTES // len(sources)) for source, key in both]
    specs = {
        f"{key}/{name}": on_page(chart.spec) for source, key in both for name, chart in (source.charts or {}).items()
    }
    page = _render(suites, specs, vega() if specs else "")
    require_writable(folder)
    with recording(folder):
        write_atomically(folder / NAME, lambda file: file.write(page.encode()))
    return folder / NAME


def commands_for(study: Study) -> tuple[str, ...]:
    """Returns the commands that run the suite and make this page of it, with the overrides that it was given."""
    path = shlex.quote(str(study.source))
    if study.source.is_dir():
        return (f"harness report {path} --html",)
    changed = "".join(
        f" --set {shlex.quote(f'{name}={json.dumps(v)}')}" for name, v in study.question.overrides.items()
    )
    where = "" if study.root == Path("results") else f" --output {shlex.quote(str(study.root))}"
    return (
        f"harness plan {path}{changed}    # what it would run",
        f"harness run {path}{changed}{where}",
        f"harness report {path}{changed}{where} --html",
    )


def _suite(source: PageSource, key: str, folder: Path, picture_bytes: int) -> dict[str, Any]:
    """Returns all that the template shows of a suite.

    Args:
        key: what the ids of its parts begin with.
        folder: of the page; links start from it.
        picture_bytes: that its pictures may take.
    """
    report, study = source.report, source.study
    pictures, pictures_left_out = gallery(report.pictures, study.folder, picture_bytes)
    return {
        "report": report,
        "question": study.question.description or report.suite,
        "commands": commands_for(study),
        "without_charts": source.charts is None,
        "key": key,
        "runs_href": _href(study.folder, folder),
        "charts_href": _href(study.folder / report.place, folder),
        "systems": [_system(source, table, f"{key}-{index}") for index, table in enumerate(report.tables)],
        "pictures": pictures,
        "pictures_left_out": pictures_left_out,
    }


def sort_value(value: Any) -> float | None:
    """Returns the number that a cell of the ranking is sorted by; None where it is sorted by its text."""
    value = number(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _href(target: Path, folder: Path) -> str:
    """Returns the URL of the target folder from the page's: empty or with a slash at its end."""
    return "" if target == folder else f"{quote(Path(os.path.relpath(target, folder)).as_posix())}/"


def _system(source: PageSource, table: Table, key: str) -> dict[str, Any]:
    """Returns the table of a system, and what the page adds to it."""
    charts, facts = source.charts or {}, source.study.systems.get(table.system_id, {})
    names = {stem: chart_name(stem, source.report, table) for stem in stems(for_page=True)}
    ranked = [column for column in table.ranking.columns if column.name not in ("on_front", "label")]
    colours = [(name, PALETTE.index(colour)) for name, colour in coloured(table).values()]
    return {
        "table": table,
        "key": key,
        "budget_rows": budget_rows(budgets(table)),
        "latency_rows": latency_rows(table),
        "figures": {stem: {"chart": charts[name], "name": name} for stem, name in names.items() if name in charts},
        "colours": colours,
        "in_grey": sum(row.ranked for row in table.rows) - len(colours),
        "columns": ranked,
        "shown": {column.name for column in sorted(ranked, key=lambda one: one.priority)[:SHOWN]},
        "rows": _kept(table),
        "facts": [] if table.system_id == ALL_SYSTEMS else _facts({**facts, "system_id": table.system_id}),
    }


def _kept(table: Table) -> list[tuple[int, Row]]:
    """Returns the rows that are shown, those of the front among them, with their places in the table."""
    every = sorted(enumerate(table.rows), key=lambda one: not one[1].values["on_front"])
    return sorted(every[:MOST_CONFIGS], key=lambda one: one[0])


def _facts(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (title, f"{known[name] / 2**30:.1f} GiB" if name.endswith("_bytes") else str(known[name]))
        for name, title in _FACTS.items()
        if known.get(name) is not None
    ]


def _render(suites: Sequence[Mapping[str, Any]], specs: Mapping[str, Mapping[str, Any]], vega: str) -> str:
    """Returns the page.

    Args:
        specs: of the charts, by the keys that their elements name.
        vega: vega, vega-lite and vega-embed in one script; empty where nothing is drawn.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.globals |= {"counted": counted}
    environment.filters |= {"emphasised": _emphasised, "sort_value": sort_value}
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    style = css() + _file("page.css")
    # `</script` would end a script, even in a string.
    scripts = [script.replace("</script", "<\\/script") for script in (vega, _file("page.js")) if script]
    return environment.get_template("page.html").render(
        suites=suites,
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policy=_policy(style, scripts),
        style=style,
        scripts=scripts,
        specs=specs,
    )


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Nothing is loaded from anywhere, and of scripts and styles only those that stand in the file are taken.

    There is no 'unsafe-eval': Vega's expressions are interpreted, which is slower than compiling them, but lets the
    policy refuse all code that is not in the file.
    """
    hashes = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (importlib.resources.files("harness.report") / "template" / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """Returns a value of the template as it is shown: text in one line; what is HTML already stays as it is."""
    return one_line(value) if type(value) is str else value


def _emphasised(text: str) -> Any:
    """Returns the text, escaped, with names in “quotes” in bold type and `commands` as code instead."""
    from markupsafe import Markup, escape

    bold = re.sub("“(.*?)”", r"<b>\1</b>", str(escape(one_line(text))))
    return Markup(re.sub("`(.*?)`", r"<code>\1</code>", bold))
