"""Files that are whole or absent, and lines that survive a crash."""

import math

import pytest

from harness.errors import HarnessError
from harness.records.files import append_line, read_lines, require_writable, write_atomically, write_json


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert path.read_text() == '{\n "a": 2\n}\n' and list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_mode_of_the_umask(tmp_path, umask):
    path = tmp_path / "result.json"
    write_json(path, 1)
    append_line(tmp_path / "events.jsonl", {})
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [0o666 & ~umask] * 2
    path.chmod(0o400)
    write_json(path, 2)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask, "as any new file"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_crash_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.json"
    write_json(path, "old")

    def write(file):
        file.write(b"half of the ne")
        file.flush()
        raise error

    with pytest.raises(error):
        write_atomically(path, write)
    assert path.read_text() == '"old"\n' and list(tmp_path.iterdir()) == [path]


def test_what_is_asked_at_the_last_moment_may_leave_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, "old")

    def refuse():
        assert path.read_text() == '"old"\n' and len(list(tmp_path.iterdir())) == 2, "the new one is on the disk"
        raise ValueError

    with pytest.raises(ValueError):
        write_json(path, "new", refuse)
    assert path.read_text() == '"old"\n' and list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, "old")
    seen = []

    def write(file):
        file.write(b"new")
        file.flush()
        seen.append(path.read_text())

    write_atomically(path, write)
    assert seen == ['"old"\n'] and path.read_text() == "new"


def test_what_is_no_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, "old")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '"old"\n' and list(tmp_path.iterdir()) == [path]


def test_lines_are_appended_and_read_back(tmp_path):
    path = tmp_path / "events.jsonl"
    lines = [{"event": "a\nb", "x": 1.5}, {"event": "\u2028", "x": None}, {"x": math.inf}]
    for line in lines:
        append_line(path, line)
    assert read_lines(path) == lines
    assert path.read_text().count("\n") == len(lines)


@pytest.mark.parametrize("torn", [b'{"event": "x', b"\xff\xfe", b"{}garbage", b"[1, 2]", b"3"])
def test_a_torn_line_is_closed_and_left_out(tmp_path, torn):
    path = tmp_path / "events.jsonl"
    append_line(path, {"n": 1})
    with path.open("ab") as file:
        file.write(torn)
    assert read_lines(path) == [{"n": 1}]
    append_line(path, {"n": 2})
    append_line(path, {"n": 3})
    assert read_lines(path) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert path.read_bytes().count(torn + b"\n") == 1


def test_a_file_that_is_only_a_torn_line(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"{")
    append_line(path, {"n": 1})
    assert path.read_bytes() == b'{\n{"n":1}\n'


def test_require_writable(tmp_path):
    folder = tmp_path / "a" / "b"
    require_writable(folder)
    assert folder.is_dir() and not list(folder.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"cannot write to .*file/below: Not a directory") as caught:
        require_writable(tmp_path / "file" / "below")
    assert caught.value.hint == "choose another with --output DIR"
