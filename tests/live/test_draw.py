"""The block in windows of all sizes, and what it says."""

from __future__ import annotations

import pytest

from harness.live.draw import draw
from harness.live.state import SuiteState
from tests.live.made import ended, going_on, planned, planned_run, see, start


def text(state: SuiteState, width: int = 80, height: int = 24, note: str = "") -> list[str]:
    return [line.plain for line in draw([state], width, height, note)]


@pytest.mark.parametrize("width", [1, 10, 20, 40, 79, 80, 120, 199])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 11, 12, 24, 49])
@pytest.mark.parametrize("ranks", [0, 1, 8])
def test_never_larger_than_the_window(width: int, height: int, ranks: int) -> None:
    state = going_on(ranks)
    state.planned["r4"] = planned_run("r4", "名前" * 30, 1, "c9")
    state.end(ended("r4", accuracy=0.99))
    lines = draw([state, going_on(ranks)], width, height, note="queue: tasks: 3 running")
    assert 1 <= len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    assert not any("\n" in line.plain for line in lines)


def test_eighty_columns() -> None:
    lines = text(going_on())
    assert lines == [
        "digits  ━━━━━━━──────  3 of 6 done, 1 running, 1 failed, about 2 min left",
        "running                    epoch  loss    test  samples/s  waited        left",
        "resnet18 width=0 · seed 1   3/10   0.5  70.00%        250   25.0%  about 15 s",
        "   so far; ◆ on the front    test  train time  runs",
        "◆  resnet18 width=1        95.00%        20 s     1",
        "◆  resnet18 width=0        90.00%        10 s     1",
    ]


def test_a_narrow_window_leaves_columns_out_and_keeps_the_name() -> None:
    head, run = text(going_on(), width=44)[1:3]
    assert "waited" not in head and "left" not in head and run.startswith("resnet18 wi…")


def test_each_rank_where_there_is_room_and_one_line_where_not() -> None:
    lines = text(going_on(2))
    assert lines[3:5] == ["  rank 0: GPU 83 % busy, 12.2 of 80 GiB", "  rank 1: GPU 84 % busy, 13.2 of 80 GiB"]
    assert "  8 ranks: GPU 83 to 90 % busy, 12.2 to 19.2 of 80 GiB" in text(going_on(8), height=11)


def test_a_low_window_keeps_the_suite_then_the_runs_then_the_front() -> None:
    assert len(text(going_on(), height=1)) == 1 and "3 of 6 done" in text(going_on(), height=1)[0]
    assert "running: resnet18 width=0 · seed 1" in text(going_on(), height=2)[1]
    assert not any("on the front" in line for line in text(going_on(), height=3))
    assert any("on the front" in line for line in text(going_on(), height=5))


def test_many_runs_at_a_time() -> None:
    state = SuiteState("s", planned(60))
    for index in range(40):
        start(state, f"r{index}")
    see(state, "r0", None)
    lines = text(state, height=12)
    assert len(lines) == 12 and lines[-1] == "and 31 more"
    assert any("reads data" in line for line in lines)


def test_the_note_is_last() -> None:
    assert text(going_on(), note="queue: tasks: 3 running")[-1] == "queue: tasks: 3 running"
    assert "3 of 6 done" in text(going_on(), height=1, note="queue: tasks: 3 running")[0], "the suite comes first"


def test_nothing_known_and_all_done() -> None:
    state = SuiteState("s", planned(2, configs=1))
    assert text(state) == ["s  ─────────────  0 of 2 done, time left not known yet"]
    state.end(ended("r0"))
    state.end(ended("r1"))
    assert text(state)[0] == "s  ━━━━━━━━━━━━━  2 of 2 done"
