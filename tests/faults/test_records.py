"""A disk that is full or read-only while records are written: one clear word, and no half file taken for a result."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.claims import claim, owner
from harness.records.files import append_line, read_lines, require_writable, write_json
from harness.records.read import read_suite
from tests.house import NO_CHARTS, House
from tests.processes import processes_in, wait_for

SIZE_BYTES = 2 << 20


class Disk:
    """A file system of its own, of two MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """Leaves so many bytes free."""
        with self._filler.open("ab", buffering=0) as file:
            free = os.statvfs(self.path)
            try:
                file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave_bytes)))
            except OSError:
                assert not leave_bytes

    def free(self) -> None:
        """Takes the filler away."""
        self._filler.unlink()

    def remount(self, options: str) -> None:
        """Changes the mount, e.g. to `ro`."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system; the test is skipped, or in CI fails, where none can be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "harness-test", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        reason = "there is no mount"
    if reason:
        (pytest.fail if os.environ.get("CI_REQUIRE_FAULTS") == "1" else pytest.skip)(f"cannot mount a tmpfs: {reason}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_while_a_file_is_written(disk: Disk, fault: Callable[..., None]) -> None:
    path = disk.path / "result.json"
    write_json(path, {"status": "old"})
    disk.fill(4096)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"status": "new" * 10_000})
    kept = json.loads(path.read_text()) == {"status": "old"}
    kept &= {each.name for each in disk.path.iterdir()} == {"result.json", "filler"}
    disk.free()
    write_json(path, {"status": "new"})
    fault("disk full while a result is written", survived=kept and json.loads(path.read_text()) == {"status": "new"})


def test_a_full_disk_while_an_event_is_written(disk: Disk, fault: Callable[..., None]) -> None:
    path = disk.path / "events.jsonl"
    append_line(path, {"n": 1})
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        append_line(path, {"n": "2" * 10_000})
    torn = path.read_bytes()[8:]
    disk.free()
    append_line(path, {"n": 3})
    assert torn and b"\n" not in torn, "half a line was written"
    fault("disk full while an event is written", survived=read_lines(path) == [{"n": 1}, {"n": 3}])


def test_a_full_disk_while_a_run_is_claimed_and_released(disk: Disk, fault: Callable[..., None]) -> None:
    held = claim(disk.path / "run")
    assert held
    disk.fill()
    with pytest.raises(HarnessError, match=r"cannot write to .*: No space left on device"):
        claim(disk.path / "other")
    assert held.is_held()
    held.release()
    assert owner(disk.path / "run"), "the release could not be written; it is not torn"
    disk.free()
    assert claim(disk.path / "run") is None, "the process that holds it still lives"
    fault("disk full while a run is claimed", survived=claim(disk.path / "other") is not None)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_what_cannot_be_written_is_refused_before_anything_is_trained(disk: Disk, how: str) -> None:
    require_writable(disk.path)
    disk.fill() if how == "full" else disk.remount("ro")
    reason = "No space left on device" if how == "full" else "Read-only file system"
    with pytest.raises(HarnessError, match=rf"cannot write to {disk.path}: {reason}"):
        require_writable(disk.path)


def epochs(disk: Disk) -> int:
    """Returns how many epochs the run has noted."""
    return sum(
        line.get("event") == "epoch" for path in disk.path.glob("faults/*/*/events.jsonl") for line in read_lines(path)
    )


@pytest.mark.slow
@pytest.mark.launch
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["full at an event", "full at the result", "full at the tables", "read-only"])
def test_a_disk_that_fails_in_mid_run(house: House, disk: Disk, how: str, fault: Callable[..., None]) -> None:
    (house.path / "sitecustomize.py").write_text(NO_CHARTS)  # the tables are what fills it
    suite = house.suite("include: [{model.slow: 0.1}]\n")
    command = house.command(str(suite), "--output", str(disk.path), "--set", "train.epochs=4")
    child = subprocess.Popen(command, cwd=house.path, env=house.environment(), stderr=subprocess.PIPE, text=True)
    assert wait_for(lambda: epochs(disk) == 1 or child.poll() is not None, 120, every=0.02)
    if how == "read-only":
        disk.remount("ro")
    else:
        # The arrays and the result take 20 KiB from here, the tables 16 KiB more.
        disk.fill({"full at an event": 0, "full at the result": 8192, "full at the tables": 28672}[how])
    _, words = child.communicate(timeout=400)
    before = read_suite(disk.path, "faults")
    if how == "read-only":
        disk.remount("rw")
    else:
        disk.free()
    reason = "Read-only file system" if how == "read-only" else "No space left on device"
    assert (child.returncode, words.count("error: cannot write to "), words.count("Traceback")) == (2, 1, 0), words
    assert reason in words and "hint: " in words and not before.unreadable and not processes_in(house.path)
    assert len(before.results) == (how == "full at the tables"), "a result that was not written whole is none"

    again = subprocess.run(
        command, cwd=house.path, env=house.environment(), capture_output=True, text=True, timeout=400
    )
    after = read_suite(disk.path, "faults").results
    survived = again.returncode == 0 and [result.status for result in after] == ["ok"]
    survived &= before.results in ([], after)
    fault(f"disk that is {how}, in mid-run", survived=survived)
