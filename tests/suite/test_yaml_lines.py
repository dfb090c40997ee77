"""YAML read safely, with the line of every key."""

import math
import time

import pytest

from harness.errors import HarnessError
from harness.suite import yaml_lines
from harness.suite.yaml_lines import SuiteError, parse_value, read_yaml

TEXT = """\
name: s
base:
  model: {name: mlp}
  train.epochs: 3
include:
  - label: a
    model.hidden_sizes: [8]
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "suite.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path)

    return read_text


@pytest.mark.parametrize(
    ("path", "depth", "line"),
    [
        (("name",), 1, 1),
        (("base", "model", "name"), 3, 3),
        (("base", "train", "epochs"), 3, 4),
        (("base", "train.epochs"), 3, 4),
        (("include", 0, "model", "hidden_sizes", 0), 5, 7),
        (("include", 0, "model", "width"), 2, 7),
        (("base", "optimizer", "lr"), 1, 2),
        (("base", "train"), 1, 4),
        (("nowhere",), 0, 1),
    ],
)
def test_the_line_of_a_path_or_of_the_nearest_one(read, path, depth, line):
    source = read(TEXT)
    assert (source.depth(path), source.line(path)) == (depth, line)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+5", -200000.0),
        (".5e1", 5.0),
        ("0.1", 0.1),
        ("50_000", 50000),
        ("010", 10),
        ("-010", -10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1__0", "1__0"),
        ("1:30", "1:30"),
        ("-1:30:00.5", "-1:30:00.5"),
        ("010.5", 10.5),
        ("1.", 1.0),
        ("-.INF", -math.inf),
        ("1e999", math.inf),
        ("!!int 010", 10),
        ("!!float 1", 1.0),
        ("=", "="),
        ("~", None),
        ("Off", False),
        ("{1: 2, ~: 3, on: 4}", {"1": 2, "~": 3, "on": 4}),
        ("[&a 1, {*a : *a}]", [1, {"1": 1}]),
        ("no", False),
        ("'no'", "no"),
        ("[1, 1e-2, a]", [1, 0.01, "a"]),
        ("{name: mlp}", {"name": "mlp"}),
        ("2020-01-31", "2020-01-31"),
        ("2020-13-45", "2020-13-45"),
        ("", None),
    ],
)
def test_values(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "!!int 1:30",
        "!!bool maybe",
        "!!null x",
        "!!float x",
        "!!merge x",
        "9" * 301,
        "[1",
        "{a: 1, a: 2}",
        "!!python/object:os.system {}",
        "!!set {a}",
        "1" * 5000,
        "[" * 100_000,
        "&a [*a]",
    ],
)
def test_values_that_are_none(text):
    with pytest.raises(HarnessError) as caught:
        parse_value(text)
    assert caught.value.hint and len(caught.value.message) < 200


def test_a_merge_key_is_plain_yaml(read):
    source = read("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert source.values["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is given twice, also on line 1"),
        ("a:\n  b: 1\n  b: 2\n", 3, "the key 'b' is given twice, also on line 2"),
        ("a:\n  b: 1\na.b: 2\n", 3, "the key 'a.b' is given twice, also on line 2"),
        ("a.b: 2\na:\n  b: 1\n", 3, "the key 'b' is given twice, also on line 1"),
        ("a: 1\nb: [\n", 3, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML: but found another document"),
        ("a: 1\nb: *x\n", 2, "not valid YAML: found undefined alias"),
        ("a: 1\n? [b, c]\n: 2\n", 2, "not valid YAML: found unhashable key"),
        (b"a: \xff\n", 1, "not valid YAML"),
        ("a: b\0c\n", 1, "not valid YAML"),
        ("a: 1\nb: !!set {c}\n", 2, "the tag !!set is not allowed"),
        ("a: 1\nb: !c 2\n", 2, "the tag !!c is not allowed"),
        ("a: 1\nb: !!binary aGVsbG8=\n", 2, "the tag !!binary is not allowed"),
        ("- a\n- b\n", 1, "a suite is a mapping, not a list"),
        ("text\n", 1, "a suite is a mapping, not a str"),
        ("", 1, "the file is empty"),
        ("# a comment\n", 1, "the file is empty"),
        ("a:\n  &b [*b]\n", 2, "nested too deeply"),
        ("a: 1\nb: " + "[" * 100_000, 2, "nested too deeply"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_suite(read, text, line, part):
    with pytest.raises(SuiteError) as caught:
        read(text)
    file, _, message = caught.value.message.partition("suite.yaml:")
    assert file and message.startswith(f"{line}: {part}") and caught.value.hint


def test_aliases_do_not_multiply_without_end(read):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    start = time.monotonic()
    with pytest.raises(SuiteError, match="more than 200,000 values"):
        read("\n".join(lines))
    assert time.monotonic() - start < 60  # 10^12 values would take days


@pytest.mark.parametrize("text", ["a: [" + "b," * 4000, "a: " + "b" * 10_000_001], ids=["values", "characters"])
def test_a_file_that_is_too_large_is_refused_before_its_nodes_are_made(read, monkeypatch, text):
    monkeypatch.setattr(yaml_lines, "MOST_VALUES", 1000)
    monkeypatch.setattr(yaml_lines._Loader, "get_single_node", lambda loader: pytest.fail("nodes are made"))
    with pytest.raises(SuiteError, match=r":1: more than (200,000 values or )?10,000,000 characters"):
        read(text)


def test_nothing_is_constructed_from_a_tag(read, tmp_path):
    canary = tmp_path / "canary"
    with pytest.raises(SuiteError, match=r":2: the tag !!python/object/apply:os.system is not allowed"):
        read(f"a: 1\nb: !!python/object/apply:os.system ['touch {canary}']\n")
    assert not canary.exists()


def test_the_nearest_file_is_named(tmp_path):
    (tmp_path / "quickstart.yaml").write_text("name: a\n")
    with pytest.raises(SuiteError) as caught:
        read_yaml(tmp_path / "quikstart.yaml")
    assert "cannot read" in caught.value.message and "No such file" in caught.value.message
    assert caught.value.hint == f"did you mean '{tmp_path / 'quickstart.yaml'}'?"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SuiteError, match="Is a directory"):
        read_yaml(tmp_path)
