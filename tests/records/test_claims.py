"""One owner for each run: claims, stale ones, and former owners that wake up."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.records import claims as module
from harness.records.claims import claim, owner
from harness.records.owning_process import this_process


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A heartbeat every 20 ms; a stale one is watched for 200 ms; all stop when the test ends."""
    made: list[module.Claim] = []
    start = module.Claim.__init__

    def begin(self: module.Claim, *arguments: Any) -> None:
        made.append(self)
        start(self, *arguments)

    monkeypatch.setattr(module.Claim, "__init__", begin)
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.2)
    yield
    for each in made:
        each._stop_heartbeat()


def rewrite(path: Path, **changes: Any) -> None:
    """Changes what a claim's file says; its mtime stays."""
    stat = path.stat()
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    os.utime(path, (stat.st_mtime, stat.st_mtime))


def left_behind(folder: Path, seconds_ago: float, **changes: Any) -> None:
    """Leaves the claim of another machine, whose last heartbeat was so long ago."""
    record = {"host": "n1", "pid": 7, "process_started": 1, "machine": "other", "slurm_job": "12_3", "token": "t"}
    path = folder / "claims" / "4.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**record, "claimed_at": "2026-01-01T00:00:00+00:00", **changes}))
    then = path.stat().st_mtime - seconds_ago
    os.utime(path, (then, then))


def test_one_owner_until_it_is_released(tmp_path: Path) -> None:
    assert owner(tmp_path / "run") is None
    first = claim(tmp_path / "run")
    assert first and first.is_held() and first.generation == 1
    assert claim(tmp_path / "run") is None
    told = owner(tmp_path / "run")
    assert told and f"pid {os.getpid()}, since 20" in told and told.startswith("host ")
    assert claim(tmp_path / "other")
    first.release()
    assert not first.is_held() and owner(tmp_path / "run") is None
    with contextlib.closing(contextlib.ExitStack()) as stack:
        second = claim(tmp_path / "run")
        assert second and stack.enter_context(second).generation == 2
        first.release()
        assert second.is_held(), "a second release does nothing"
    assert not second.is_held()
    assert [path.name for path in (tmp_path / "run" / "claims").iterdir()] == ["2.json"]


def test_no_thread_but_while_it_is_held(tmp_path: Path) -> None:
    before = threading.active_count()
    held = claim(tmp_path)
    assert held and threading.active_count() == before + 1
    assert claim(tmp_path) is None and threading.active_count() == before + 1
    held.release()
    assert threading.active_count() == before


def test_a_process_that_is_gone_owns_nothing_though_its_heartbeat_is_a_moment_old(tmp_path: Path) -> None:
    script = "import os, sys; from pathlib import Path; from harness.records.claims import claim\n"
    script += "held = claim(Path(sys.argv[1])); print(held.generation, flush=True); os.kill(os.getpid(), 9)"
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.read() == b"1\n"
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    after = claim(tmp_path)
    assert after and after.generation == 2
    child.wait()
    child.stdout.close()
    rewrite(tmp_path / "claims" / "2.json", pid=child.pid)
    assert owner(tmp_path) is None


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    held = claim(tmp_path)
    assert held
    rewrite(tmp_path / "claims" / "1.json", process_started=12345)
    assert owner(tmp_path) is None
    after = claim(tmp_path)
    assert after and after.is_held() and not held.is_held()


def test_the_same_process_id_on_another_machine_says_nothing(tmp_path: Path) -> None:
    left_behind(tmp_path, 10, pid=os.getpid())
    assert owner(tmp_path) == f"host n1, pid {os.getpid()}, SLURM job 12_3, since 2026-01-01T00:00:00+00:00"
    assert claim(tmp_path) is None


@pytest.mark.parametrize("seconds_ago", [85, 95, -85, -3600])
def test_a_heartbeat_on_another_machine(tmp_path: Path, seconds_ago: float) -> None:
    """Negative: the clock was set back since; that must not keep the run for ever."""
    left_behind(tmp_path, seconds_ago)
    taken = claim(tmp_path)
    assert bool(taken) is (abs(seconds_ago) > 90)
    assert taken is None or (taken.is_held() and taken.generation == 5)


@pytest.mark.parametrize("jump_seconds", [-3600, 3600])
def test_an_owner_that_lives_keeps_its_run_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_seconds: float
) -> None:
    held = claim(tmp_path)
    assert held
    path = tmp_path / "claims" / "1.json"
    rewrite(path, machine="other")
    beating, real = threading.Event(), os.utime

    def utime(target: Any, *rest: Any) -> None:
        if Path(target) != path or beating.is_set():
            real(target, *rest)

    monkeypatch.setattr(os, "utime", utime)  # until the watch begins no beat comes by the new clock
    monkeypatch.setattr(module.time, "sleep", lambda seconds: (beating.set(), threading.Event().wait(seconds)))
    then = path.stat().st_mtime - jump_seconds
    real(path, (then, then))
    assert claim(tmp_path) is None and beating.is_set() and held.is_held()


def test_a_wait_is_told_and_stale_claims_are_watched_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = module.time.sleep
    monkeypatch.setattr(module.time, "sleep", lambda seconds: (waits.append(seconds), sleep(seconds)))
    folders = [tmp_path / name for name in ("a", "b", "c", "d")]
    for folder in folders:
        left_behind(folder, 95)
    notes: list[str] = []
    first = claim(folders[0], others=folders[:3], note=notes.append)
    assert first and first.generation == 5
    told = "host n1, pid 7, SLURM job 12_3, since 2026-01-01T00:00:00+00:00"
    assert notes == [f"waiting up to 1 s: the owner, {told}, gives no sign of life"]
    second = claim(folders[1], others=folders, note=notes.append)
    assert second and second.generation == 5 and len(notes) == len(waits) == 1, "it was watched meanwhile"

    then = (folders[2] / "claims/4.json").stat().st_mtime + 1
    os.utime(folders[2] / "claims/4.json", (then, then))  # a heartbeat, by a clock that is slow
    third = claim(folders[2], note=notes.append)
    assert third and len(notes) == len(waits) == 2, "it is watched as it is now"
    fourth = claim(folders[3], note=notes.append)
    assert fourth and len(notes) == len(waits) == 3, "nobody has looked at it before"
    assert 0.15 < waits[2] <= 0.2


def test_a_former_owner_that_wakes_up_knows_it(tmp_path: Path) -> None:
    asleep = claim(tmp_path)
    assert asleep
    asleep._stop_heartbeat()
    asleep._ended.clear()
    path = tmp_path / "claims" / "1.json"
    rewrite(path, machine="other")
    os.utime(path, (0, 0))
    after = claim(tmp_path)
    assert after and after.is_held() and not asleep.is_held()
    asleep.release()
    assert after.is_held() and [p.name for p in path.parent.iterdir()] == ["2.json"]


def test_a_claim_whose_folder_was_deleted_is_not_held(tmp_path: Path) -> None:
    held = claim(tmp_path)
    assert held
    (tmp_path / "claims" / "1.json").unlink()
    assert not held.is_held()
    again = claim(tmp_path)
    assert again and again.generation == 1 and not held.is_held()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_claim_that_cannot_be_read_is_held_while_it_has_a_heartbeat(tmp_path: Path, content: bytes) -> None:
    left_behind(tmp_path, 0)
    path = tmp_path / "claims" / "4.json"
    path.write_bytes(content)
    assert claim(tmp_path) is None and owner(tmp_path)
    os.utime(path, (0, 0))
    assert claim(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": None},
        {"pid": "7"},
        {"pid": "../self"},
        {"pid": [7]},
        {"pid": 10**30},
        {"pid": 2**31},
        {"pid": -1},
        {"pid": 0},
        {"pid": True},
        {"pid": 7.5},
        {"process_started": None},
        {"process_started": "x"},
        {"host": "a\nb" * 100, "claimed_at": {"a": "b"}},
    ],
    ids=str,
)
def test_a_claim_of_no_process_is_held_while_it_has_a_heartbeat(tmp_path: Path, changes: dict[str, Any]) -> None:
    here = this_process()
    left_behind(tmp_path, 0, **{name: here[name] for name in ("machine", "pid", "process_started")})
    path = tmp_path / "claims" / "4.json"
    for gone in (False, True):
        record = json.loads(path.read_text())
        for name, value in changes.items():
            if gone:
                record.pop(name)
            else:
                record[name] = value
        path.write_text(json.dumps(record))
        told = owner(tmp_path)
        assert told and told.isprintable() and len(told) < 500 and "None" not in told
        assert claim(tmp_path) is None
    os.utime(path, (0, 0))
    assert claim(tmp_path)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "device", "hidden"])
def test_what_is_no_file_in_a_claims_place_is_taken_over_once_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "claims" / "4.json"
    path.parent.mkdir()
    real = Path.open

    def refuse(file: Path, *arguments: Any, **options: Any) -> Any:
        if kind == "hidden" and file == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(file, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    {
        "link": lambda: path.symlink_to("nowhere"),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "hidden": path.touch,
    }[kind]()
    hint = "(hint: delete that file if no process does this run)"
    monkeypatch.chdir(tmp_path)
    assert owner(tmp_path) == owner(Path()) == f"a process that {path} does not name {hint}"
    assert claim(tmp_path) is None
    os.utime(path, (0, 0), follow_symlinks=False)
    taken = claim(tmp_path)
    assert taken and taken.generation == 5
    taken.release()


@pytest.mark.parametrize(
    "name", ["007.json", "\N{SUPERSCRIPT TWO}.json", "\N{ARABIC-INDIC DIGIT THREE}.json", "9" * 200]
)
def test_a_name_that_no_claim_has(tmp_path: Path, name: str) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / name).write_text("{}")
    assert owner(tmp_path) is None
    taken = claim(tmp_path)
    assert taken and taken.generation == 1
    taken.release()


def test_the_heartbeat_is_by_the_clock_of_the_file_system(tmp_path: Path) -> None:
    with claim(tmp_path) or pytest.fail("not free"):
        path = tmp_path / "claims" / "1.json"
        os.utime(path, (0, 0))
        threading.Event().wait(0.3)
        assert path.stat().st_mtime > 1e9


def paused(monkeypatch: pytest.MonkeyPatch, name: str, meanwhile: Callable[[], None], module_: Any = os) -> None:
    """Lets something happen once, just before a function is called."""
    real, left = getattr(module_, name), [meanwhile]

    def call(*arguments: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return real(*arguments, **options)

    monkeypatch.setattr(module_, name, call)


def test_a_pause_in_which_another_process_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faster: list[Any] = []
    paused(monkeypatch, "link", lambda: faster.append(claim(tmp_path)))
    assert claim(tmp_path) is None
    assert faster[0].is_held()


def test_a_pause_in_which_the_generation_was_used_left_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Any] = []

    def meanwhile() -> None:
        for _ in range(3):
            with claim(tmp_path) or pytest.fail("not free"):
                pass
        others.append(claim(tmp_path))

    paused(monkeypatch, "link", meanwhile)
    assert claim(tmp_path) is None, "1.json could be made again, and is not the newest"
    assert others[0].is_held() and others[0].generation == 4
    others[0].release()
    after = claim(tmp_path)
    assert after and after.generation == 5 and others[0].is_held() is False
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["5.json"]


def test_a_generation_that_is_deleted_between_looking_and_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path, 10, released_at="now")
    held: list[Any] = []
    real = Path.open

    def read(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "4.json" and not held:
            held.append(None)
            held[0] = claim(tmp_path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", read)
    assert claim(tmp_path) is None
    assert held[0].is_held()


def test_a_lost_answer_to_a_link_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(*arguments: Any) -> None:
        real(*arguments)
        raise FileExistsError(errno.EEXIST, "the request was repeated")

    monkeypatch.setattr(os, "link", link)
    held = claim(tmp_path)
    assert held and held.is_held()


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", link)
    held = claim(tmp_path)
    assert held and held.is_held() and claim(tmp_path) is None
    other: list[Any] = []
    held.release()
    paused(monkeypatch, "link", lambda: other.append(claim(tmp_path)))
    assert claim(tmp_path) is None and other[0].is_held()


def test_what_killed_processes_left_is_cleaned_up_but_not_what_is_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    folder.mkdir()
    for name, age in ((".old", 7200), (".in_use", 60)):
        (folder / name).touch()
        then = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (then, then))
    assert claim(tmp_path)
    assert {path.name for path in folder.iterdir()} == {".in_use", "1.json"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match=r"cannot write to .*file: Not a directory") as caught:
        claim(tmp_path / "file")
    assert caught.value.hint


def test_nothing_of_the_environment_is_told_but_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    held = claim(tmp_path)
    assert held and ", SLURM job 7, since" in str(owner(tmp_path))
    assert set(json.loads((tmp_path / "claims" / "1.json").read_text())) == {
        "host", "pid", "process_started", "machine", "slurm_job", "claimed_at", "token"
    }  # fmt: skip
