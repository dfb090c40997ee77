"""What the epochs of a run add up to, on numbers that can be checked in the head."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.measure.clock import EpochTime
from harness.records.result import Metrics
from harness.suite.file import Target
from harness.training.history import Epoch, History


def metrics(accuracy: float) -> Metrics:
    return Metrics(accuracy=accuracy, top5_accuracy=None, loss=1.0, macro_recall=accuracy, recall_by_class=[accuracy])


def history(
    test: list[float | None],
    validation: list[float | None] | None = None,
    times: list[EpochTime] | None = None,
    target: Target | None = None,
) -> History:
    """Epochs of three batches: 10, 10 and 4 samples; by default of two seconds, none of them untimed."""
    found = History([10, 10, 4], target)
    for number, accuracy in enumerate(test):
        evaluated = {"train": metrics(0.5)}
        if accuracy is not None:
            evaluated["test"] = metrics(accuracy)
        if validation and (held_out := validation[number]) is not None:
            evaluated["validation"] = metrics(held_out)
        time = times[number] if times else EpochTime(2.0, 0.5, 2.0, 3)
        found.add(Epoch(number, time, sum([10, 10, 4][3 - time.timed_steps :]), 0.1, 0.1, evaluated))
    return found


def test_throughput_leaves_out_the_untimed_steps_and_their_samples() -> None:
    # Of 2 x 24 samples the first 4 steps are untimed: 24 of the first epoch and 10 of the second.
    found = history([0.5, 0.6], times=[EpochTime(9.0, 1.0, 0.0, 0), EpochTime(3.0, 2.0, 2.0, 2)])
    throughput, unavailable = found.throughput(skipped_samples=1)
    assert throughput.samples_per_second == pytest.approx(14 / 2.0)
    assert (throughput.steps, throughput.samples, throughput.untimed_steps) == (6, 48, 4)
    assert throughput.data_wait_share == pytest.approx(3.0 / 12.0)
    assert throughput.skipped_samples == 2 and unavailable == {}


def test_a_run_of_untimed_steps_has_a_reason_instead_of_a_rate() -> None:
    throughput, unavailable = history([0.5], times=[EpochTime(9.0, 1.0, 0.0, 0)]).throughput(0)
    assert throughput.samples_per_second is None and throughput.untimed_steps == 3
    assert set(unavailable) == {"throughput.samples_per_second"}


def test_the_target_is_reached_at_the_first_evaluation_that_meets_it() -> None:
    target = Target(metric="test.accuracy", at_least=0.7)
    times = [EpochTime(seconds, 0.0, seconds, 3) for seconds in (1.0, 2.0, 4.0, 8.0)]
    reached = history([0.9, None, 0.7, 0.6], times=times, target=target).target()
    assert reached is not None and (reached.epoch, reached.train_seconds) == (0, 1.0)
    reached = history([0.6, None, 0.7, 0.6], times=times, target=target).target()
    assert reached is not None and (reached.epoch, reached.train_seconds) == (2, 7.0)
    missed = history([0.6, None, 0.69, 0.6], times=times, target=target).target()
    assert missed is not None and missed.epoch is None and missed.train_seconds is None


def test_energy_adds_up_and_what_is_not_known_of_one_epoch_is_not_known_of_all() -> None:
    target = Target(metric="test.accuracy", at_least=0.7)
    found = history([0.6, 0.7, 0.8], target=target)
    assert found.train_joules is None
    found.epochs = [replace(epoch, joules=joules) for epoch, joules in zip(found.epochs, [5.0, 6.0, 7.0], strict=True)]
    reached = found.target()
    assert found.train_joules == 18.0 and reached and reached.train_joules == 11.0
    found.epochs[2] = replace(found.epochs[2], joules=None)
    reached = found.target()
    assert found.train_joules is None and reached and reached.train_joules == 11.0
    found.epochs[0] = replace(found.epochs[0], joules=None)
    reached = found.target()
    assert reached and reached.train_joules is None and reached.train_seconds == 4.0


def test_no_target_was_asked_for() -> None:
    assert history([0.9]).target() is None


def test_the_validation_split_selects_the_epoch_and_the_test_split_is_only_read() -> None:
    validation, test = history([0.5, 0.6, 0.9], [0.4, 0.8, 0.3]).selected()
    assert (validation.selected_on, validation.epoch, validation.test.accuracy) == ("validation", 1, 0.6)
    assert (test.selected_on, test.epoch, test.test.accuracy) == ("test", 2, 0.9)


def test_of_equal_epochs_the_first_is_selected() -> None:
    assert history([0.5, 0.9, 0.9]).selected()[0].epoch == 1


def test_epochs_without_an_evaluation_are_not_selected() -> None:
    (selected,) = history([None, 0.2, None, 0.1]).selected()
    assert (selected.epoch, selected.selected_on) == (1, "test")


def test_train_seconds_and_last_metrics() -> None:
    found = history([0.5, 0.25])
    assert found.train_seconds == 4.0 and found.last_metrics()["test"].accuracy == 0.25


def test_the_recall_of_batches_is_averaged_over_the_epochs_that_were_evaluated() -> None:
    found = History([10, 10, 4], None)
    time = EpochTime(2.0, 0.5, 2.0, 3)
    for number, recall in enumerate([0.2, None, 0.6]):
        train = metrics(0.5).model_copy(update={"mean_batch_recall": 0.9})
        test = {"test": metrics(0.5).model_copy(update={"mean_batch_recall": recall})} if recall else {}
        found.add(Epoch(number, time, 24, 0.1, 0.1, {"train": train, **test}))
    last = found.last_metrics()
    assert last["test"].all_epochs_mean_batch_recall == pytest.approx(0.4)
    assert last["train"].all_epochs_mean_batch_recall == pytest.approx(0.9)
    assert found.epochs[0].metrics["test"].all_epochs_mean_batch_recall == pytest.approx(0.2)
