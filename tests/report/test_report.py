"""From results to tables."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import HarnessError
from harness.records.result import Cause, DataFacts, Resolved, Selected, TargetReached


def _labels(report: Any, table: int = 0) -> list[str]:
    return [row.label for row in report.tables[table].rows]


def _notes(report: Any, table: int = 0) -> str:
    return "\n".join(report.tables[table].every_note)


def test_one_row_per_config_with_the_mean_over_its_seeds(fake: Any) -> None:
    results = [fake.result("a", seed=seed, accuracy=0.9 + seed / 100, seconds=10.0 + seed) for seed in range(3)]
    results.append(fake.result("b", accuracy=0.5, train={"epochs": 3}))
    table = fake.report(results).tables[0]
    first = table.rows[0].values
    assert [row.label for row in table.rows] == ["a", "b"]
    assert first["test_accuracy"].mean == pytest.approx(0.91)
    assert first["test_accuracy_sd"] == pytest.approx(0.01)
    assert first["train_seconds"].mean == pytest.approx(11)
    assert (first["runs_ok"], first["runs"], first["parameters"]) == (3, "3 ok", 11_173_962)
    assert first["train.epochs"] == 10
    assert table.rows[1].values["train.epochs"] == 3


def test_systems_share_neither_a_table_nor_a_front(fake: Any) -> None:
    slow = [fake.result("a", accuracy=0.9, seconds=100, system_id="slow")]
    fast = [fake.result("a", accuracy=0.9, seconds=1, system_id="fast")]
    report = fake.report(slow + fast)
    assert [table.system_id for table in report.tables] == ["fast", "slow"]
    assert [len(table.rows) for table in report.tables] == [1, 1]
    assert [table.rows[0].values["on_front"] for table in report.tables] == [True, True]


def test_two_systems_of_one_name_are_told_apart(fake: Any) -> None:
    systems = {name: {"name": "GTX 1060"} for name in ("one", "two")}
    results = [fake.result("a", system_id=name) for name in systems]
    titles = [table.system for table in fake.report(results, systems=systems).tables]
    assert titles == ["GTX 1060 (one)", "GTX 1060 (two)"]


def test_failed_runs_count_but_enter_no_mean(fake: Any) -> None:
    oom = Cause(kind="OutOfMemoryError", message="CUDA out of\nmemory", rank=1, step=7)
    results = [fake.result("a", seed=0, accuracy=0.8), fake.result("a", seed=1, status="oom", cause=oom)]
    report = fake.report(results)
    values = report.tables[0].rows[0].values
    assert values["test_accuracy"].mean == 0.8
    assert values["test_accuracy"].ci95 is None
    assert values["runs"] == "1 ok, 1 oom"
    assert "“a”, seed 1: oom, OutOfMemoryError: CUDA out of memory (rank 1, step 7)." in _notes(report)
    assert "No interval: one seed" in _notes(report)


def test_runs_that_ended_alike_share_a_line(fake: Any) -> None:
    small = Cause(kind="HarnessError", message="no room\nhint: make some")
    other = Cause(kind="HarnessError", message="no light")
    results = [
        *(fake.result("a", seed=seed, status="failed", cause=small) for seed in (0, 2)),
        fake.result("a", seed=1, status="failed", cause=other),
        *(fake.result(f"b{index}", config_id=f"b{index}", seed=0, status="failed", cause=small) for index in range(12)),
    ]
    notes = _notes(fake.report(results))
    assert "“a”, seeds 0, 2: failed, HarnessError: no room; hint: make some." in notes
    assert "“a”, seed 1: failed, HarnessError: no light." in notes
    assert "4 more runs without a result; `harness status` lists them." in notes


def test_diverged_runs_enter_no_mean_though_they_have_metrics(fake: Any) -> None:
    diverged = fake.result("a", seed=1, accuracy=0.1).model_copy(update={"status": "diverged"})
    values = fake.report([fake.result("a", accuracy=0.9), diverged]).tables[0].rows[0].values
    assert values["test_accuracy"].mean == 0.9


def test_all_failed_is_listed_but_not_ranked(fake: Any) -> None:
    results = [fake.result("good"), fake.result("bad", status="timeout", train={"epochs": 3})]
    report = fake.report(results)
    assert _labels(report) == ["good", "bad"]
    assert report.tables[0].rows[1].values["on_front"] is None
    assert report.tables[0].rows[1].values["test_accuracy"] is None
    only_bad = fake.report(results[1:])
    assert _labels(only_bad) == ["bad"]
    assert "1 run of 1 config on 1 process: 1 timeout." in _notes(only_bad)


def test_no_results(fake: Any) -> None:
    report = fake.report([])
    assert report.tables == ()
    assert report.notes == ("No results of empty yet.",)


def test_synthetic_data_is_never_ranked(fake: Any) -> None:
    results = [
        fake.result("real", accuracy=0.5, seconds=100),
        fake.result("synthetic", accuracy=1.0, seconds=1, rankable=False, train={"epochs": 1}),
    ]
    report = fake.report(results)
    assert _labels(report) == ["real", "synthetic"]
    assert [row.values["on_front"] for row in report.tables[0].rows] == [True, None]
    assert "Not ranked, since accuracy on synthetic data means nothing: “synthetic”." in _notes(report)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("test_accuracy", ["slow", "middle", "fast"]),
        ("test_accuracy_mean", ["slow", "middle", "fast"]),
        ("train_seconds", ["fast", "middle", "slow"]),
        ("label", ["fast", "middle", "slow"]),
        ("train.epochs", ["middle", "slow", "fast"]),
    ],
)
def test_sort(fake: Any, sort: str, order: list[str]) -> None:
    results = [
        fake.result("fast", accuracy=0.7, seconds=5, train={"epochs": 30}),
        fake.result("middle", accuracy=0.8, seconds=50, train={"epochs": 2}),
        fake.result("slow", accuracy=0.9, seconds=500, train={"epochs": 10}),
    ]
    assert _labels(fake.report(results, sort=sort)) == order


def test_unknown_sort_names_the_nearest(fake: Any) -> None:
    with pytest.raises(HarnessError, match="did you mean 'test_accuracy'"):
        fake.report([fake.result()], sort="test_acuracy")


def test_only_columns_that_differ_are_shown(fake: Any) -> None:
    results = [
        fake.result("a", model="resnet18", train={"epochs": 2}),
        fake.result("b", model="cnn3", train={"epochs": 2}),
    ]
    report = fake.report(results)
    config = [column.name for column in report.tables[0].columns if column.priority == 12]
    # cnn3's own parameters have one value: they follow from the name, and get no column.
    assert config == ["model.name"]


def test_places_and_seeds_make_no_column(fake: Any) -> None:
    results = [
        fake.result("a", seed=1),
        fake.result("b", seed=2, train={"epochs": 3, "timeout_seconds": 5.0}),
    ]
    config = [column.name for column in fake.report(results).tables[0].columns if column.priority == 12]
    assert config == ["train.epochs"]


def test_what_auto_became_is_said_once_or_gets_a_column(fake: Any) -> None:
    def ran(precision: str) -> Resolved:
        return Resolved(device="cuda", mixed_precision=precision, loader="resident", micro_batch_size=1)

    auto = {"mixed_precision": "auto"}
    a = fake.result("a", train=auto, resolved=ran("bf16"))
    same = fake.report([a, fake.result("b", train={**auto, "epochs": 2}, resolved=ran("bf16"))])
    assert "resolved.mixed_precision" in [column.name for column in same.tables[0].columns]
    assert "resolved.mixed_precision" not in [column.name for column in same.tables[0].shown()]
    assert "All runs here: mixed precision that ran = bf16 (asked for: auto)." in _notes(same)
    differing = fake.report([a, fake.result("b", train={**auto, "epochs": 2}, resolved=ran("no"))])
    assert "resolved.mixed_precision" in [column.name for column in differing.tables[0].shown()]


def test_a_mean_over_unlike_runs_is_not_silent(fake: Any) -> None:
    report = fake.report([fake.result("a", seed=0), fake.result("a", seed=1, num_processes=2, fingerprint="other")])
    assert "“a”: its runs differ in processes and version of the data; the mean mixes them." in _notes(report)


def test_time_to_target_has_a_mean_only_where_every_run_reached_it(fake: Any) -> None:
    reached = TargetReached(metric="test.accuracy", at_least=0.9, epoch=2, train_seconds=30.0)
    missed = TargetReached(metric="test.accuracy", at_least=0.9)
    results = [fake.result("a", seed=seed, target=target) for seed, target in enumerate([reached, missed, reached])]
    values = fake.report(results).tables[0].rows[0].values
    assert (values["target_seconds"], values["joules_to_target"], values["target_reached"]) == (None, None, "2 of 3")
    assert values["target_median_seconds"].seconds == 30
    assert fake.report([results[0], results[2]]).tables[0].rows[0].values["target_seconds"].mean == 30


def test_a_diverged_run_missed_the_target(fake: Any) -> None:
    def run(seed: int, **more: Any) -> Any:
        reached = TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=1.0 + seed)
        return fake.result("a", seed=seed, target=reached, **more)

    runs = [run(0), run(1), *(fake.result("a", seed=seed, status="diverged") for seed in (2, 3, 4))]
    values = fake.report(runs).tables[0].rows[0].values
    assert (values["target_reached"], values["target_seconds"]) == ("2 of 5", None)
    assert values["target_median_seconds"].seconds is None
    values = fake.report(runs[:3]).tables[0].rows[0].values
    assert values["target_median_seconds"].seconds == 2.0, "the second of three, as the third never arrives"


def test_selected_on_test_is_labelled(fake: Any) -> None:
    chosen = [
        Selected(selected_on="validation", epoch=3, test=fake.metrics(0.91)),
        Selected(selected_on="test", epoch=4, test=fake.metrics(0.93)),
    ]
    report = fake.report([fake.result("a", selected=chosen)])
    values = report.tables[0].rows[0].values
    assert values["selected_on_validation_test_accuracy"].mean == 0.91
    assert values["selected_on_test_test_accuracy"].mean == 0.93
    titles = [column.title for column in report.tables[0].shown()]
    assert "test accuracy, selected on test" in titles
    assert any(note.startswith("Selected on test") for note in report.tables[0].every_note)
    report = fake.report([fake.result("a", selected=chosen[:1])])
    assert not any(note.startswith("Selected on test") for note in report.tables[0].every_note)


def test_plan_names_what_is_missing_and_gives_todays_labels(fake: Any) -> None:
    result = fake.result("old name")
    planned = [fake.Planned(result.config_id, "new name"), fake.Planned("c0ffee", "to come")]
    report = fake.report([result], planned=planned)
    assert _labels(report) == ["new name"]
    assert "No result yet on this system: “to come” (1 of 2 planned configs)." in _notes(report)


def test_host_memory_is_shown_only_without_device_memory(fake: Any) -> None:
    def shown(**options: Any) -> set[str]:
        return {column.name for column in fake.report([fake.result(**options)]).tables[0].shown()}

    assert "peak_host_rss_bytes" not in shown()
    assert "peak_host_rss_bytes" in shown(device_bytes=None)


def test_what_was_not_measured_is_explained(fake: Any) -> None:
    report = fake.report([fake.result("a", unavailable={"energy.train_joules": "no counter on this GPU"})])
    assert "Not measured: energy.train_joules (no counter on this GPU)." in _notes(report)
    assert "train_joules" not in [column.name for column in report.tables[0].shown()]


def test_data_facts_of_failed_runs_do_not_matter(fake: Any) -> None:
    facts = DataFacts(
        fingerprint="f", train_samples=1, validation_samples=0, test_samples=1, num_classes=2, rankable=False
    )
    failed = fake.result("a", status="failed").model_copy(update={"data": facts})
    assert fake.report([failed]).tables[0].rows[0].values["rankable"] is False


def test_a_fallback_is_told_under_the_table_with_its_reason(fake: Any) -> None:
    ran = Resolved(
        device="cuda",
        mixed_precision="no",
        loader="pinned",
        loader_images_per_second={"dali": "loader 'dali' needs NVIDIA DALI"},
        micro_batch_size=128,
    )
    results = [fake.result("a", seed=seed, resolved=ran) for seed in (0, 1)]
    for result in results:
        result.spec["loader"] = {"name": "dali", "fallback": "pinned"}
    [table] = fake.report(results).tables
    assert "2 runs: loader pinned instead of dali: loader 'dali' needs NVIDIA DALI." in table.every_note
    assert [row.values["resolved.loader"] for row in table.rows] == ["pinned"]
