"""`harness compare`, called in this process."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from tests.compare.made import fill

Call = Callable[..., tuple[str, str]]
GOOD = [(0.95, 100.0), (0.955, 101.0), (0.96, 99.0), (0.95, 100.0), (0.945, 100.5)]
BAD = [(0.90, 150.0), (0.91, 151.0), (0.90, 149.0), (0.905, 150.5), (0.90, 150.0)]
NEAR = [(0.95, 100.2), (0.95, 100.8), (0.965, 99.3), (0.945, 100.4), (0.95, 99.9)]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("harness.data.prepare.fingerprint", lambda *_: "f00d")

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["compare", *arguments])
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        return out, err

    return run


@pytest.fixture
def suite(tmp_path: Path, call: Call) -> str:
    fill(tmp_path / "s.yaml", tmp_path / "results", {"epochs=1": GOOD, "epochs=2": BAD, "epochs=3": NEAR})
    return "s.yaml"


def test_all_ways_to_name_two_configs_say_the_same(call: Call, suite: str) -> None:
    out, err = call(suite, "epochs=1", "epochs=2")
    joined = " ".join(out.split())
    assert not err
    assert joined.startswith("“epochs=1” is more accurate than “epochs=2” by 4.90 points (95 % interval 2.19 to 7.61,")
    assert "“epochs=1” is faster than “epochs=2”: x 0.667 of its train time" in joined
    assert "These networks, other images: they differ, “epochs=1” - “epochs=2” = +4." in joined
    config_id = json.loads(call(suite, "epochs=1", "epochs=2", "--json")[0])["comparisons"][0]["b"]["config_id"]
    for words in (
        [f"{suite}:epochs=1", "epochs=2"],
        [f"{suite}:epochs=1", f"{suite}:epochs=2"],
        [suite, "epochs=1", config_id],
    ):
        assert call(*words)[0] == out


@pytest.mark.parametrize("width", [80, 120])
def test_fits_the_terminal(call: Call, suite: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    pair, table = (call(*words)[0] for words in ([suite, "epochs=1", "epochs=3"], [suite]))
    assert max(map(len, [*pair.splitlines(), *table.splitlines()])) <= width
    if width == 80:
        assert "in --json, or in a larger terminal" in " ".join(table.split())


def test_a_whole_table(call: Call, suite: str) -> None:
    out, _ = call(suite)
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("epochs=")}
    assert "two: each config against “epochs=1”" in out
    assert re.search(r"worse.*slower", rows["epochs=2"])
    assert rows["epochs=3"].count("undecided") == 2
    assert "all 3 pairs" in " ".join(out.split())
    to = json.loads(call(suite, "--to", "epochs=2", "--json")[0])
    assert {one["a"]["label"] for one in to["comparisons"]} == {"epochs=1", "epochs=3"}
    assert {one["b"]["label"] for one in to["comparisons"]} == {"epochs=2"}
    assert to["correction"].startswith("Holm's method over 2 comparisons")
    assert all(one["accuracy"]["p_holm"] >= one["accuracy"]["p"] for one in to["comparisons"])


def test_a_table_of_two_is_a_pair(call: Call, tmp_path: Path) -> None:
    fill(tmp_path / "s.yaml", tmp_path / "results", {"epochs=1": BAD, "epochs=3": GOOD})
    found = json.loads(call("s.yaml", "--json")[0])
    assert found["correction"] is None and found["notes"] == ["No result yet: “epochs=2”."]
    [one] = found["comparisons"]
    assert (one["a"]["label"], one["b"]["label"], one["accuracy"]["p_holm"]) == ("epochs=1", "epochs=3", None)
    assert one["networks"]["p"] < 0.05


def test_what_the_correction_alone_leaves_undecided_is_named(call: Call, tmp_path: Path) -> None:
    a, b, c = [0.95, 0.96, 0.94], [0.90, 0.92, 0.88], [0.94, 0.95, 0.93]
    values = {f"epochs={1 + index}": [(one, 100.0) for one in own] for index, own in enumerate((a, b, c))}
    fill(tmp_path / "s.yaml", tmp_path / "results", values)
    found = json.loads(call("s.yaml", "--json")[0])
    answers = [one["accuracy"] for one in found["comparisons"]]
    lost = [one for one in answers if one["p"] < 0.05 <= one["p_holm"]]
    assert lost and all(one["verdict"] == "undecided" for one in lost)
    assert any(f"Undecided by the correction alone: {len(lost)} in accuracy." in note for note in found["notes"])


def test_gate(call: Call, suite: str) -> None:
    gates = ["--fail-if-slower", "2%", "--fail-if-worse", "0.3"]
    out, _ = call(suite, "epochs=2", "epochs=1", *gates, code=1)
    assert len(re.findall("^FAILS: ", out, re.MULTILINE)) == 2
    out, _ = call(suite, "epochs=1", "epochs=2", *gates)
    assert len(re.findall("^passes: ", out, re.MULTILINE)) == 2
    found = json.loads(call(suite, "epochs=2", "epochs=1", *gates, "--json", code=1)[0])
    assert [(one["question"], one["state"]) for one in found["gate"]] == [("accuracy", "fails"), ("time", "fails")]
    call(suite, "epochs=3", "epochs=1", "--fail-if-slower", "2%")


def test_baseline(call: Call, suite: str, tmp_path: Path) -> None:
    shutil.copytree("results", "before")
    gates = ["--baseline", "before", "--fail-if-slower", "2%", "--fail-if-worse", "0.3"]
    out, _ = call(suite, *gates)
    assert "passes: accuracy of 3 configs and time of 3 configs" in out
    assert " ".join(out.split()).count("Train time: the baseline's runs are of 2026-01-01") == 1, "said once for all"
    found = json.loads(call(suite, *gates, "--json")[0])
    assert [one["networks"]["p"] for one in found["comparisons"]] == [1.0] * 3

    slow = [(accuracy, 1.1 * seconds) for accuracy, seconds in GOOD]
    fill(tmp_path / "s.yaml", tmp_path / "later", {"epochs=1": slow, "epochs=2": BAD, "epochs=3": NEAR})
    out, _ = call(suite, *gates, "--output", "later", code=1)
    [line] = [line for line in out.splitlines() if line.startswith("FAILS")]
    assert line.startswith("FAILS: “epochs=1” is slower than “epochs=1” (baseline) by more than 2 %")
    call(f"{suite}:epochs=2", *gates, "--output", "later")

    other = fill(tmp_path / "s.yaml", tmp_path / "elsewhere", {"epochs=1": slow}, system_id="other")
    assert other
    only = ["s.yaml:epochs=1", "--output", "elsewhere", "--baseline", "before/two"]
    out, _ = call(*only, "--fail-if-worse", "0.3")
    assert "run times of different systems do not compare" in " ".join(out.split())
    _, err = call(*only, "--fail-if-slower", "2%", code=2)
    assert err.startswith("error: --fail-if-slower cannot be decided for 'epochs=1': run times of different systems")


def test_a_baseline_follows_a_config_that_was_edited_by_its_label(call: Call, suite: str, tmp_path: Path) -> None:
    Path("results/two").rename("before")  # a folder of records, whatever its name
    plan = fill(tmp_path / "s.yaml", tmp_path / "results", {"epochs=1": GOOD, "epochs=2": BAD})
    [edited] = [run.config_id for run in plan.runs if run.spec.label == "epochs=1" and run.spec.seed == 0]
    for path in Path("before").glob("*/*/result.json"):
        if (record := json.loads(path.read_text()))["config_id"] == edited:
            path.write_text(json.dumps({**record, "config_id": "another"}))
    out, _ = call(suite, "--baseline", "before")
    assert "“epochs=1”: its config has changed since the baseline." in out
    for path in Path("before").glob("*/*/result.json"):
        if json.loads(path.read_text())["config_id"] == "another":
            path.unlink()
    assert "Not in the baseline: “epochs=1”." in call(suite, "--baseline", "before")[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.yaml"], "cannot read none.yaml: no such file"),
        (["none.yaml:a", "b"], "cannot read none.yaml: no such file"),
        (["nothing"], "'nothing' is no suite file"),
        (["s.yaml:epochs=1"], "one config was named: there is nothing to compare it with"),
        (["s.yaml", "epochs=1"], "one config was named: there is nothing to compare it with"),
        (["s.yaml", "epochs=1", "epochs=1"], "'epochs=1' is compared with itself"),
        (["s.yaml", "a", "b", "c"], "3 configs were named: two are compared, or a whole table"),
        (["s.yaml", "epochs=1", "epochs=4"], "two has no config 'epochs=4'"),
        (["s.yaml", "s.yaml:epochs=1"], "s.yaml has 3 configs: which one?"),
        (["s.yaml", "--to", "epoch=1"], "two has no config 'epoch=1'"),
        (["s.yaml", "epochs=1", "epochs=2", "--to", "epochs=3"], "--to belongs to a table"),
        (["s.yaml", "--fail-if-worse", "1"], "a gate compares two configs, or a suite with its baseline"),
        (
            ["s.yaml", "epochs=1", "epochs=2", "--fail-if-slower", "2"],
            "--fail-if-slower 2 is no share of the train time",
        ),
        (["s.yaml", "epochs=1", "epochs=2", "--fail-if-slower", "-2%"], "--fail-if-slower -2% is no share"),
        (["s.yaml", "--baseline", "none"], "--baseline none holds no results"),
        (["s.yaml", "--baseline", "results"], "--baseline results is where the suite's own results are"),
        (["s.yaml", "epochs=1", "epochs=2", "--baseline", "before"], "--baseline takes the place of B"),
        (["s.yaml", "epochs=1", "epochs=2", "--output", "empty"], "no results of two in empty yet"),
        (["s.yaml", "epochs=1", "epochs=2", "--system", "a1b2c4"], "no results of a system 'a1b2c4'"),
        (
            ["s.yaml", "epochs=1", "epochs=2", "--only", "seed=0", "--fail-if-worse", "1"],
            "--fail-if-worse cannot be decided for 'epochs=1' by one seed",
        ),
    ],
)
def test_bad_input_is_one_sentence_with_a_hint(call: Call, suite: str, words: list[str], message: str) -> None:
    out, err = call(*words, code=2)
    lines = err.splitlines()
    assert not out and len(lines) == 2, err
    assert lines[0].startswith(f"error: {message}") and lines[1].startswith("hint: ")


def test_no_seed_in_common_is_refused(call: Call, tmp_path: Path) -> None:
    fill(tmp_path / "s.yaml", tmp_path / "results", {"epochs=1": GOOD[:2]})
    _, err = call("s.yaml", "epochs=1", "epochs=2", code=2)
    assert err.startswith("error: no result of 'epochs=2' yet")
    _, err = call("s.yaml", code=2)
    assert err.startswith("error: two has results of one config only: nothing to compare")


def test_one_seed_is_said_to_be_one(call: Call, suite: str) -> None:
    out, _ = call(suite, "epochs=1", "epochs=2", "--only", "seed=0")
    joined = " ".join(out.split())
    assert "Accuracy, no verdict: “epochs=1” - “epochs=2” = +5.00 points; one seed in common" in joined
    assert "These networks, other images" in joined


def test_synthetic_data_have_no_best(call: Call, tmp_path: Path) -> None:
    values = {"epochs=1": GOOD, "epochs=2": BAD}
    fill(tmp_path / "s.yaml", tmp_path / "results", values, rankable=False)
    _, err = call("s.yaml", code=2)
    assert err.startswith("error: no config is the best in accuracy: accuracy on synthetic data means nothing\nhint: ")
    assert "Accuracy is not compared" in call("s.yaml", "epochs=1", "epochs=2")[0]


def _fields(value: Any, prefix: str = "") -> set[str]:
    if isinstance(value, dict):
        return {name for key, own in value.items() for name in (f"{prefix}{key}", *_fields(own, f"{prefix}{key}."))}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {name for one in value for name in _fields(one, prefix)}
    return set()


def test_docs_define_each_field_of_the_json_and_no_other(call: Call, suite: str) -> None:
    found = json.loads(call(suite, "epochs=1", "epochs=2", "--fail-if-slower", "2%", "--json", code=0)[0])
    fields = {re.sub(r"^(comparisons)\.(accuracy|time)\.", r"\1.<question>.", name) for name in _fields(found)}
    fields = {re.sub(r"^comparisons\.[ab](\.|$)", r"comparisons.a\1", name) for name in fields}
    text = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
    section = next(part for part in text.split("\n## ") if part.startswith("`harness compare --json`"))
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    documented = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    containers = {
        "comparisons.<question>.by_seed",
        "comparisons.networks",
        "comparisons.metrics",
        "comparisons.a",
    }
    containers |= {"comparisons.accuracy", "comparisons.time", "comparisons", "gate"}
    assert fields - containers == documented


def test_a_gate_until_it_is_decided_has_three_ends(call: Call, suite: str) -> None:
    looks = ("--until-decided", "3,5,8")
    out, _ = call(suite, "epochs=2", "epochs=1", "--fail-if-slower", "2%", *looks, code=1)
    assert "FAILS: “epochs=2” is slower than “epochs=1”" in out
    out, _ = call(suite, "epochs=3", "epochs=1", "--fail-if-worse", "0.1", *looks, code=75)
    assert "undecided: whether “epochs=3” is less accurate" in out and "run 8 seeds of both." in " ".join(out.split())
    out, _ = call(suite, "epochs=1", "epochs=2", "--fail-if-worse", "0.3", *looks)
    assert "passes" in out
    shown = json.loads(call(suite, "epochs=3", "epochs=1", "--fail-if-worse", "0.1", *looks, "--json", code=75)[0])
    assert [one["state"] for one in shown["gate"]] == ["undecided"]


def test_looks_that_are_none_are_one_sentence(call: Call, suite: str) -> None:
    for looks in ("3,x", "5,3", "1,2", "3;5"):
        _, err = call(suite, "epochs=1", "epochs=2", "--fail-if-slower", "2%", "--until-decided", looks, code=2)
        assert err.startswith(f"error: --until-decided {looks} are no looks\nhint: write numbers of seeds that grow")
    _, err = call(suite, "epochs=1", "epochs=2", "--until-decided", "3,5", code=2)
    assert "--until-decided is of a gate" in err
