"""A race that is run: round by round, killed and taken up again, as arrays of SLURM; and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.launching.race import run_race
from harness.launching.status import suite_status
from harness.results.race import RaceState, without_needless_runs
from harness.results.race_text import verdict
from harness.suite.plan import load_suite
from tests.house import House
from tests.launching.test_submission import Answers, call, queue, slurm
from tests.processes import wait_for
from tests.results.raced import SUITE, labels, plan_of, train

__all__ = ["slurm"]

# Of these four rates two are clearly worse, and two are nearly the same number.
REAL = """\
name: raced
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 8, global_batch_size: 64}}
zip: [{label: [least, less, most, twin], optimizer.lr: [0.0001, 0.001, 0.2, 0.2000001]}]
seeds: {race: best, looks: [3, 4], margin: 0.05, confirm: 1}
"""


def decisions(output: Path) -> list[str]:
    """What each look decided, in its own words."""
    return [path.read_text() for path in sorted(output.glob("races/*/look-*.json"))]


def test_rounds_follow_each_other_until_it_is_over(tmp_path: Path) -> None:
    plan, said, rounds = plan_of(tmp_path), list[str](), list[int]()

    def launch(runs):
        rounds.append(len(runs))
        return train(tmp_path, runs)

    assert run_race(plan, tmp_path, plan.runs, launch, said.append) == 0
    state = RaceState.begin(plan, tmp_path)
    assert rounds == [12, 4, 6]
    assert sum(rounds) == state.taken() == 22
    assert said[0].startswith("race: best, looks at 3, 5 and 8 seeds")
    assert said[1].startswith("look 1 of 3 comes at 3 seeds, with 4 of 4 configs in the race: it spends 1.9 of 5 %")
    assert re.match(r"look 1 of 3, at 3 seeds: “\w+” leaves: worse than “\w+” \(p .*, below 0.019\);", said[2])
    assert said[-1] == verdict(state)
    again: list[str] = []
    assert run_race(plan, tmp_path, plan.runs, launch, again.append) == 0
    assert rounds == [12, 4, 6], "nothing is trained twice"
    assert again[-1] == said[-1]
    left = without_needless_runs(plan, tmp_path)
    assert len(left.runs) == 22 and len(plan.runs) == 32, "of those that left no seed is open"
    assert suite_status(left, tmp_path).systems.popitem()[1].counts == {"ok": 22}


@pytest.mark.parametrize("code", [75, 2])
def test_a_launch_that_stops_stops_the_race_before_its_look(tmp_path: Path, code: int) -> None:
    plan = plan_of(tmp_path)

    def launch(runs):
        train(tmp_path, runs[:-1])
        return code

    assert run_race(plan, tmp_path, plan.runs, launch, lambda _: None) == code
    assert RaceState.begin(plan, tmp_path).looks == ()


def test_runs_that_failed_are_waited_for(tmp_path: Path) -> None:
    plan, said = plan_of(tmp_path), list[str]()

    def launch(runs):
        train(tmp_path, runs[:-1])
        train(tmp_path, runs[-1:], status="failed")
        return 1

    assert run_race(plan, tmp_path, plan.runs, launch, said.append) == 1
    assert said[-1] == "look 1 waits for 1 run without a result: the same command tries them again"


def test_a_diverged_run_decides_and_is_told_by_the_exit_code(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)

    def launch(runs):
        for run in runs:
            train(tmp_path, [run], status="diverged" if run.spec.label == "low" else "ok")
        return 1

    assert run_race(plan, tmp_path, plan.runs, launch, lambda _: None) == 1
    state = RaceState.begin(plan, tmp_path)
    assert state.ended
    assert "low" not in labels(plan, state.staying)


def test_killed_anywhere_it_decides_the_same(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert run_race(plan, tmp_path, plan.runs, lambda runs: train(tmp_path, runs), lambda _: None) == 0

    class Killed(Exception):
        pass

    other = tmp_path / "other"
    for at in range(1, 40):

        def launch(runs, most=at):
            train(other, runs[: most % 5])
            raise Killed

        with pytest.raises(Killed):
            run_race(plan, other, plan.runs, launch, lambda _: None)
        train(other, RaceState.begin(plan, other).due(plan.runs)[: at // 2])
        if len(decisions(other / "raced")) == 2:
            break
        state = RaceState.begin(plan, other)
        state.look(plan.runs)
    assert run_race(plan, other, plan.runs, lambda runs: train(other, runs), lambda _: None) == 0
    strip = [re.sub(r'"at": "[^"]*"', "", one) for one in decisions(tmp_path / "raced")]
    assert [re.sub(r'"at": "[^"]*"', "", one) for one in decisions(other / "raced")] == strip


def test_submit_freezes_a_round_and_decides_when_it_has_ended(
    tmp_path: Path, slurm: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = real_plan(tmp_path)
    output = tmp_path / "results"

    def manifests() -> list[int]:
        paths = sorted(output.glob("raced/submissions/*/manifest.jsonl"))
        return [len(path.read_text().splitlines()) - 1 for path in paths]

    code, _, err = call(capsys, "submit", "suite.yaml", "--dry-run")
    assert code == 0
    assert not output.exists()
    slurm["scontrol"] = "MaxArraySize            = 1001\n"
    code, _, err = call(capsys, "submit", "suite.yaml")
    assert (code, manifests()) == (0, [12])
    assert "look 1 of 3 comes at 3 seeds" in err
    slurm["squeue"] = queue(*(f"11|{task}|PENDING|Resources" for task in range(12)))
    code, _, err = call(capsys, "submit", "suite.yaml")
    assert "to submit: 0" in err
    slurm["squeue"] = ""
    train(output, RaceState.begin(plan, output).due(plan.runs))
    monkeypatch.setattr("harness.launching.slurm.submission.datetime", Later)
    code, _, err = call(capsys, "submit", "suite.yaml")
    assert (code, manifests()) == (0, [12, 4])
    assert "look 1 of 3, at 3 seeds: " in err
    assert "look 2 of 3 comes at 5 seeds, with 2 of 4 configs in the race" in err


class Later:
    """The time of day, but for that a second has passed at each look."""

    UTC, looks = None, 0

    class datetime:
        @staticmethod
        def now(_):
            import datetime

            Later.looks += 1
            return datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=Later.looks)


def test_follow_submits_round_after_round(
    tmp_path: Path, slurm: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan, output = real_plan(tmp_path), tmp_path / "results"
    monkeypatch.setattr("harness.launching.slurm.submission.datetime", Later)
    slurm["scontrol"] = "MaxArraySize            = 1001\n"
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        slurm["squeue"] = ""
        train(output, RaceState.begin(plan, output).due(plan.runs))

    monkeypatch.setattr("harness.launching.race.time", type("Clock", (), {"sleep": staticmethod(sleep)}))

    def busy(name: str, *_: str) -> str:
        if name == "sbatch":
            slurm["squeue"] = queue(f"{11 + len(slept)}|0|RUNNING|None")
            return f"{11 + len(slept)};cluster\n"
        return slurm[name]

    monkeypatch.setattr("harness.launching.slurm.cluster._ask", busy)
    code, out, err = call(capsys, "submit", "suite.yaml", "--follow")
    assert (code, len(slept)) == (0, 3), err
    assert "Race over, budget spent, after 22 runs of at most 32" in err
    assert out.count("job ") == 3
    code, out, err = call(capsys, "submit", "suite.yaml", "--follow")
    assert (code, out) == (0, "")
    assert "Race over" in err


def test_follow_ends_where_a_round_brings_nothing(
    tmp_path: Path, slurm: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real_plan(tmp_path)
    code, _, err = call(capsys, "submit", "suite.yaml", "--follow")
    assert code == 2
    assert "error: 12 runs of the race ended without a result" in err


def real_plan(folder: Path):
    """The plan as the verbs make it, with the content of the digits."""
    from harness.data.prepare import fingerprint

    (folder / "suite.yaml").write_text(SUITE)
    return load_suite(folder / "suite.yaml").plan(fingerprint)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["run", "--only", "label=low"], "--only leaves configs or seeds out of a race", "--set seeds=3"),
        (["submit", "--only", "label=low"], "--only leaves configs or seeds out of a race", "--set seeds=3"),
        (["run", "--renew"], "--renew trains runs again that a race has decided from", "a new race"),
        (["run", "--pack", "2", "--set", "seeds=1"], None, ""),
        (["submit", "--follow", "--dry-run"], "--follow submits the rounds of a race", "leave --follow out"),
        (["submit", "--follow", "--set", "seeds=1"], "raced is no race", "leave --follow out"),
    ],
)
def test_what_would_change_a_race_is_refused(
    arguments: list[str],
    message: str | None,
    hint: str,
    tmp_path: Path,
    slurm: Answers,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    real_plan(tmp_path)
    if message is None:
        monkeypatch.setattr("harness.cli.run._do", lambda *_: 75)
    code, _, err = call(capsys, arguments[0], "suite.yaml", *arguments[1:])
    assert code == (75 if message is None else 2), err
    assert (message or "") in err
    assert hint in err
    assert not list(tmp_path.glob("results/*/races"))


def test_times_that_do_not_count_are_no_race_for_the_fastest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.replace("race: best", "race: fastest"))
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "run", "suite.yaml", "--pack", "2")
    assert code == 2
    assert "--pack takes the times from a race for the fastest" in err


def test_a_launcher_is_told_how_to_run_a_race(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "ACCELERATE_MIXED_PRECISION": "no"}.items():
        monkeypatch.setenv(name, value)
    code, _, err = call(capsys, "run", "suite.yaml")
    assert code == 2
    assert "a race is launched once for each of its looks" in err
    assert "hint: harness run suite.yaml" in err


@pytest.mark.launch
def test_a_race_on_the_digits_is_stopped_and_killed_and_ends_as_one_that_was_not(house: House) -> None:
    (house.path / "suite.yaml").write_text(REAL)

    def start(output: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", "run", "suite.yaml", "--output", output]
        return subprocess.Popen(
            command, cwd=house.path, env=house.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    child = start("broken")
    done = house.path / "broken/raced"
    assert wait_for(lambda: len(list(done.glob("*/*/result.json"))) >= 2, 200)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=200)
    assert child.returncode == 75
    child = start("broken")
    assert wait_for(lambda: len(list(done.glob("races/*/look-1.json"))) == 1, 200)
    child.kill()
    child.communicate()
    child = start("broken")
    out, err = child.communicate(timeout=200)
    assert child.returncode == 0, err
    assert "Race over" in out, "the answer of its report"
    assert "fresh seed" in out
    whole = start("whole")
    _, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, err

    def plain(output: str) -> list[dict[str, object]]:
        kept = ("seeds", "alpha", "left", "staying", "ended", "accuracy")
        return [{name: json.loads(one)[name] for name in kept} for one in decisions(house.path / output / "raced")]

    assert plain("broken") == plain("whole")
    runs = len(list(done.glob("*/*/result.json")))
    assert runs < 4 * 4
    status = subprocess.run(
        [sys.executable, "-m", "harness", "status", "suite.yaml", "--output", "broken", "--json"],
        cwd=house.path, env={**os.environ, **house.environment()}, capture_output=True, text=True,
    )  # fmt: skip
    race = json.loads(status.stdout)["race"]
    assert race["ended"]
    assert race["looks"][-1]["exploratory"] == []
