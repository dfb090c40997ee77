"""`harness init`: suites for folders of all kinds, which run as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from harness.cli import main
from harness.first_suite import look as looking
from harness.first_suite.choose import choose
from harness.first_suite.look import look_at
from harness.first_suite.write import suite_name, suite_text
from harness.suite.plan import load_suite
from tests.house import House, build_house


def images(folder: Path, count: int, size: tuple[int, int] = (32, 32), mode: str = "RGB", suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(count)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    for number in range(count):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / f"{number}{suffix}")


def plain(root: Path) -> None:
    for split, count in (("train", 30), ("test", 6)):
        for name in ("cat", "dog"):
            images(root / split / name, count)


def odd(root: Path) -> None:
    for index, name in enumerate(("a", "b")):
        images(root / name, 12, (50 + 31 * index, 40))
        images(root / name, 5, (130, 200 + index), suffix=".PNG")
        (root / name / "notes.txt").write_text("no image")


def unbalanced(root: Path) -> None:
    images(root / "many", 60)
    images(root / "few", 3)


def gray(root: Path) -> None:
    for name in ("0", "1"):
        images(root / name, 10, (28, 28), mode="L")


def broken(root: Path) -> None:
    for name in ("x", "y"):
        images(root / name, 10, (70, 70))
    (root / "x" / "torn.jpg").write_bytes((root / "x" / "0.jpg").read_bytes()[:200])


def named(root: Path) -> None:
    for name in ("große Katze", "犬", "it's: a #dog", "{x: y}", "tab\tand\nline"):
        images(root / name, 8)


def validated(root: Path) -> None:
    for split in ("train", "val", "extra"):
        for name in ("cat", "dog"):
            images(root / split / name, 8)


def untidy(root: Path) -> None:
    images(root, 3)
    for name in ("cat", "dog", "__MACOSX"):
        images(root / "valid" / name, 3)
        images(root / "train" / name, 8)
    images(root / "train", 2)
    (root / "train" / "empty").mkdir()


FOLDERS = {each.__name__: each for each in (plain, odd, unbalanced, gray, broken, named, validated, untidy)}
EXPECTED = {
    "plain": ("size: null", "# split: 60 in train, 12 in test", "flip: true", "balance: 36 images of each class"),
    "odd": ("size: 32", "50x40 to 130x20", "24 JPEG, 10 PNG", "a fifth becomes the test split"),
    "unbalanced": (
        "# unbalanced: accuracy",
        "# class_weights: balanced",
        "# fewer than 5 images: few",
        "3 (few) to 60 (many)",
    ),
    "gray": ("channels: 1", "flip: false", "size: null"),
    "broken": ("unreadable: skip", "# unreadable: x/torn.jpg: ", "stem: imagenet", "mobilenet"),
    "named": ("große Katze", "犬", "tab\ufffdand\ufffdline"),
    "untidy": (
        "# passed over, without images: empty",
        "# 5 images in no class folder: left out",
        "16 in train, 6 in valid",
    ),
    "validated": ("test_folder: val", "# not used: the folders extra", "16 in val, which is tested on"),
}


def init(folder: Path, suite: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["init", str(folder), "-o", str(suite), *arguments])
    return int(caught.value.code or 0)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_seen_is_written_and_can_be_planned(name: str, tmp_path: Path, capsys) -> None:
    root = tmp_path / "my images: #1 ü"
    FOLDERS[name](root)
    suite = tmp_path / "suite.yaml"
    assert init(root, suite) == 0
    out, err = capsys.readouterr()
    text = suite.read_text(encoding="utf-8")
    assert not out and f"written to {suite}" in err
    for expected in EXPECTED[name]:
        assert expected in text, text
    plan = load_suite(suite).plan(lambda section: "f00d")
    assert plan.suite.name == "my_images_1" and len(plan.runs) == 3 * len(yaml.safe_load(text)["matrix"]["model"])
    assert yaml.safe_load(text)["base"]["data"]["root"] == str(root)


def commands(name: str) -> list[list[str]]:
    """Returns the words of the verbs that lead from a folder of images to a result."""
    smoke = ["--smoke", "--only", "model.name=cnn3"]
    return [["init", name, "-o", f"{name}.yaml"], ["plan", f"{name}.yaml"], ["run", f"{name}.yaml", *smoke]]


# As `accelerate launch` starts it: what is to be trained is trained in this process, which imports torch once for all.
ALL = """
import json, os, sys
from harness.cli import main

os.environ |= {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code, words
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Where the suite of each folder was written, planned and run."""
    house = build_house(tmp_path_factory.mktemp("ran"))
    for name, make in FOLDERS.items():
        make(house.path / name)
    environment = house.environment(HARNESS_CACHE=str(house.path / "cache"))
    words = json.dumps([words for name in FOLDERS for words in commands(name)])
    command = [sys.executable, "-c", ALL, words]
    done = subprocess.run(command, cwd=house.path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return house


@pytest.mark.launch
@pytest.mark.parametrize("name", FOLDERS)
def test_it_runs_as_it_is(name: str, ran: House) -> None:
    assert [result["status"] for result in ran.results(f"{name}_smoke").values()] == ["ok"]


@pytest.mark.slow
@pytest.mark.launch
def test_it_runs_by_the_commands(house: House) -> None:
    plain(house.path / "images")
    for words in commands("images"):
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(
            command, cwd=house.path, env=house.environment(), capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
    assert [result["status"] for result in house.results("images_smoke").values()] == ["ok"]


@pytest.mark.parametrize(("nested", "classes"), [("first", "home, wild"), ("last", "cat, dog, owl")])
def test_nested_folders(nested: str, classes: str, tmp_path: Path, capsys) -> None:
    root = tmp_path / "animals"
    for name in ("home/cat", "home/dog", "wild/cat", "wild/owl"):
        images(root / name, 8)
    assert init(root, tmp_path / "s.yaml") == 2
    assert "hint: --recursive first takes the first folder below" in capsys.readouterr().err
    assert init(root, tmp_path / "s.yaml", "--recursive", nested) == 0
    text = (tmp_path / "s.yaml").read_text()
    assert f"# Classes: {classes}" in text and yaml.safe_load(text)["base"]["data"]["nested"] == nested
    assert (
        load_suite(tmp_path / "s.yaml").plan(lambda section: "f00d").runs[0].spec.data.model_dump()["nested"] == nested
    )


def test_nothing_is_overwritten(tmp_path: Path, capsys) -> None:
    plain(tmp_path / "i")
    suite = tmp_path / "suite.yaml"
    suite.write_text("mine")
    assert init(tmp_path / "i", suite) == 2
    assert suite.read_text() == "mine" and "--force" in capsys.readouterr().err
    assert init(tmp_path / "i", suite, "--force") == 0 and suite.read_text() != "mine"


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda root: None, "cannot be read: No such file", "it should hold train/<class>/*.jpg"),
        (lambda root: root.mkdir(), "holds no class folders", "it should hold"),
        (lambda root: (root / "a").mkdir(parents=True), "no class folder in", "it should hold"),
        (lambda root: images(root / "train" / "a", 3), "holds train but no test", "a fifth becomes the test split"),
        (lambda root: images(root / "a" / "b" / "c", 3), "holds folders (b)", "--recursive first"),
        (lambda root: garbage(root / "a"), "none of the 2 images", "repair or replace them"),
    ],
    ids=["missing", "empty", "class without images", "no test split", "nested", "garbage"],
)
def test_folders_that_are_none(make, message: str, hint: str, tmp_path: Path, capsys) -> None:
    make(tmp_path / "i")
    assert init(tmp_path / "i", tmp_path / "s.yaml") == 2
    err = capsys.readouterr().err
    assert message in err and hint in err.splitlines()[1] and not (tmp_path / "s.yaml").exists()
    assert len(err.splitlines()) == 2


def garbage(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(b"no image")


def test_of_many_images_some_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(tmp_path)
    monkeypatch.setattr(looking, "MOST_OPENED", 20)
    look = look_at(tmp_path)
    assert (look.opened, look.images, look.one_size) == (20, 72, None)
    text = suite_text(look, choose(look), "s")
    assert "20 of them were read" in text and "unreadable: fail" in text and "size: 32" in text


@pytest.mark.parametrize(
    ("folder", "name"),
    [("cats & dogs", "cats_dogs"), ("犬", "images"), ("..x", "x"), ("a" * 99, "a" * 64), ("a b", "a_b")],
)
def test_names(folder: str, name: str) -> None:
    assert suite_name(folder) == name


def test_a_folder_that_is_turned_by_exif(tmp_path: Path) -> None:
    images(tmp_path / "a", 2, (60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / "a" / "0.jpg") as image:
        image.save(tmp_path / "a" / "0.jpg", exif=exif)
    assert sorted(look_at(tmp_path).sizes) == [(30, 60), (60, 30)]


def test_no_torch(tmp_path: Path) -> None:
    plain(tmp_path / "i")
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([n for n in ('torch', 'torchvision') if n in sys.modules], file=sys.stderr))\n"
        f"from harness.cli import main\nmain(['init', {str(tmp_path / 'i')!r}, '-o', {str(tmp_path / 's.yaml')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
