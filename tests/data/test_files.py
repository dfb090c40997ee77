"""Images in files: what can be read, and the cache of what was decoded."""

from __future__ import annotations

import collections
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.cache import cache_root
from harness.data import files as module
from harness.data import listed
from harness.data.files import ImageFiles
from harness.data.listed import ListedFiles
from harness.errors import HarnessError
from tests.data.feeds import read_by_hand

Space = collections.namedtuple("Space", "total used free")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Forty small files, each of one gray value, in order."""
    folder = tmp_path / "images"
    folder.mkdir()
    return [solid(folder / f"{value:02}.png", value) for value in range(40)]


def solid(path: Path, value: int, size: tuple[int, int] = (4, 3)) -> str:
    Image.new("RGB", size, (value, value, value)).save(path)
    return str(path)


def files(paths: list[str], **options: Any) -> ImageFiles:
    return ImageFiles(paths, **{"channels": 3, **options})


def values(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "images").iterdir()) if cache.exists() else []


def is_mapped(array: np.ndarray) -> bool:
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None


# What is read


def test_images_are_in_the_order_of_the_paths(paths: list[str]) -> None:
    found = files(paths)
    assert found.shape == (40, 3, 4, 3) and not found.resized
    assert values(found.array()) == list(range(40)) and found.array().dtype == np.uint8
    assert values(files(paths[::-1]).array()) == list(range(40))[::-1]


def test_pixels_are_those_of_the_files(photographs: list[str]) -> None:
    assert np.array_equal(files(photographs).array(), read_by_hand(photographs))


def test_size_and_channels_are_those_asked_for(paths: list[str]) -> None:
    found = files(paths, size=7, channels=1)
    assert found.shape == (40, 7, 7, 1) == found.array().shape and found.resized


def test_the_first_unreadable_file_is_named(paths: list[str]) -> None:
    for path in (paths[20], paths[39]):
        Path(path).write_bytes(b"")
    with pytest.raises(HarnessError, match=r"20\.png is not a readable image"):
        files(paths).survey(decode=True)


@pytest.mark.parametrize("decode", [True, False])
def test_unreadable_files_can_be_left_out(paths: list[str], decode: bool) -> None:
    for row in (0, 7, 39):
        Path(paths[row]).write_bytes(b"")
    found = files(paths, unreadable="skip")
    assert np.flatnonzero(~found.survey(decode=decode).readable).tolist() == [0, 7, 39]
    rest = found.survey(decode=decode).readable
    assert values(found.array()[rest]) == [value for value in range(40) if value not in (0, 7, 39)]
    assert [row for row, path in enumerate(found.encoded()) if not path] == [0, 7, 39]


@pytest.mark.parametrize("size", [None, 5])
def test_nothing_readable_is_an_error(paths: list[str], size: int | None) -> None:
    for path in paths:
        Path(path).write_bytes(b"")
    with pytest.raises(HarnessError, match="none of the 40 images can be read") as caught:
        files(paths, unreadable="skip", size=size).survey(decode=True)
    assert "data.root" in caught.value.hint


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("unreadable", ["fail", "skip"])
def test_an_odd_size_is_named_with_the_way_out(paths: list[str], decode: bool, unreadable: str) -> None:
    solid(Path(paths[30]), 1, size=(9, 8))
    with pytest.raises(HarnessError, match=r"30\.png is 9 x 8, others are 4 x 3") as caught:
        files(paths, unreadable=unreadable).survey(decode=decode)
    assert "data.size" in caught.value.hint
    assert files(paths, size=3).array().shape == (40, 3, 3, 3)


def test_a_file_that_not_every_decoder_reads_alike_is_copied_as_png(tmp_path: Path) -> None:
    transparent = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    transparent.save(tmp_path / "a.png")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "b.gif")
    paths = [solid(tmp_path / "c.png", 9, (4, 4)), str(tmp_path / "a.png"), str(tmp_path / "b.gif")]
    found = files(paths)
    plain, *copied = (Path(os.fsdecode(path)) for path in found.encoded())
    assert str(plain) == paths[0] and all(path.is_relative_to(found.folder) for path in copied)
    for path, expected in zip(copied, found.array()[1:], strict=True):
        with Image.open(path) as image:
            assert image.format == "PNG" and image.mode == "RGB"
            assert np.array_equal(np.asarray(image), expected)
    gray = files(paths, channels=1)
    with Image.open(os.fsdecode(gray.encoded()[1])) as image:
        assert image.mode == "L" and np.asarray(image).min() == 255


# What is kept


def test_the_second_time_nothing_is_decoded_and_the_array_is_mapped(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = files(paths)
    first.array()
    assert first.seconds > 0
    monkeypatch.setattr(module, "read_image", lambda *_, **__: pytest.fail("an image was read"))
    second = files(paths)
    array = second.array()
    assert second.seconds == 0 and values(array) == list(range(40))
    assert is_mapped(array) and type(array) is np.ndarray
    assert second.encoded() == [os.fsencode(path) for path in paths] and second.seconds == 0


def test_writing_into_the_array_changes_neither_the_file_nor_what_others_see(paths: list[str]) -> None:
    first, second = files(paths).array(), files(paths).array()
    first[:] = 250
    assert values(first) == [250] * 40
    assert values(second) == values(files(paths).array()) == list(range(40))


def test_the_cache_is_where_the_environment_says(
    paths: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files(paths).folder.parent == cache / "images" == cache_root() / "images"
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("HARNESS_CACHE", "~/else")
    assert cache_root() == Path("/somewhere/else")
    monkeypatch.delenv("HARNESS_CACHE")
    assert cache_root() == Path("/somewhere/.cache/harness")


def test_a_changed_file_is_noticed(paths: list[str]) -> None:
    files(paths).array()
    changed = Path(paths[3])
    before = changed.stat()
    content = {value: Path(solid(changed, value)).read_bytes() for value in (103, 102)}
    found = next(value for value, bytes in content.items() if len(bytes) == before.st_size)
    changed.write_bytes(content[found])
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert changed.stat().st_size == before.st_size  # only content and time differ
    again = files(paths)
    assert values(again.array()) == [0, 1, 2, found, *range(4, 40)] and again.seconds > 0


def test_another_size_at_the_same_time_is_noticed(paths: list[str]) -> None:
    files(paths).array()
    changed, before = Path(paths[3]), Path(paths[3]).stat()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)).save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert values(files(paths).array()) != list(range(40))


def test_an_added_or_removed_file_is_noticed(paths: list[str], tmp_path: Path) -> None:
    files(paths).array()
    assert values(files([*paths, solid(tmp_path / "more.png", 99)]).array()) == [*range(40), 99]
    assert values(files(paths[1:]).array()) == list(range(1, 40))
    again = files(paths)
    assert values(again.array()) == list(range(40)) and again.seconds == 0


def test_a_file_that_was_mended_or_broken_is_noticed(paths: list[str]) -> None:
    good = Path(paths[5]).read_bytes()
    files(paths).array()
    Path(paths[5]).write_bytes(good[:20])
    with pytest.raises(HarnessError, match=r"05\.png"):
        files(paths).survey(decode=True)
    assert not files(paths, unreadable="skip").survey(decode=True).readable[5]
    with pytest.raises(HarnessError, match=r"05\.png is not a readable image") as caught:
        files(paths).survey(decode=True)  # of the entry that skipping left
    assert "data.unreadable=skip" in caught.value.hint
    Path(paths[5]).write_bytes(good)
    os.utime(paths[5])
    assert values(files(paths).array()) == list(range(40))


def test_what_can_be_read_now_is_read_though_the_entry_says_it_cannot(paths: list[str]) -> None:
    hidden = Path(paths[5]).rename(paths[5] + ".hidden")
    Path(paths[5]).symlink_to(hidden.with_name("nowhere"))
    found = files(paths, unreadable="skip")
    assert not found.survey(decode=True).readable[5]
    Path(paths[5]).unlink()
    hidden.rename(paths[5])
    strict = files(paths)
    strict.folder = found.folder  # as if the file's stamp were the same: it was out of reach for a moment
    assert strict.survey(decode=True).readable.all() and values(strict.array()) == list(range(40))


def test_each_way_to_decode_is_an_entry_of_its_own(paths: list[str], cache: Path) -> None:
    variants: list[dict[str, Any]] = [{}, {"size": 5}, {"size": 6}, {"channels": 1}, {"size": 5, "channels": 1}]
    for variant in variants * 2:
        found = files(paths, **variant)
        size, channels = variant.get("size"), variant.get("channels", 3)
        assert found.array().shape == (40, size or 3, size or 4, channels)
    assert len(entries(cache)) == len(variants)
    assert files(paths, unreadable="skip").folder == files(paths).folder  # what is decoded is the same


def test_a_survey_decodes_nothing_until_pixels_are_wanted(paths: list[str]) -> None:
    encoded = files(paths)
    assert encoded.survey(decode=False).readable.all() and encoded.shape == (40, 3, 4, 3) and encoded.encoded()
    assert not (encoded.folder / "images.npy").exists()
    decoded = files(paths)
    assert decoded.survey(decode=True).readable.all() and (decoded.folder / "images.npy").exists()
    spent = decoded.seconds
    assert spent > 0  # counted where it was asked for, not where the pixels are first used
    assert values(decoded.array()) == list(range(40)) and decoded.seconds == spent
    again = files(paths)
    assert again.survey(decode=True) and values(again.array()) == list(range(40)) and again.seconds == 0


DAMAGES = {
    "cut to nothing": lambda content: b"",
    "cut to a byte": lambda content: content[:1],
    "cut in its head": lambda content: content[:30],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut at its end": lambda content: content[:-1],
    "text": lambda content: b"something else" * 100,
    "another array": lambda content: _stored(np.zeros((2, 3, 4, 3), np.uint8)),
    "another type": lambda content: _stored(np.zeros((40, 3, 4, 3), np.float32)),
    "a pickle": lambda content: _stored(np.array([{}], object)),
}


def _stored(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", ["images.npy", "survey.npz"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_the_cache_is_made_anew(paths: list[str], name: str, damage: str) -> None:
    Path(paths[7]).write_bytes(b"")
    first = files(paths, unreadable="skip")
    first.array()
    target = first.folder / name
    target.write_bytes(DAMAGES[damage](target.read_bytes()))
    found = files(paths, unreadable="skip")
    assert np.flatnonzero(~found.survey(decode=True).readable).tolist() == [7]
    assert values(found.array()) == [*range(7), 0, *range(8, 40)] and found.seconds > 0
    again = files(paths, unreadable="skip")
    assert values(again.array())[8:] == list(range(8, 40)) and again.seconds == 0


def test_any_flipped_byte_of_a_head_is_borne(paths: list[str]) -> None:
    first = files(paths)
    first.array()
    survey, images = first.folder / "survey.npz", first.folder / "images.npy"
    good, numbers = {path: path.read_bytes() for path in (survey, images)}, random.Random(0)
    for _ in range(80):
        for path, content in good.items():
            damaged = bytearray(content)
            damaged[numbers.randrange(128 if path is images else len(content))] = numbers.randrange(256)
            path.write_bytes(damaged)
        found = files(paths)
        assert found.survey(decode=True).readable.all() and found.array().shape == (40, 3, 4, 3)
        survey.write_bytes(good[survey])
        images.write_bytes(good[images])


def test_a_missing_part_of_an_entry_is_made_anew(paths: list[str], tmp_path: Path) -> None:
    for missing in ("survey.npz", "images.npy", "."):
        first = files(paths)
        first.array()
        found = first.folder / missing
        shutil.rmtree(found) if found.is_dir() else found.unlink()
        assert values(files(paths).array()) == list(range(40))


def test_an_entry_may_be_removed_while_its_array_is_in_use(paths: list[str], cache: Path) -> None:
    array = files(paths).array()
    shutil.rmtree(cache)
    assert values(array) == list(range(40))


def test_nothing_half_made_is_left_where_reading_fails(paths: list[str]) -> None:
    Path(paths[39]).write_bytes(b"")
    found = files(paths)
    with pytest.raises(HarnessError):
        found.survey(decode=True)
    assert list(found.folder.iterdir()) == []


# Where the cache cannot be had


def assert_one_error(found: ImageFiles, message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        found.survey(decode=True)
    assert "HARNESS_CACHE" in caught.value.hint and "\n" not in caught.value.message


def test_a_cache_in_the_way_of_which_is_a_file_is_one_error(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/below", Path("/proc/nowhere")):
        monkeypatch.setenv("HARNESS_CACHE", str(place))
        assert_one_error(files(paths), "cannot be written: (Not a directory|File exists|No such file)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_cache_without_permission_is_one_error(paths: list[str], cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    assert_one_error(files(paths), "cannot be written: Permission denied")


@pytest.mark.parametrize("step", ["mkdir", "open_memmap", "write_atomically"])
def test_a_cache_that_refuses_to_be_written_is_one_error(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    owner: Any = {"mkdir": Path, "open_memmap": np.lib.format, "write_atomically": module}[step]
    monkeypatch.setattr(owner, step, refuse)
    assert_one_error(files(paths), "cannot be written: Permission denied")


def test_too_little_room_is_one_error_before_anything_is_decoded(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 40 * 5 * 5 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Space(10**12, 0, int(needed / 0.9) - 1))
    read = module.read_image
    monkeypatch.setattr(module, "read_image", lambda *_, **__: pytest.fail("an image was read"))
    assert_one_error(files(paths, size=5), "the decoded images need .* GiB in .*, where .* are free")
    monkeypatch.setattr(module, "read_image", read)
    assert files(paths, size=5).survey(decode=False).readable.all()  # what a loader that decodes itself needs
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Space(10**12, 0, int(needed / 0.9) + 1))
    assert files(paths, size=5).array().shape == (40, 5, 5, 3)


# Several processes


BUILD = """
import sys, time
import numpy as np
from harness.data import files
read = files.read_image
def slowly(*arguments, **named):
    time.sleep(0.02)
    return read(*arguments, **named)
files.read_image = slowly
paths = sys.argv[2:]
print("ready", flush=True)
sys.stdin.readline()
found = files.ImageFiles(paths, channels=3)
print(found.array()[:, 0, 0, 0].tolist() == list(range(len(paths))), found.seconds > 0, flush=True)
"""


def builders(paths: list[str], count: int) -> Iterator[subprocess.Popen]:
    for number in range(count):
        command = [sys.executable, "-c", BUILD, str(number), *paths]
        yield subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_decode_the_same_files_at_once_both_end_well(paths: list[str]) -> None:
    both = list(builders(paths, 2))
    for process in both:
        assert process.stdout and process.stdin and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(0.05)
    assert [process.communicate(timeout=60)[0] for process in both] == ["True True\n"] * 2
    found = files(paths)
    assert values(found.array()) == list(range(40)) and found.seconds == 0
    assert sorted(path.name for path in found.folder.iterdir()) == ["images.npy", "survey.npz"]


def test_a_process_with_the_same_number_on_another_node_does_no_harm(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    read, nested = module.read_image, []

    def disturbed(path: str, **options: Any) -> Any:
        if path == paths[20] and not nested:
            nested.append(files(paths))
            nested[0].array()  # another one begins and ends while this one is half-way
        return read(path, **options)

    monkeypatch.setattr(module, "read_image", disturbed)
    found = files(paths)
    assert values(found.array()) == values(nested[0].array()) == list(range(40))


def test_a_process_that_was_killed_while_decoding_leaves_nothing_that_misleads(paths: list[str]) -> None:
    [process] = builders(paths, 1)
    assert process.stdin and process.stdout and process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    folder, deadline = files(paths).folder, time.monotonic() + 20
    while not (folder.exists() and list(folder.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=20)
    assert not (folder / "survey.npz").exists() and list(folder.iterdir())
    found = files(paths)
    assert values(found.array()) == list(range(40)) and found.seconds > 0


# Paths in one block, and the hash of the files' content


@pytest.mark.parametrize("paths", [[], ["a"], ["a/1.png", "ä/x y.png", "a/\udcff.png"]])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_listed_paths_are_those_that_were_given_after_a_pickle_too(paths: list[str], protocol: int) -> None:
    given = ListedFiles(paths)
    for found in (given, pickle.loads(pickle.dumps(given, protocol))):
        assert list(found) == paths == [found[row] for row in range(len(found))]
        assert found.key("other") == given.key("other") != given.key()


def test_the_hash_of_the_content_is_that_of_sorted_names_and_hashes(tmp_path: Path) -> None:
    names = ["b/1.png", "a/2.png", "a/10.png", "a/\udcff.png", "ä/x y.png", "broken.png"]
    for number, name in enumerate(names[:-1]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes([number]) * number * 700_000)
    (tmp_path / "broken.png").symlink_to("nowhere")
    pairs = [
        [os.fsencode(name).hex(), hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()] for name in names[:-1]
    ]
    pairs.append([b"broken.png".hex(), "unreadable"])
    found = ListedFiles([str(tmp_path / name) for name in names]).content(tmp_path)
    assert found == hashlib.sha256(json.dumps([sorted(pairs)]).encode()).hexdigest()


@pytest.mark.parametrize(("at_once_seconds", "threads"), [(0.0, listed.THREADS_OF_SMALL), (60.0, 1)])
def test_one_thread_reads_small_files_where_they_are_there_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once_seconds: float, threads: int
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for path in paths:
        path.write_bytes(path.name.encode())
    names = list(map(str, paths))
    expected = ListedFiles(names).content(tmp_path)
    shutil.rmtree(cache_root())
    asked = []

    def for_each(count: int, work: Any, each_bytes: float, *, small_threads: int) -> None:
        asked.append((count, small_threads))
        for number in range(count):
            work(number)

    monkeypatch.setattr(listed, "for_each", for_each)
    monkeypatch.setattr(listed, "FIRST", 3)
    monkeypatch.setattr(listed, "AT_ONCE_SECONDS", at_once_seconds)
    assert ListedFiles(names).content(tmp_path) == expected
    assert asked == [(4, threads)]


@pytest.mark.parametrize("change", ["touch", "write", "replace"])
def test_a_file_that_changes_while_it_is_read_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    read = os.read

    def disturbed(handle: int, count: int) -> bytes:
        content = read(handle, count)
        if change == "replace":
            path.write_bytes(b"behind")
        elif change == "write":
            with path.open("ab") as file:
                file.write(b"more")
        os.utime(path, ns=(1, 1))
        return content

    monkeypatch.setattr(os, "read", disturbed)
    with pytest.raises(HarnessError, match=r"a\.png changes while it is read"):
        ListedFiles([str(path)]).content(tmp_path)
