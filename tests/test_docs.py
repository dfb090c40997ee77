"""What the documents show works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.suite import load_suite
from tests.house import House

ROOT = Path(__file__).parent.parent


def blocks(document: str, language: str) -> list[str]:
    """Returns the fenced blocks of a document in one language."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "docs/suites.md"])
def test_suites_in_documents_are_valid(document: str, tmp_path: Path) -> None:
    suites = [block for block in blocks(document, "yaml") if re.search("^name:", block, re.MULTILINE)]
    assert suites
    for text in suites:
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        assert load_suite(path).configs()


@pytest.mark.launch
def test_the_architecture_of_the_document_is_one_new_file_and_no_edit_elsewhere(house: House) -> None:
    [code] = blocks("docs/extending.md", "python")
    path = re.match(r"# (\S+)", code)
    assert path
    (house.path / path[1]).write_text(code)
    suite = house.suite("include: [{model: {name: two_layers, filters: 4}}]\n")
    done = house.run(str(suite))
    assert done.returncode == 0, done.stderr
    assert [result["status"] for result in house.results().values()] == ["ok"]
    refused = house.run(str(house.suite("include: [{model: {name: two_layers, filter: 4}}]\n")))
    assert refused.returncode == 2
    assert "did you mean 'filters'?" in refused.stderr


def test_links_lead_to_files() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("slurm/*.md"), *ROOT.glob("results/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)[)#]", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
