"""The W&B report: what it holds, in which portions, and what a server makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.data.prepare import fingerprint
from harness.errors import HarnessError
from harness.report.tables import Report
from harness.report.to_wandb import (
    differing_settings,
    parse_place,
    send_report,
    specification,
    wandb_report,
    write_specification,
)
from harness.suite.plan import load_suite
from tests.report.conftest import make_report, make_result, make_suite, store
from tests.trackers.server import Server

PLACE = ("someone", "p")


def spec(report: Report) -> list[dict[str, Any]]:
    """Returns the blocks that W&B would be sent."""
    return specification(wandb_report(report, *PLACE, with_project_id=False))["spec"]["blocks"]


def grids(report: Report) -> list[dict[str, Any]]:
    return [block["metadata"] for block in spec(report) if block["type"] == "panel-grid"]


def panels(grid: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {panel["viewType"]: panel["config"] for panel in grid["panelBankSectionConfig"]["panels"]}


def test_it_is_the_comparison_that_people_make_by_hand() -> None:
    of_all, curves, differences = grids(make_report(make_suite(4, 2)))
    scatter, parallel = panels(of_all)["Scatter Plot"], panels(of_all)["Parallel Coordinates Plot"]
    assert (scatter["xAxis"], scatter["yAxis"]) == ("summary:clock/train_seconds", "summary:test/accuracy")
    axes = [column["accessor"] for column in parallel["columns"]]
    assert "config:model.value.name" in axes and "config:train.value.global_batch_size" in axes
    assert axes[-2:] == ["summary:clock/train_seconds", "summary:test/accuracy"]
    lines = [panel["config"] for panel in curves["panelBankSectionConfig"]["panels"]]
    assert [line["xAxis"] for line in lines] == ["epoch", "train_seconds"]
    assert all(line["metrics"] == ["test/accuracy"] and line["groupBy"] == "label.value" for line in lines)
    assert panels(differences)["Run Comparer"]["diffOnly"] == "split"
    [text] = [block["content"] for block in spec(make_report(make_suite(4, 2))) if block["type"] == "markdown-block"]
    assert "test accuracy" in text and all(f"batch {size}" in text for size in range(64, 68))


@pytest.mark.parametrize(("configs", "portions"), [(10, 1), (11, 2), (25, 3)])
def test_in_portions_of_what_a_panel_shows(configs: int, portions: int) -> None:
    found = grids(make_report(make_suite(configs, 1)))
    comparers = [grid for grid in found if "Run Comparer" in panels(grid)]
    curves = [grid for grid in found if "Run History Line Plot" in panels(grid)]
    assert len(comparers) == len(curves) == portions
    named: list[str] = []
    for grid in comparers:
        [run_set] = grid["runSets"]
        own = [value for value in values(run_set["filters"]) if value.endswith("-0")]
        assert len(own) <= 10
        named += own
    assert len(named) == len(set(named)) == configs, "each config once"


def values(filters: Any) -> list[str]:
    """Returns all texts of a filter."""
    if isinstance(filters, dict):
        return [text for value in filters.values() for text in values(value)]
    if isinstance(filters, list):
        return [text for value in filters for text in values(value)]
    return [filters] if isinstance(filters, str) else []


def test_systems_share_no_panel() -> None:
    results = [make_result(f"c{index}", system_id=f"system{index % 2}", seed=0) for index in range(4)]
    for grid in grids(make_report(results)):
        [run_set] = grid["runSets"]
        assert (
            len({text for text in values(run_set["filters"]) if text.startswith("system") and text[-1].isdigit()}) == 1
        )


def test_a_suite_with_nothing_to_show() -> None:
    assert not grids(make_report([make_result(status="failed", accuracy=None)]))
    assert not grids(make_report([]))


def test_settings_that_differ_and_are_no_place() -> None:
    runs = [
        make_result(f"{size}", train={"global_batch_size": size, "timeout_seconds": float(size)}) for size in (1, 2)
    ]
    [table] = make_report(runs).tables
    assert differing_settings(table, table.rows) == ["train.global_batch_size"]


def test_a_dry_run_needs_no_network_and_no_key(tmp_path: Path) -> None:
    path = write_specification(make_report(make_suite(2, 1)), PLACE, tmp_path)
    found = json.loads(path.read_bytes())
    assert (found["entity"], found["project"]) == PLACE and found["spec"]["blocks"]


def test_it_is_sent_once_and_then_renewed(tmp_path: Path, server: Server) -> None:
    report = make_report(make_suite(2, 1))
    first = send_report(report, PLACE, tmp_path)
    assert first.startswith(f"{server.url}/someone/p/reports/many")
    assert send_report(report, PLACE, tmp_path) == first
    made, renewed = server.reports
    assert not made.get("id") and renewed["id"] == "view1"
    assert len(json.loads(made["spec"])["blocks"]) == len(spec(report))
    for block in json.loads(made["spec"])["blocks"]:
        if block["type"] == "panel-grid":
            project = block["metadata"]["runSets"][0]["project"]
            assert (project["entityName"], project["name"]) == PLACE


@pytest.mark.parametrize("fault", ["401", "403", "500", "reset"])
def test_a_server_that_fails_leaves_the_local_report(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = "name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}\n"
    Path("s.yaml").write_text(suite)
    [run] = load_suite(Path("s.yaml")).plan(fingerprint).runs
    store(Path("results"), [make_result("s", suite="s", run_id=run.run_id, config_id=run.config_id)])
    monkeypatch.setenv("WANDB_X_GRAPHQL_RETRY_MAX", "1")
    server.fail(fault)
    with pytest.raises(SystemExit) as caught:
        main(["report", "s.yaml", "--wandb", "someone/p"])
    told = capsys.readouterr().err
    assert caught.value.code == 2
    [sentence] = [line for line in told.splitlines() if line.startswith("error: ")]
    assert "W&B" in sentence and "hint: " in told and "Traceback" not in told
    assert Path("results/s/table.md").exists()
    assert not Path("results/s/wandb_report_address.json").exists()


def test_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HarnessError, match="no key is found"):
        send_report(make_report(make_suite(2, 1)), PLACE, tmp_path)


@pytest.mark.parametrize("place", ["", "someone", "someone/", "/p", "someone/a:b"])
def test_a_place_that_is_none(place: str) -> None:
    with pytest.raises(HarnessError):
        parse_place(place)
