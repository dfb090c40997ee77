"""`harness compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import completing
from harness.cli.app import app, print_json
from harness.cli.options import AsJson, Overrides, Plugins, Roots, Selections, Small, System, text_option
from harness.cli.studies import studies_of
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.compare.compared import Limit


@app.command()
def compare(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE[:LABEL] [LABEL]...",
            help="Two configs, A and B; or a suite (its file, name or folder of results), for its whole table.",
            autocompletion=completing.words,
        ),
    ],
    to: Annotated[
        str,
        text_option(
            "--to",
            metavar="LABEL",
            help="In a table, compare with this config instead of the best.",
            autocompletion=completing.labels,
        ),
    ] = "",
    set_: Overrides = None,
    only: Selections = None,
    smoke: Small = False,
    plugin: Plugins = None,
    output: Roots = None,
    system: System = "",
    fail_if_slower: Annotated[
        str, text_option("--fail-if-slower", metavar="PERCENT", help="Exit with 1 if A is slower by more, e.g. 2%.")
    ] = "",
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            "--fail-if-worse",
            metavar="POINTS",
            min=0,
            help="Exit with 1 if A is less accurate by more points, e.g. 0.3.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FOLDER", help="Compare with a copy of the suite's earlier results."),
    ] = None,
    until_decided: Annotated[
        str,
        text_option(
            "--until-decided", metavar="LOOKS", help="Ask the gate after so many seeds, e.g. 3,5,8: 75 asks for more."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show whether A is more accurate and whether it is faster; or compare a whole table."""
    from harness.compare.compared import compare_table, compare_two, compare_with_baseline
    from harness.compare.plain import as_json as plain
    from harness.compare.show import show
    from harness.compare.sides import measured_baseline, measured_suite, parse_words

    (first, sides), limits = parse_words(words), _limits(fail_if_slower, fail_if_worse, until_decided)
    _require_sense(len(sides), to, baseline)
    studies = {}
    for path in dict.fromkeys(path for path, _ in sides) or [first]:
        found = studies_of([path], set_, only, smoke, None, output or [], plugin)
        if len(found) > 1:
            names = ", ".join(str(study.folder) for study in found[:8])
            raise HarnessError(f"{path} has the results of {len(found)} suites", f"name one: {names}")
        studies[path] = found[0]
        if found[0].race and not found[0].race.is_fixed_design:
            message = (
                f"{path} was a race: it stopped training configs by their results, and these tests are for a fixed"
            )
            raise HarnessError(
                f"{message} number of seeds",
                f"the verdicts of the race: harness report {path}; for a fixed number, harness run SUITE --set seeds=N",
            )
    suites = {path: measured_suite(study, system) for path, study in studies.items()}
    suite, named = next(iter(suites.values())), [suites[path].find(label) for path, label in sides]
    if baseline:
        old = measured_baseline(baseline, next(iter(studies.values())))
        compared = compare_with_baseline(suite, named or suite.configs, old, limits)
    elif named:
        compared = compare_two(named, list(suites.values()), limits)
    else:
        compared = compare_table(suite, to, limits)
    if as_json:
        print_json(plain(compared))
    else:
        show(compared)
    raise typer.Exit(1 if compared.failed else 75 if compared.undecided else 0)


def _limits(slower: str, worse: float | None, until_decided: str) -> list[Limit]:
    from harness.compare.compared import Limit
    from harness.suite.race import growing

    looks: tuple[int, ...] = ()
    if until_decided:
        if worse is None and not slower:
            raise HarnessError("--until-decided is of a gate", "add --fail-if-slower 2% or --fail-if-worse 0.3")
        try:
            looks = tuple(growing([int(part) for part in until_decided.split(",")]))
        except ValueError:
            message = f"--until-decided {until_decided} are no looks"
            raise HarnessError(message, "write numbers of seeds that grow: --until-decided 3,5,8") from None
    found = [] if worse is None else [Limit("accuracy", worse / 100, looks)]
    if slower:
        try:
            percent = float(slower.removesuffix("%"))
        except ValueError:
            percent = -1.0
        if not slower.endswith("%") or not 0 <= percent < 1e6:
            raise HarnessError(f"--fail-if-slower {slower} is no share of the train time", "write --fail-if-slower 2%")
        found.append(Limit("time", percent / 100, looks))
    return found


def _require_sense(sides: int, to: str, baseline: Path | None) -> None:
    """Refuses options that contradict each other."""
    if baseline and (sides > 1 or to):
        raise HarnessError("--baseline takes the place of B", "name one config, or the suite alone")
    if to and sides:
        raise HarnessError("--to belongs to a table", "name the suite alone, or two configs without --to")
    if sides == 1 and not baseline:
        message = "one config was named: there is nothing to compare it with"
        raise HarnessError(message, "name a second one, or give --baseline FOLDER")
