"""Processes without a home: HOME is not set, and their user has no passwd entry."""

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from harness.cache import cache_root
from harness.cli import main

SUITE = "name: s\nbase: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}\n"


@pytest.fixture(params=[None, ""], ids=["unset", "empty"])
def homeless(request, monkeypatch, tmp_path):
    """The folder that a home is made in."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setenv("HOME", request.param or "")
    if request.param is None:
        monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "suite.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "temporary"


def call(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return caught.value.code


@pytest.mark.launch
@pytest.mark.parametrize("homeless", [None], indirect=True)
def test_a_run_has_a_home_of_its_own_and_says_where(homeless, capfd):
    folder = homeless / f"harness-home-{os.getuid()}"
    assert call("run", "suite.yaml", "--local") == 0
    assert f"user {os.getuid()} has no passwd entry: its files go to {folder}\n" in capfd.readouterr().err
    assert folder.stat().st_mode & 0o777 == 0o700
    assert Path.home() == folder and cache_root() == folder / ".cache" / "harness"
    assert call("plan", "suite.yaml") == 0 and "passwd" not in capfd.readouterr().err, "said once"


@pytest.mark.parametrize("verb", [["plan", "suite.yaml"], ["list"], ["status", "suite.yaml"]], ids=lambda verb: verb[0])
def test_each_verb_starts(homeless, verb):
    assert call(*verb) == 0


@pytest.mark.parametrize("kind", ["file", "link", "open", "none"])
def test_a_folder_that_others_could_write_is_no_home(homeless, capsys, kind):
    folder = homeless / f"harness-home-{os.getuid()}"
    if kind == "file":
        folder.touch()
    elif kind == "link":
        folder.symlink_to(homeless)
    elif kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        homeless.rmdir()
    assert call("plan", "suite.yaml") == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert f"HOME is not set and user {os.getuid()} has no passwd entry, and " in message
    assert hint == "hint: set HOME to a folder"


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("", ["plan", "suite.yaml", "--set", "data={name: image_folder, root: ~no_such_user/x}"]),
        ("HARNESS_DATA", ["plan", "suite.yaml", "--set", "data=cifar10"]),
        ("", ["init", "~no_such_user/x"]),
    ],
    ids=str,
)
def test_the_home_of_nobody(tmp_path, monkeypatch, capsys, variable, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE)
    if variable:
        monkeypatch.setenv(variable, "~no_such_user/x")
    if arguments[0] == "init":
        (tmp_path / "suite.yaml").unlink()
    assert call(*arguments) == 2
    assert "~no_such_user/x: there is no user of that name\nhint: write the path in full" in capsys.readouterr().err


def test_the_passwd_entry_is_enough(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("HOME")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE)
    assert call("plan", "suite.yaml") == 0
    assert "HOME" not in os.environ and "passwd" not in capsys.readouterr().err
