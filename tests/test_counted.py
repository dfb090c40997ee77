"""Numbers of things in messages: one is singular."""

import pytest

from harness.counted import counted, is_are, was_were


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 runs are"), (1, "1 run is"), (2, "2 runs are"), (1200, "1,200 runs are")]
)
def test_one_is_singular(number, words):
    assert f"{counted(number, 'run')} {is_are(number)}" == words
    assert counted(number, "class", "classes").endswith("class" if number == 1 else "classes")
    assert was_were(number) == ("was" if number == 1 else "were")
