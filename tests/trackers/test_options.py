"""Which trackers are asked for, and what is wrong with a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.suite.mirroring import TRACKERS, Mirroring, WandbPlace
from harness.trackers.account import as_problem, why_offline
from harness.trackers.options import Tracking


def test_only_trackers_that_were_run_are_known() -> None:
    assert set(TRACKERS) == {"mlflow", "tensorboard", "wandb"}


def test_none_unless_asked_for() -> None:
    assert Tracking.asked(environment={}).names == ()
    assert Tracking.asked(["none"], environment={"HARNESS_TRACKERS": "wandb"}).names == ()


def test_by_option_or_environment() -> None:
    told = {"HARNESS_TRACKERS": "wandb, tensorboard wandb", "WANDB_PROJECT": "p", "WANDB_ENTITY": "e"}
    tracking = Tracking.asked(environment=told)
    assert (tracking.names, tracking.project, tracking.entity) == (("wandb", "tensorboard"), "p", "e")
    tracking = Tracking.asked(["tensorboard"], "q", "f", environment=told)
    assert (tracking.names, tracking.project, tracking.entity) == (("tensorboard",), "q", "f")
    assert Tracking.asked(environment={"HARNESS_TRACKER_PATIENCE": "2.5"}).patience_seconds == 2.5


def test_by_the_suite_where_option_and_environment_are_silent() -> None:
    of_suite = Mirroring(trackers=("wandb",), wandb=WandbPlace(project="s", entity="t"))
    tracking = Tracking.asked(of_suite=of_suite, environment={})
    assert (tracking.names, tracking.project, tracking.entity) == (("wandb",), "s", "t")
    told = {"HARNESS_TRACKERS": "tensorboard", "WANDB_PROJECT": "p", "WANDB_ENTITY": "e"}
    tracking = Tracking.asked(of_suite=of_suite, environment=told)
    assert (tracking.names, tracking.project, tracking.entity) == (("tensorboard",), "p", "e")
    assert Tracking.asked(["none"], of_suite=of_suite, environment={}).names == ()
    assert Tracking.asked(of_suite=of_suite, environment={"HARNESS_TRACKERS": "none"}).names == ()


@pytest.mark.parametrize(
    ("names", "project", "patience", "message", "hint"),
    [
        (["wandbb"], "", "", "unknown tracker 'wandbb'", "did you mean 'wandb'?"),
        (["clearml"], "", "", "unknown tracker 'clearml'", "valid: mlflow, none, tensorboard, wandb"),
        (["wandb"], "a/b:c", "", "no project name with / :: a/b:c", "choose another"),
        (["wandb"], "x" * 129, "", "no project name of 129 characters", "128 at most"),
        ([], "", "soon", "HARNESS_TRACKER_PATIENCE is 'soon'", "a number of seconds"),
        ([], "", "-1", "HARNESS_TRACKER_PATIENCE is '-1'", "a number of seconds"),
    ],
)
def test_a_call_that_is_wrong(names: list[str], project: str, patience: str, message: str, hint: str) -> None:
    with pytest.raises(HarnessError) as caught:
        Tracking.asked(names, project, environment={"HARNESS_TRACKER_PATIENCE": patience})
    assert message in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("returned error 401: user is not logged in", "refuses the key"),
        ("API key must have 40+ characters, has 3.", "refuses the key"),
        ("returned error 403: permission denied", "does not let this account write to e/p"),
        ("failed to find entity", "knows no e/p"),
        ("Run set 'x' project 'e/p' not found. Please verify", "knows no e/p"),
        ("giving up after 2 attempt(s) while retrying: HTTP 500: {}", "does not answer as it should (HTTP 500)"),
        ("read tcp 127.0.0.1: connection reset by peer", "does not answer as it should (connection reset)"),
        ("context deadline exceeded", "does not answer as it should (timeout)"),
        ("Timed out finishing run.", "does not answer as it should (timed out)"),
    ],
)
def test_an_error_of_the_client_is_one_sentence(said: str, sentence: str) -> None:
    problem = as_problem(ValueError(said), "https://w", "e/p")
    assert sentence in problem.message and "\n" not in problem.message and problem.hint


def test_offline_and_why(tmp_path: Path) -> None:
    assert why_offline({}, tmp_path) == "no key is found"
    assert why_offline({"WANDB_MODE": "offline", "WANDB_API_KEY": "x"}, tmp_path) == "WANDB_MODE is offline"
    assert why_offline({"WANDB_API_KEY": "x"}, tmp_path) == ""
    for host in ("api.wandb.ai", "api.forge.coreweave.com"):
        (tmp_path / ".netrc").write_text(f"machine {host} login user password x\n")
        assert why_offline({}, tmp_path) == ""
        assert why_offline({"WANDB_BASE_URL": "https://elsewhere.example"}, tmp_path) == "no key is found"


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HarnessError, match="tracker mlflow needs mlflow, which is not installed") as caught:
        Tracking.asked(["mlflow"], environment={})
    assert caught.value.hint == "pip install mlflow"
