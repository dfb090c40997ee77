"""Curves, confusion matrices and mistakes, and what charts share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.records.events import since_last_start
from harness.visualize import charts
from harness.visualize.picture import Picture
from harness.visualize.pictures.confusion import confusion
from harness.visualize.pictures.curves import curves, moving_average, step_losses
from harness.visualize.pictures.mistakes import mistakes, most_confident
from harness.visualize.trained import Trained
from tests.marked import MARKING
from tests.visualize.charts_fixtures import train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(root: Path) -> Trained:
    return train(root, data={"validation": 0.2})


@pytest.fixture(scope="module")
def repeat(root: Path) -> Trained:
    return train(root, seed=2, data={"validation": 0.2})


@pytest.fixture(scope="module")
def other(root: Path) -> Trained:
    return train(root, label="faster", optimizer={"name": "sgd", "lr": 0.2}, system="elsewhere")


def drawn_rows(picture: Picture, **wanted: Any) -> list[dict[str, Any]]:
    """Returns the data of a chart that have these values; each once, though several layers may draw it."""
    spec: Any = picture.drawn.to_dict()  # type: ignore[union-attr]
    found = [row for rows in spec.get("datasets", {}).values() for row in rows]
    found += [row for layer in _layers(spec) for row in layer.get("data", {}).get("values", [])]
    unique = {json.dumps(row, sort_keys=True): row for row in found}
    return [row for row in unique.values() if all(row.get(key) == value for key, value in wanted.items())]


def _layers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield spec
    for part in (*spec.get("layer", []), *spec.get("vconcat", [])):
        yield from _layers(part)


def epochs(run: Trained) -> list[dict[str, Any]]:
    return [event for event in since_last_start(run.folder.events()) if event["event"] == "epoch"]


class TestCurves:
    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    @pytest.mark.parametrize("quantity", ["accuracy", "loss"])
    def test_by_epoch(self, run: Trained, split: str, quantity: str) -> None:
        (drawn,) = curves([run])
        found = drawn_rows(drawn, split=split, quantity=quantity)
        expected = [event["metrics"][split][quantity] for event in epochs(run)]
        assert [(row["x"], row["y"]) for row in found] == [(1, expected[0]), (2, expected[1])]
        assert drawn.name == "curves by epoch"

    def test_learning_rate(self, run: Trained) -> None:
        found = drawn_rows(curves([run])[0], quantity="learning rate")
        assert [row["y"] for row in found] == [0.05, 0.05]

    def test_by_seconds_of_train_time(self, run: Trained) -> None:
        found = drawn_rows(curves([run], by="seconds")[0], quantity="accuracy", split="test")
        first, second = (event["train_seconds"] for event in epochs(run))
        assert [row["x"] for row in found] == [first, first + second]
        assert found[-1]["x"] == pytest.approx(run.result.clock.train_seconds)

    def test_by_step_the_loss_of_each(self, run: Trained) -> None:
        (drawn,) = curves([run], by="step")
        with np.load(run.folder.path / "losses.npz") as arrays:
            expected = arrays["loss"]
        found = drawn_rows(drawn, quantity="loss", split="train")
        assert [row["x"] for row in found] == list(range(1, len(expected) + 1))
        assert [row["y"] for row in found] == pytest.approx(expected.tolist())
        steps = run.result.throughput.steps
        assert steps == len(expected)
        assert [row["x"] for row in drawn_rows(drawn, quantity="loss", split="test")] == [steps / 2, steps]

    def test_only_the_last_attempt_counts(self, run: Trained, tmp_path: Path) -> None:
        lines = (run.folder.path / "events.jsonl").read_text().splitlines()
        earlier = [line.replace('"accuracy":0.', '"accuracy":0.9') for line in lines]
        (tmp_path / "events.jsonl").write_text("\n".join([*earlier[:2], *lines]) + "\n")
        folder = replace(run.folder, path=tmp_path)
        found = drawn_rows(curves([replace(run, folder=folder)])[0], split="test", quantity="accuracy")
        assert [row["y"] for row in found] == [event["metrics"]["test"]["accuracy"] for event in epochs(run)]
        assert [row["x"] for row in found] == [1, 2]

    def test_repeats_share_a_name_and_are_lines_of_their_own(
        self, run: Trained, repeat: Trained, other: Trained
    ) -> None:
        found = drawn_rows(curves([run, repeat, other])[0], split="test", quantity="loss")
        assert {(row["name"], row["run"]) for row in found} == {
            ("mlp · seeds 1, 2", run.result.run_id),
            ("mlp · seeds 1, 2", repeat.result.run_id),
            ("faster · seed 1", other.result.run_id),
        }

    def test_the_picture_is_written(self, run: Trained, repeat: Trained, tmp_path: Path) -> None:
        for by in ("epoch", "step", "seconds"):
            (drawn,) = curves([run, repeat], by=by)
            assert drawn.write(tmp_path).stat().st_size > 20_000
            assert drawn.caption in (tmp_path / f"curves_by_{by}.txt").read_text()

    @pytest.mark.parametrize("mark", MARKING)
    def test_seconds_of_a_marked_run_are_an_error(self, run: Trained, mark: str) -> None:
        marked = replace(run, result=run.result.model_copy(update=MARKING[mark]))
        assert drawn_rows(curves([marked])[0]) == drawn_rows(curves([run])[0])
        if mark == "resumed":
            assert curves([marked], by="seconds")
            return
        with pytest.raises(HarnessError, match=f"is {mark} .* its times are not its own") as caught:
            curves([run, marked], by="seconds")
        assert "by=epoch" in caught.value.hint

    def test_seconds_of_two_systems_are_an_error(self, run: Trained, other: Trained) -> None:
        with pytest.raises(HarnessError, match="2 systems: elsewhere, here") as caught:
            curves([run, other], by="seconds")
        assert "by=epoch" in caught.value.hint
        curves([run, other], by="step")

    def test_a_run_without_epochs_is_an_error(self, run: Trained, tmp_path: Path) -> None:
        (tmp_path / "events.jsonl").write_text('{"event":"run_started"}\n')
        with pytest.raises(HarnessError, match="records no epoch") as caught:
            curves([replace(run, folder=replace(run.folder, path=tmp_path))])
        assert caught.value.hint

    @pytest.mark.parametrize("content", [None, b"", b"PK no archive", "other"])
    def test_losses_that_are_not_there_are_an_error(self, tmp_path: Path, content: bytes | str | None) -> None:
        if content == "other":
            np.savez(tmp_path / "losses.npz", other=np.zeros(3))
        elif isinstance(content, bytes):
            (tmp_path / "losses.npz").write_bytes(content)
        with pytest.raises(HarnessError, match=r"losses\.npz") as caught:
            step_losses(tmp_path)
        assert "by=epoch" in caught.value.hint

    def test_moving_average(self) -> None:
        assert moving_average(np.array([4.0, 2.0, 6.0, 1.0]), 2).tolist() == [4.0, 3.0, 4.0, 3.5]
        assert moving_average(np.array([4.0, 2.0]), 1).tolist() == [4.0, 2.0]


class TestConfusion:
    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    def test_counts_are_those_recorded(self, run: Trained, split: Any) -> None:
        with np.load(run.folder.path / "predictions.npz") as arrays:
            expected = arrays[f"confusion_{split}"]
        (drawn,) = confusion(run, split=split)
        cells = [row for row in drawn_rows(drawn) if "share" in row]
        assert len(cells) == 100
        found = np.zeros_like(expected)
        for cell in cells:
            found[cell["y"], cell["x"]] = int(cell["count"] or 0)
        assert found.tolist() == expected.tolist()
        assert f"{expected.trace():,} of {expected.sum():,} {split} images right" in drawn.caption

    def test_shares_are_of_the_true_class(self, run: Trained) -> None:
        with np.load(run.folder.path / "predictions.npz") as arrays:
            predicted = arrays["prediction"][arrays["label"] == 3]
        cells = [row for row in drawn_rows(confusion(run)[0]) if row.get("y") == 3]
        shares = {cell["x"]: cell["share"] for cell in cells}
        assert shares == pytest.approx({number: (predicted == number).mean() for number in range(10)})
        assert sum(shares.values()) == pytest.approx(1.0)

    def test_many_classes_have_no_numbers(self, run: Trained, tmp_path: Path) -> None:
        matrix = (np.random.default_rng(0).random((256, 256)) < 0.03).astype(np.int32)
        np.savez(tmp_path / "predictions.npz", confusion_test=matrix)
        many = replace(run, folder=replace(run.folder, path=tmp_path))
        many.__dict__["splits"] = replace(run.splits, class_names=tuple(f"class {n}" for n in range(256)))
        (drawn,) = confusion(many)
        cells = [row for row in drawn_rows(drawn) if "share" in row]
        assert len(cells) == np.count_nonzero(matrix)
        assert '"text"' not in json.dumps(drawn.drawn.to_dict()["layer"])  # type: ignore[union-attr]
        assert drawn.write(tmp_path).stat().st_size > 20_000

    def test_a_split_that_was_not_recorded_is_an_error(self, other: Trained) -> None:
        with pytest.raises(HarnessError, match="no confusion matrix of the validation split") as caught:
            confusion(other, split="validation")
        assert caught.value.hint == "it has those of train, test"

    @pytest.mark.parametrize("content", [None, b"", b"PK no archive"])
    def test_a_file_that_cannot_be_read_is_an_error(self, run: Trained, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "predictions.npz").write_bytes(content)
        with pytest.raises(HarnessError, match="cannot be read") as caught:
            confusion(replace(run, folder=replace(run.folder, path=tmp_path)))
        assert caught.value.hint


class TestMistakes:
    def test_they_are_the_most_confident_ones(self, run: Trained) -> None:
        found = most_confident(run)
        images, labels = run.test_images(range(len(run.splits.test.labels)))
        with torch.no_grad():
            probabilities = run.network(images).softmax(1)
        wrong = {
            number: float(row.max())
            for number, (row, label) in enumerate(zip(probabilities, labels.tolist(), strict=True))
            if int(row.argmax()) != label
        }
        assert len(found) == len(wrong) > 16
        assert [each.number for each in found] == sorted(wrong, key=lambda number: -wrong[number])
        assert [each.probability for each in found] == pytest.approx(sorted(wrong.values(), reverse=True))
        for each in found:
            assert each.label == labels[each.number] != each.prediction == probabilities[each.number].argmax()

    def test_they_are_those_that_the_run_recorded(self, run: Trained) -> None:
        with np.load(run.folder.path / "predictions.npz") as arrays:
            wrong = np.flatnonzero(arrays["prediction"] != arrays["label"])
        assert sorted(each.number for each in most_confident(run)) == wrong.tolist()

    def test_parts_of_the_split_make_no_difference(self, run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = most_confident(run)
        monkeypatch.setattr("harness.visualize.pictures.mistakes.BATCH", 7)
        assert [(each.number, each.prediction) for each in most_confident(run)] == [
            (each.number, each.prediction) for each in whole
        ]

    def test_the_grid(self, run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: dict[str, Any] = {}
        from harness.visualize.pictures import mistakes as module

        real = module.draw_grid
        monkeypatch.setattr(module, "draw_grid", lambda cells, **named: seen.update(named) or real(cells, **named))
        (drawn,) = mistakes(run, count=5)
        first = most_confident(run)[:5]
        names = run.splits.class_names
        assert seen["labels"][0].startswith(f"{names[first[0].label]} > {names[first[0].prediction]}, ")
        assert len(seen["labels"]) == 5
        assert f"Test images {', '.join(str(each.number) for each in first)}." in drawn.caption
        assert drawn.drawn.width >= 1200  # type: ignore[union-attr]

    def test_a_network_without_mistakes_is_an_error(self, run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.visualize.pictures.mistakes.most_confident", lambda run: [])
        with pytest.raises(HarnessError, match="makes no mistake on its 100 test images") as caught:
            mistakes(run)
        assert caught.value.hint


class TestSharedParts:
    def test_scales(self) -> None:
        assert charts.up([1.0, 2.0, None, math.inf], "loss")["scale"].to_dict()["type"] == "linear"
        wide = charts.up([0.001, 5.0, math.nan], "loss")
        assert wide["title"] == ["loss", "(log scale)"]
        low, high = wide["scale"].to_dict()["domain"]
        assert low < 0.001 and high > 5.0
        assert charts.up([0.0, 5.0], "loss")["title"] == ["loss"]
        assert charts.up([0.01, 0.9], "accuracy", ".0%")["title"] == ["accuracy"]

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (1.5, 60.0, [2, 5, 10, 20, 50]),
            (0.0005, 2.0, [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]),
            (1e-6, 2.0, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]),
        ],
    )
    def test_ticks_of_a_log_axis(self, low: float, high: float, expected: list[float]) -> None:
        assert charts.log_axis_values(low, high) == expected

    def test_names(self, run: Trained, repeat: Trained) -> None:
        many = [replace(run, result=run.result.model_copy(update={"seed": seed})) for seed in (0, 2, 1, 3)]
        assert list(charts.names_of(many).values()) == ["mlp · seeds 0 to 3"]
        config = {"config_id": "abcdef012345"}
        twin = replace(run, result=run.result.model_copy(update=config))
        names = charts.names_of([run, twin])
        assert names["abcdef012345"] == "mlp · seed 1 · abcdef"
        assert len(set(names.values())) == 2

    def test_more_configs_than_colours_are_an_error(self) -> None:
        charts.colours([f"config {number}" for number in range(10)])
        with pytest.raises(HarnessError, match="11 configs") as caught:
            charts.colours([f"config {number}" for number in range(11)])
        assert "10 configs at most" in caught.value.hint

    def test_what_is_not_finite_is_null(self, tmp_path: Path) -> None:
        charts.write_numbers(tmp_path, "shape", {"a": [1.0, math.inf, (math.nan, 2)]})
        assert json.loads((tmp_path / "pictures" / "shape.json").read_text()) == {"a": [1.0, None, [None, 2]]}
