"""Accuracy over train time, energy and memory: what each config pays, for the chart of accuracy over cost."""

from __future__ import annotations

from harness.report.charts.accuracy_over_cost import WIDE, AccuracyOverCost, Paying, Size, accuracy_over_cost
from harness.report.numbers.fronts import COSTS, TIME, Cost, front_of
from harness.report.tables import Table
from harness.statistics.intervals import summarise

_, ENERGY, MEMORY = COSTS


def accuracy_over_time(table: Table, size: Size = WIDE, most: int | None = None) -> AccuracyOverCost | None:
    """Returns the chart of one system; None where no config has both numbers.

    Args:
        most: configs; beyond those of the front the most accurate ones are kept.
    """
    return accuracy_over_cost(table, _kept(paying_time(table), most), TIME, size)


def accuracy_over_energy(table: Table, size: Size = WIDE, most: int | None = None) -> AccuracyOverCost | None:
    """Returns the chart over the energy of the GPUs; None where no config's was measured."""
    return accuracy_over_cost(table, _kept(paying_energy(table), most), ENERGY, size)


def accuracy_over_memory(table: Table, size: Size = WIDE, most: int | None = None) -> AccuracyOverCost | None:
    """Returns the chart over the peak of a GPU's allocated memory; None where no config's was measured."""
    return accuracy_over_cost(table, _kept(paying_memory(table), most), MEMORY, size)


def paying_time(table: Table) -> list[Paying]:
    """Returns the configs that have both numbers, in the order of the table."""
    return [
        Paying(row, row.values["train_seconds"], bool(row.values["on_front"]), row.values["front_probability"])
        for row in table.rows
        if row.values["test_accuracy"] and row.values["train_seconds"]
    ]


def paying_energy(table: Table) -> list[Paying]:
    """Returns the ranked configs whose energy was measured."""
    return _measured(table, ENERGY)


def paying_memory(table: Table) -> list[Paying]:
    """Returns the ranked configs whose memory was measured."""
    return _measured(table, MEMORY)


def _measured(table: Table, cost: Cost) -> list[Paying]:
    found = []
    for place in front_of(table.rows, cost).places:
        paid = summarise(list(place.payments.values()))
        if paid:
            found.append(Paying(place.row, paid, place.on_front, place.probability))
    return found


def _kept(paying: list[Paying], most: int | None) -> list[Paying]:
    if most is None or len(paying) <= most:
        return paying
    return sorted(paying, key=lambda one: (not one.on_front, -one.accuracy.mean))[:most]
