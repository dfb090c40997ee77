"""What the documents show works as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import registry
from harness.cli.app import app
from harness.contracts.check import check_file
from harness.data.prepare import data_source
from harness.plugin_source import FOLDERS
from harness.suite.plan import load_suite
from tests.house import House

ROOT = Path(__file__).parent.parent


def blocks(document: str, language: str) -> list[str]:
    """Returns the fenced blocks of a document in one language."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["docs/first_suite.md", "docs/suites.md"])
def test_suites_in_documents_are_valid(document: str, tmp_path: Path) -> None:
    suites = [block for block in blocks(document, "yaml") if re.search("^name:", block, re.MULTILINE)]
    assert suites
    for text in suites:
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        assert load_suite(path).configs()


@pytest.mark.launch
def test_one_of_each_kind_of_the_document_is_a_file_beside_the_suite(house: House) -> None:
    files = {}
    for code in blocks("docs/extending.md", "python"):
        path = re.match(r"# (\w+\.py)\n", code)
        assert path
        files[path[1]] = code
        (house.path / path[1]).write_text(code)
    marked = {kind for code in files.values() for kind in re.findall(r"^@(\w+)\(", code, re.MULTILINE)}
    assert marked == set(FOLDERS)
    head = f"name: faults\nplugins: [{', '.join(files)}]\n"
    base = "base: {model: {name: two_layers, filters: 4}, data: stripes, loader: {name: announced, word: turn}, "
    text = f"{head}{base}optimizer: signs, schedule: {{name: halving, every: 2.0}}, train: {{epochs: 2}}}}\n"
    (house.path / "suite.yaml").write_text(text)
    done = house.run("suite.yaml")
    assert done.returncode == 0, done.stderr
    [result] = house.results().values()
    assert result["status"] == "ok" and 0 < result["extra_metrics"]["macro_f1"]["value"] <= 1
    (house.path / "suite.yaml").write_text(text.replace("filters", "filter"))
    refused = house.run("suite.yaml")
    assert refused.returncode == 2 and "did you mean 'filters'?" in refused.stderr
    plugins = [word for name in files for word in ("--plugin", name)]
    command = [sys.executable, "-m", "harness", "visualize", result["run_id"], "--what", "average", *plugins]
    drawn = subprocess.run(command, cwd=house.path, env=house.environment(), capture_output=True, text=True)
    assert drawn.returncode == 0 and Path(house.path / drawn.stdout.strip()).is_file(), drawn.stderr


@pytest.mark.launch
def test_the_plugins_of_the_document_keep_their_promises(tmp_path: Path) -> None:
    for code in blocks("docs/extending.md", "python"):
        file = tmp_path / code.partition("\n")[0].removeprefix("# ")
        file.write_text(code)
        assert [one for one in check_file(file) if one.instead] == []
    registry.use()


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("slurm/*.md"), *ROOT.glob("results/**/*.md")]
SCRIPTS = [path for path in ROOT.glob("benchmarks/*/*.py") if "__main__" in path.read_text()]


def commands(path: Path) -> list[list[str]]:
    """Returns the words of what a text shows of Python and our scripts: in backticks or in a line that is indented."""
    found = re.findall(r"`(python [^`]+)`|^    (python .+)$", path.read_text(), re.MULTILINE)
    words = [(quoted or line).split() for quoted, line in found]
    return [command for command in words if any("benchmarks" in word for word in command)]


@pytest.mark.parametrize("path", [*DOCUMENTS, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_scripts_and_options_that_there_are(path: Path) -> None:
    """The scripts import each other as neighbours, so they are started by their paths, not by `python -m`."""
    for _, name, *words in commands(path):
        assert ROOT / name in SCRIPTS, f"{path.name} starts {name}"
        takes = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', (ROOT / name).read_text()))
        given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(words)))
        assert given <= takes, f"{path.name} gives {name} what it does not take"


def test_every_script_says_how_it_is_started() -> None:
    for path in SCRIPTS:
        assert {name for _, name, *_ in commands(path)} == {str(path.relative_to(ROOT))}


def test_accuracies_of_kept_runs_are_those_of_their_table() -> None:
    told = re.findall(r"\d+\.\d+ ± \d+\.\d+ %", (ROOT / "docs/performance.md").read_text())
    tables = [ROOT / f"results/reference/{suite}/table.md" for suite in ("five_minutes", "speedrun_small")]
    found = "".join(table.read_text() for table in tables)
    assert told and all(accuracy in found for accuracy in told)


def test_the_index_of_results_is_complete() -> None:
    index = (ROOT / "results/README.md").read_text()
    for table in ROOT.glob("results/reference/*/table.md"):
        assert f"](reference/{table.parent.name}/)" in index
        records = [name for name in table.parent.iterdir() if re.fullmatch("[0-9a-f]{12}", name.name)]
        assert bool(records) == (table.parent / "suite.json").is_file(), "kept records can be reported anew"
    for measured in (*ROOT.glob("results/performance/*/*.json"), *ROOT.glob("results/method/*.json")):
        assert f"`{measured.name}`" in index


BRIEF = """\
train every architecture x configuration combination of a suite
through Accelerate
under DDP
and mixed precision
with a DALI GPU loader
and a pinned-memory fallback
log throughput, GPU memory and accuracy to W&B
end in tables that compare run time against accuracy
used as `accelerate launch harness/run.py`
as SLURM array jobs
through W&B reports
in a single-GPU local mode on GTX-class cards
"""


def test_each_sentence_of_the_brief_has_a_command_a_test_and_a_place() -> None:
    text = (ROOT / "docs/brief.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if "::" in line]
    assert [row[0] for row in rows] == BRIEF.splitlines()
    for sentence, command, test, where in rows:
        file, _, name = test.strip("`").partition("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{sentence}: there is no {test}"
        assert command.startswith("`") and where


def test_links_lead_to_files() -> None:
    for document in [*DOCUMENTS, *ROOT.glob("results/**/report.html")]:
        pattern = r'href="(?!data:|#)([^"]+)"' if document.suffix == ".html" else r"\]\(([^)#:]+)[)#]"
        for target in re.findall(pattern, document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def harness_commands(path: Path) -> list[str]:
    """Returns what a text shows of our command line, from the verb on: in backticks, in blocks and in comments."""
    text = path.read_text().replace("\\\n", " ")
    for name, value in re.findall(r'^ *([A-Z]+)="([^"]*)"', text, re.MULTILINE):
        text = text.replace(f"${name}", " ".join(value.split()))
    return re.findall(r"(?:^|`|\s)(?:\.venv/bin/)?harness ([a-z][^`\n#|]*)", text, re.MULTILINE)


SHOWN = [*DOCUMENTS, *ROOT.glob("launch/*.yaml"), *ROOT.glob("benchmarks/*.yaml")]


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_give_verbs_options_that_they_take(path: Path) -> None:
    verbs: Any = typer.main.get_command(app)
    for shown in harness_commands(path):
        words = shown.split()
        verb = verbs.commands.get(words.pop(0))
        while words and hasattr(verb, "commands"):  # a group, of Typer's own Click
            verb = verb.commands.get(words.pop(0))
        given = [word.partition("=")[0].strip("'\"().,;:") for word in words if word.startswith("--")]
        if verb is None or not given:  # a sentence: "the harness is ..."
            continue
        takes = {name for parameter in verb.params for name in parameter.opts} | {"--help"}
        assert set(given) <= takes, f"{path.name}: harness {shown}"


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_suites_are_run_with_the_data_that_they_need(path: Path) -> None:
    for shown in harness_commands(path):
        if not (named := re.match(r"run (benchmarks/\w+\.yaml)(.*)", shown)):
            continue
        if re.search(r"--smoke|--download|data\.root=", named[2]):
            continue
        text = (ROOT / named[1]).read_text()
        assert "name: image_folder" not in text, f"{path.name} says not where the images are: harness {shown}"
        sources = [data_source(spec.data) for spec in load_suite(ROOT / named[1]).configs().values()]
        assert not any(source.archive for source in sources), f"{path.name} needs --download: harness {shown}"
