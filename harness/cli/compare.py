"""`harness compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import app, print_json
from harness.cli.options import AsJson, Overrides, Roots, Selections, Small, System, text_option
from harness.cli.studies import studies_of
from harness.counted import counted
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.compare.gate import Limit


@app.command()
def compare(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE[:LABEL] [LABEL]...",
            help="Two configs, A and B; or a suite (its file, or its folder of results): its whole table.",
        ),
    ],
    to: Annotated[
        str, text_option("--to", metavar="LABEL", help="Of a table: compare with this config, not with the best.")
    ] = "",
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    output: Roots = None,
    system: System = "",
    fail_if_slower: Annotated[
        str, text_option("--fail-if-slower", metavar="PERCENT", help="Exit with 1 where A is slower by more, e.g. 2%.")
    ] = "",
    fail_if_worse: Annotated[
        float | None,
        typer.Option("--fail-if-worse", metavar="POINTS", min=0, help="Or less accurate by more points, e.g. 0.3."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Of a gate: fail, too, where the limit is not shown to be kept.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Compare with this file in place of B.")
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option("--write-baseline", metavar="FILE", help="Write this file, and compare nothing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether A is more accurate, and whether it is faster; or compare a whole table."""
    from harness.compare import baseline as files
    from harness.compare.compared import compare_table, compare_two, compare_with_baseline
    from harness.compare.plain import as_json as plain
    from harness.compare.show import show
    from harness.compare.sides import measured_suite, parse_words

    (first, sides), limits = parse_words(words), _limits(fail_if_slower, fail_if_worse, strict=strict)
    _require_sense(len(sides), to, baseline, write_baseline, limits)
    suites = {}
    for path in dict.fromkeys(path for path, _ in sides) or [first]:
        studies = studies_of([path], set_, only, smoke, None, output or [])
        if len(studies) > 1:
            names = ", ".join(str(study.folder) for study in studies[:8])
            raise HarnessError(f"{path} has the results of {len(studies)} suites", f"name one: {names}")
        suites[path] = measured_suite(studies[0], system)
    suite, named = next(iter(suites.values())), [suites[path].find(label) for path, label in sides]
    if write_baseline:
        count = files.write_baseline(write_baseline, suite.name, named or suite.configs, suite.systems)
        sys.stderr.write(f"written to {write_baseline}: {counted(count, 'config')} of {suite.name}\n")
        return
    if baseline:
        old = files.read_baseline(baseline, suite.name)
        found = compare_with_baseline(suite, named or suite.configs, old, limits)
    elif named:
        found = compare_two(named, list(suites.values()), limits)
    else:
        found = compare_table(suite, to, limits)
    if as_json:
        print_json(plain(found))
    else:
        show(found)
    raise typer.Exit(1 if found.failed else 0)


def _limits(slower: str, worse: float | None, *, strict: bool) -> list[Limit]:
    from harness.compare.gate import Limit

    found = [] if worse is None else [Limit("accuracy", worse / 100, strict)]
    if slower:
        try:
            percent = float(slower.removesuffix("%"))
        except ValueError:
            percent = -1.0
        if not slower.endswith("%") or not 0 <= percent < 1e6:
            raise HarnessError(f"--fail-if-slower {slower} is no share of the train time", "write --fail-if-slower 2%")
        found.append(Limit("time", percent / 100, strict))
    if strict and not found:
        raise HarnessError("--strict belongs to a gate", "give --fail-if-slower 2% or --fail-if-worse 0.3 with it")
    return found


def _require_sense(
    sides: int, to: str, baseline: Path | None, write_baseline: Path | None, limits: list[Limit]
) -> None:
    """Refuses options that contradict each other."""
    if write_baseline and (baseline or to or limits):
        raise HarnessError("--write-baseline compares nothing", "give it alone, then compare with --baseline FILE")
    if baseline and (sides > 1 or to):
        raise HarnessError("--baseline takes the place of B", "name one config, or the suite alone")
    if to and sides:
        raise HarnessError("--to belongs to a table", "name the suite alone, or two configs without --to")
    if sides == 1 and not (baseline or write_baseline):
        message = "one config was named: there is nothing to compare it with"
        raise HarnessError(message, "name a second one, or give --baseline FILE")
    if sides > 1 and write_baseline:
        raise HarnessError("--write-baseline takes one config or a whole suite", "name the suite alone")
