"""Plug-ins are found by reading their files, without importing them."""

import importlib
import sys

import pytest

from harness import paths, registry
from harness.errors import HarnessError
from harness.plugin_source import FOLDERS
from harness.registry import build, find, names, plugins
from harness.spec import PLUGIN_SECTIONS, section_model
from harness.spec.run_spec import _read_section, _section_model
from harness.suite.catalogue import catalogue, describe

SOURCE = '''
from harness.registry import {kind}
{imports}

@{kind}("new_{kind}", "newer_{kind}")
def new(name: str, *supplied, size: PositiveInt = 3, mode: Literal["a", "b"], ratio: Fraction | None = None):
    """One more {kind}.

    Args:
        size: of the thing
    """
    return name, supplied, size, mode, ratio
'''

WITH_PARAMETERS = [kind for kind in FOLDERS if kind != "metric"]  # which declares other things: tests/test_metrics.py


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty package; the test writes plug-ins into its folders."""
    for folder in FOLDERS.values():
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    _section_model.cache_clear()
    yield {kind: tmp_path / folder for kind, folder in FOLDERS.items()}
    _section_model.cache_clear()
    _read_section.cache_clear()  # sections of the models that were cleared


@pytest.mark.parametrize("kind", WITH_PARAMETERS)
def test_a_new_file_is_all_that_a_plug_in_needs(folders, kind):
    (folders[kind] / "new.py").write_text(SOURCE.format(kind=kind, imports="raise SystemExit('imported')"))
    assert names(kind) == [f"new_{kind}", f"newer_{kind}"]
    plugin = find(kind, f"newer_{kind}")
    assert plugin.summary == f"One more {kind}." and plugin.takes_name and plugin.function == "new"
    assert plugin.module == f"harness.{FOLDERS[kind].replace('/', '.')}.new"
    fields = plugin.parameters().model_fields
    assert list(fields) == ["size", "mode", "ratio"] and fields["size"].description == "of the thing"
    assert plugin.parameters()(mode="a").model_dump() == {"size": 3, "mode": "a", "ratio": None}
    with pytest.raises(ValueError, match=r"size\n.*greater than 0"):
        plugin.parameters()(mode="a", size=0)
    assert list(catalogue(kind).kinds[f"{kind}s"].values()) == [f"One more {kind}."]
    described = describe(f"{kind}s", f"new_{kind}").kinds[f"{kind} new_{kind}: One more {kind}."]
    assert described == {"size": "default 3  of the thing", "mode": "required", "ratio": "default None"}

    section = next((section for section, (known, _) in PLUGIN_SECTIONS.items() if known == kind), None)
    if section is None:  # pictures stand in no suite
        return
    model = section_model(section, f"new_{kind}")
    assert model.model_validate({"name": f"new_{kind}", "mode": "b"}).model_dump()["size"] == 3
    assert plugin.module not in sys.modules


@pytest.mark.parametrize("kind", WITH_PARAMETERS)
def test_building_imports_the_file_and_hands_on_what_it_is_given(folders, kind, monkeypatch):
    file = f"built_{kind}"
    source = SOURCE.format(kind=kind, imports="from harness.parameters import *\nfrom typing import Literal")
    (folders[kind] / f"{file}.py").write_text(source)
    package = importlib.import_module(f"harness.{FOLDERS[kind].replace('/', '.')}")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folders[kind])])
    try:
        assert build(kind, f"newer_{kind}", 1, 2, mode="b") == (f"newer_{kind}", (1, 2), 3, "b", None)
    finally:
        sys.modules.pop(f"{package.__name__}.{file}", None)
        vars(package).pop(file, None)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(*, x: int = 2 + y): ...", "bad.py:2: parameter 'x' of f: the default is not a literal"),
        ("def f(*, x: int = len('ab')): ...", "bad.py:2: parameter 'x' of f: the default is not a literal"),
        ("def f(*, x=3): ...", "bad.py:2: parameter 'x' of f has no type"),
        ("def f(*, x: Tensor = None): ...", "bad.py:2: parameter 'x' of f: name 'Tensor' is not defined"),
        ("def f(*, x: 'Tensor' = None): ...", "bad.py:2: parameter 'x' of f: name 'Tensor' is not defined"),
        ("def f(*, x: int.y = 3): ...", "bad.py:2: parameter 'x' of f: type object 'int' has no attribute"),
        ("def f(*, x: __import__('os') = 3): ...", "parameter 'x' of f: name '__import__' is not defined"),
        (
            "def f(image): ...",
            "bad.py:2: f takes image before the `*`, and the harness supplies image, num_classes to an a",
        ),
        ("def f(image, num_classes, width=8): ...", "bad.py:2: f takes image, num_classes, width before the `*`"),
        ("def f(): ...", "bad.py:2: f takes nothing before the `*`"),
        ("def f(name, image): ...", "bad.py:2: f takes name, image before the `*`"),
        ("def f(image, num_classes, **more): ...", "bad.py:2: **more of f does not tell which parameters a suite may"),
        ("class F: ...", "bad.py:2: @architecture marks a function and names it"),
        ("def f(: ...", "bad.py:2: invalid syntax"),
    ],
)
def test_a_plug_in_that_cannot_be_read(folders, source, message):
    (folders["architecture"] / "bad.py").write_text(f'@architecture("bad")\n{source}\n')
    with pytest.raises(HarnessError) as caught:
        plugins("architecture")
    assert message in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("@architecture(3)", "bad.py:1: @architecture of f is given a name that is no text"),
        ("@architecture()", "marks a function and names it"),
        ("@architecture(NAME)", "bad.py:1: @architecture of f is not a literal"),
        ('@architecture("a", names_in=PATTERN)', "bad.py:1: @architecture of f is not a literal"),
    ],
)
def test_a_mark_that_cannot_be_read(folders, mark, message):
    (folders["architecture"] / "bad.py").write_text(f"{mark}\ndef f(): ...\n")
    with pytest.raises(HarnessError) as caught:
        plugins("architecture")
    assert message in caught.value.message


@pytest.mark.parametrize("mark", ["@architecture('x')", "@architecture( 'y', 'x' )", "@architecture (\n    'x',\n)"])
def test_a_name_in_single_quotes(folders, mark):
    (folders["architecture"] / "single.py").write_text(f"{mark}\ndef f(image, num_classes, *, width: int = 3): ...\n")
    assert find("architecture", "x").function == "f" and "x" in names("architecture")


def test_annotations_in_quotes_are_types(folders):
    (folders["dataset"] / "quoted.py").write_text('@dataset("quoted")\ndef f(*, size: "PositiveInt" = 3): ...\n')
    with pytest.raises(ValueError, match="greater than 0"):
        find("dataset", "quoted").parameters()(size=0)


def test_a_name_is_declared_once(folders):
    for file in ("one", "two"):
        (folders["loader"] / f"{file}.py").write_text('@loader("same")\ndef f(feed): ...\n')
    with pytest.raises(HarnessError) as caught:
        plugins("loader")
    one, two = (folders["loader"] / f"{file}.py" for file in ("one", "two"))
    assert caught.value.message == f"{two}:2: the loader 'same' is declared by {one}:2, too" and caught.value.hint


def test_a_parameter_must_not_hide_what_every_plug_in_of_its_kind_has(folders):
    (folders["optimizer"] / "hides.py").write_text(
        '@optimizer("hides")\ndef f(groups, *, weight_decay_on: str = "x"): ...\n'
    )
    with pytest.raises(HarnessError, match="optimizer 'hides' declares \\['weight_decay_on'\\], which every optimizer"):
        section_model("optimizer", "hides")


def test_what_is_marked_otherwise_is_no_plug_in_of_the_kind(folders):
    text = '@loader("a")\ndef f(feed): ...\n@other\n@cache()\ndef g(): "@architecture("\n'
    (folders["architecture"] / "other.py").write_text(text)
    assert plugins("architecture") == ()


@pytest.fixture
def foreign(folders, tmp_path, monkeypatch):
    """A package `zoo`, whose nets an architecture hands on."""
    (tmp_path / "zoo" / "nets").mkdir(parents=True)
    (tmp_path / "zoo" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "zoo" / "nets" / "a.py").write_text("def net_a(): ...\ndef _hidden(): ...\ndef net_b(): ...\n")
    source = (
        r'@architecture("zoo/*", names_in=("nets/*.py", r"^def ([a-z]\w+)\("))'
        + "\ndef f(name, image, num_classes, *, k: int = 1): ...\n"
    )
    (folders["architecture"] / "zoo.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)


def test_names_of_another_package(foreign):
    assert names("architecture") == ["zoo/net_a", "zoo/net_b"]
    assert find("architecture", "zoo/net_b").wildcard() == "zoo"
    assert "zoo" not in sys.modules


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("zoo/net_aa", "did you mean 'zoo/net_a'?"),
        ("zoo/*", "valid: zoo/net_a, zoo/net_b"),
        ("net_a", "did you mean 'zoo/net_a'?"),
        ("q", "valid: zoo/net_a, zoo/net_b"),
    ],
)
def test_unknown_names_of_another_package(foreign, name, hint):
    with pytest.raises(HarnessError) as caught:
        find("architecture", name)
    assert caught.value.message == f"unknown architecture '{name}'" and caught.value.hint.startswith(hint)


def test_another_package_that_is_not_installed(folders):
    text = '@architecture("no_such_package/*", names_in=("*.py", "x"))\ndef f(name, image, num_classes): ...\n'
    (folders["architecture"] / "none.py").write_text(text)
    assert names("architecture") == []
    with pytest.raises(HarnessError) as caught:
        find("architecture", "no_such_package/net")
    assert caught.value.message == "architecture 'no_such_package/net' needs the package no_such_package"
    assert caught.value.hint == "pip install no_such_package"


@pytest.mark.parametrize("kind", WITH_PARAMETERS)
def test_everything_that_ships_is_described(kind):
    for plugin in plugins(kind):
        assert plugin.summary.endswith("."), plugin.module
        section = next((section for section, (known, _) in PLUGIN_SECTIONS.items() if known == kind), None)
        if section and not plugin.wildcard():
            assert all(section_model(section, name).model_fields["name"] for name in plugin.names)


@pytest.mark.parametrize(("kind", "hint"), [("architectur", "'architectures'"), ("suite_", "'suites'"), ("q", "valid")])
def test_an_unknown_kind(kind, hint):
    for call in (lambda: catalogue(kind), lambda: describe(kind, "x")):
        with pytest.raises(HarnessError, match=f"there is no kind '{kind}'") as caught:
            call()
        assert caught.value.hint
    with pytest.raises(HarnessError) as caught:
        catalogue(kind)
    assert hint in caught.value.hint


def test_suites_are_listed_even_where_one_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "harness")
    (tmp_path / "benchmarks").mkdir()
    for name, content in {
        "a": b"name: a\ndescription: |\n  First line.\n  Second.\n",
        "b": b"[",
        "c": b"\xff",
        "d": b"- x",
        "e": b"",
        "f": b"[" * 100_000,
    }.items():
        (tmp_path / "benchmarks" / f"{name}.yaml").write_bytes(content)
    found = catalogue("suites").kinds["suites"]
    assert found["a"] == "First line."
    assert found["b"].startswith("unreadable: ") and found["c"].startswith("unreadable")
    assert found["d"].endswith("a suite is a mapping, not a list")
    assert found["e"].endswith("the file is empty")
    assert found["f"].startswith("unreadable: ")
