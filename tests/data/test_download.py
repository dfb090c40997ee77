import hashlib
import io
import tarfile
import urllib.error
import urllib.request

import pytest

from harness.data.download import fetch, unpack, verify
from harness.errors import HarnessError

CONTENT = b"some data"
CHECKSUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
URL = "https://data.example/file.tar"


def serve(monkeypatch, content):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def make_tar(path, *members, content=CONTENT):
    with tarfile.open(path, "w") as tar:
        for member in members:
            if member.isfile():
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return "md5:" + hashlib.md5(path.read_bytes()).hexdigest()


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetch_writes_the_verified_file_and_nothing_else(tmp_path, monkeypatch):
    serve(monkeypatch, CONTENT)
    fetch(URL, tmp_path / "new" / "file.tar", CHECKSUM)
    assert (tmp_path / "new" / "file.tar").read_bytes() == CONTENT
    assert names_in(tmp_path / "new") == ["file.tar"]


def test_what_is_fetched_and_unpacked_has_the_mode_of_the_umask(tmp_path, monkeypatch, umask):
    serve(monkeypatch, CONTENT)
    fetch(URL, tmp_path / "file.tar", CHECKSUM)
    member = tarfile.TarInfo("data/cat/1.jpg")
    member.mode = 0o755
    unpack(tmp_path / "a.tar", make_tar(tmp_path / "a.tar", member), tmp_path / "data")
    files = (tmp_path / "file.tar", tmp_path / "data/cat/1.jpg")
    assert [file.stat().st_mode & 0o777 for file in files] == [0o666 & ~umask] * 2
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o777 & ~umask


def test_fetch_keeps_a_right_file_and_asks_nobody(tmp_path, monkeypatch):
    asked = serve(monkeypatch, CONTENT)
    (tmp_path / "file.tar").write_bytes(CONTENT)
    fetch(URL, tmp_path / "file.tar", CHECKSUM)
    assert asked == []


def test_fetch_replaces_a_damaged_file(tmp_path, monkeypatch):
    serve(monkeypatch, CONTENT)
    (tmp_path / "file.tar").write_bytes(CONTENT[:4])
    fetch(URL, tmp_path / "file.tar", CHECKSUM)
    assert (tmp_path / "file.tar").read_bytes() == CONTENT


def test_fetch_leaves_nothing_of_a_wrong_content(tmp_path, monkeypatch):
    serve(monkeypatch, b"a login page")
    with pytest.raises(HarnessError, match="is damaged or another version"):
        fetch(URL, tmp_path / "file.tar", CHECKSUM)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("failure", [urllib.error.URLError("Name or service not known"), TimeoutError("timed out")])
def test_fetch_without_a_network_says_where_to_put_the_file(tmp_path, monkeypatch, failure):
    serve(monkeypatch, failure)
    with pytest.raises(HarnessError, match=r"cannot be fetched: (Name or service|timed out)") as caught:
        fetch(URL, tmp_path / "file.tar", CHECKSUM)
    assert str(tmp_path / "file.tar") in caught.value.hint
    assert names_in(tmp_path) == []


def test_verify_takes_the_right_content_only(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    verify(tmp_path / "file", CHECKSUM, "file")
    verify(CONTENT, CHECKSUM, "file")
    with pytest.raises(HarnessError, match="file is damaged or another version: its sha256 is"):
        verify(CONTENT + b"x", CHECKSUM, "file")
    with pytest.raises(HarnessError, match="gone cannot be read"):
        verify(tmp_path / "gone", CHECKSUM, "gone")


def test_unpack_makes_the_folder_and_nothing_else(tmp_path):
    checksum = make_tar(tmp_path / "a.tar", tarfile.TarInfo("data/cat/1.jpg"), tarfile.TarInfo("data/dog/1.jpg"))
    unpack(tmp_path / "a.tar", checksum, tmp_path / "data")
    assert (tmp_path / "data/cat/1.jpg").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.tar", "data"]


def test_an_archive_with_a_wrong_checksum_is_not_opened(tmp_path, monkeypatch):
    make_tar(tmp_path / "a.tar", tarfile.TarInfo("data/1.jpg"))
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(HarnessError, match="is damaged or another version"):
        unpack(tmp_path / "a.tar", "md5:" + "0" * 32, tmp_path / "data")


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("data/../../escaped"),
        tarfile.TarInfo("/tmp/harness-escaped"),
        link("data/link", "1.jpg"),
        link("data/link", "/etc/passwd"),
        link("data/link", "data/1.jpg", tarfile.LNKTYPE),
        link("data/pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_unsafe_members_are_refused_and_nothing_is_left(tmp_path, member):
    root = tmp_path / "root"
    root.mkdir()
    checksum = make_tar(root / "a.tar", tarfile.TarInfo("data/1.jpg"), member)
    with pytest.raises(HarnessError, match="unsafe member"):
        unpack(root / "a.tar", checksum, root / "data")
    assert names_in(root) == ["a.tar"]
    assert names_in(tmp_path) == ["root"]


def test_an_archive_without_the_folder_is_an_error(tmp_path):
    checksum = make_tar(tmp_path / "a.tar", tarfile.TarInfo("other/1.jpg"))
    with pytest.raises(HarnessError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", checksum, tmp_path / "data")
    assert names_in(tmp_path) == ["a.tar"]


def test_a_damaged_archive_is_an_error(tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)
    with pytest.raises(HarnessError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", CHECKSUM, tmp_path / "data")


def test_a_process_that_comes_second_uses_what_the_first_unpacked(tmp_path):
    checksum = make_tar(tmp_path / "a.tar", tarfile.TarInfo("data/1.jpg"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/first").touch()
    unpack(tmp_path / "a.tar", checksum, tmp_path / "data")
    assert names_in(tmp_path) == ["a.tar", "data"]
    assert names_in(tmp_path / "data") == ["first"]
