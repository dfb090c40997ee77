"""Reports -> one HTML file: the template, its style and script, Vega, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib.resources
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.counted import counted
from harness.records.files import recording, require_writable, write_atomically
from harness.report.answer import advice
from harness.report.charts.drawing import vega_script
from harness.report.charts.theme import css, on_page
from harness.report.page.gallery import MOST_BYTES
from harness.report.page.sections import PageSource, grid_of, sort_value, suite_page
from harness.report.texts import one_line
from harness.results.study import Study

NAME = "report.html"


def write_page(folder: Path, sources: Sequence[PageSource], vega: Callable[[], str] = vega_script) -> Path:
    """Writes the page of one suite or several, and returns its path.

    Args:
        folder: that the suites' results lie in, or below.
        vega: gives vega, vega-lite and vega-embed in one script; takes seconds where they are not at hand.

    Raises:
        HarnessError: the folder cannot be written.
    """
    keys = [f"suite-{index}" for index in range(len(sources))] if len(sources) > 1 else ["suite"]
    share = MOST_BYTES // len(sources)
    suites = [suite_page(source, key, folder, share) for source, key in zip(sources, keys, strict=True)]
    specs = {
        f"{key}/{name}": on_page(chart.spec)
        for source, key in zip(sources, keys, strict=True)
        for name, chart in source.charts.items()
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
    environment.globals |= {"counted": counted, "grid_of": grid_of}
    environment.filters |= {"advice": advice, "emphasised": _emphasised, "sort_value": sort_value}
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
    return (importlib.resources.files("harness.report.page") / "template" / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """Returns a value of the template as it is shown: text in one line; what is HTML already stays as it is."""
    return one_line(value) if type(value) is str else value


def _emphasised(text: str) -> Any:
    """Returns the text, escaped, with names in “quotes” in bold type and `commands` as code instead."""
    from markupsafe import Markup, escape

    bold = re.sub("“(.*?)”", r"<b>\1</b>", str(escape(one_line(text))))
    return Markup(re.sub("`(.*?)`", r"<code>\1</code>", bold))
