"""Bad suites and bad assignments: one error that names file, line and field, with a hint, and nothing else happens."""

import json
import re
import tracemalloc

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.suite.plan import load_suite

# Lines 1 to 6; what a case adds begins on line 7 (in the base where it is indented).
HEAD = """\
name: s
base:
  model: mlp
  data: digits
  optimizer: {name: sgd, lr: 0.1}
  train.global_batch_size: 60
"""
LONG = ("train.epochs", "data.validation_seed", "train.untimed_steps")
REFERENCE = "metric: test.accuracy, value: 0.5, source: x"

WRONG = [
    # Unknown keys, with the nearest valid one.
    ("seed: 3", 7, "unknown field 'seed'", "'seeds'"),
    ("matrx: {}", 7, "unknown field 'matrx'", "'matrix'"),
    ("  modle: mlp", 7, "unknown field 'modle'", "'model'"),
    ("  3: mlp", 7, "unknown field '3'", "valid: "),
    ("  2020-01-01: mlp", 7, "unknown field '2020-01-01'", "valid: "),
    *((f"{key}: x", 7, f"unknown field '{key}'", "valid: ") for key in ("1", "~", "1.5", "on", "null")),
    ("? \n: x", 7, "unknown field ''", "valid: "),
    ("  ~: x", 7, "unknown field '~'", "valid: "),
    ("matrix:\n  1: [3]", 8, "unknown field '1'", "valid: "),
    ("include:\n  - ~: 3", 8, "unknown field '~'", "valid: "),
    ("exclude:\n  - 1: 3", 8, "no config has a field '1'", "valid: "),
    ("anchors:\n  ~: 3", 8, "unknown field '~'", "valid: label"),
    ("target: {1: 2, metric: test.accuracy, at_least: 0.5}", 7, "unknown field '1'", "valid: at_least"),
    ("smoke:\n  set: {~: 3}", 8, "unknown field '~'", "valid: "),
    ("smoke:\n  only: {labl: [3]}", 8, "unknown field 'labl'", "'label'"),
    ("  train.batch_size: 3", 7, "unknown field 'train.batch_size'", "'global_batch_size'"),
    ("exclude:\n  - {train.batch_size: 3}", 8, "no config has a field", "'train.global_batch_size'"),
    ("  optimizer.learning_rate: 3", 7, "unknown field 'optimizer.learning_rate'", "'lr'"),
    ("  scheduler: step", 7, "unknown field 'scheduler'", "'schedule'"),
    ("  train:\n    epochs: 1\n    epoch: 1", 9, "unknown field 'train.epoch'", "'epochs'"),
    ("  data.augment:\n    flip: true\n    crp: 4", 9, "unknown field 'data.augment.crp'", "'crop'"),
    ("  data.augment.color_jitter: {huge: 3}", 7, "unknown field 'data.augment.color_jitter.huge'", "'hue'"),
    ("matrix:\n  train.epochs: [1]\n  train.tf33: [true]", 9, "unknown field 'train.tf33'", "'tf32'"),
    ("matrix:\n  trian.epochs: [1]", 8, "unknown field 'trian'", "'train'"),
    ("matrix:\n  model:\n    - mlp\n    - {name: cnn3, filter: [1]}", 8, "unknown field 'model.filter'", "'filters'"),
    ("zip:\n  - train.epochs: [1]\n    train.tf33: [true]", 9, "unknown field 'train.tf33'", "'tf32'"),
    ("zip:\n  - train.epochs: [1]\n  - train.tf33: [true]", 9, "unknown field 'train.tf33'", "'tf32'"),
    ("one_at_a_time:\n  train.epochs: [1]\n  train.tf33: [true]", 9, "unknown field 'train.tf33'", "'tf32'"),
    ("include:\n  - label: a\n  - label: b\n    train.epoch: 1", 10, "unknown field 'train.epoch'", "'epochs'"),
    ("exclude:\n  - train.epoch: 1", 8, "exclude: no config has a field 'train.epoch'", "'train.epochs'"),
    (f"references:\n  - {{match: {{lable: a}}, {REFERENCE}}}", 8, "no config has a field 'lable'", "'label'"),
    (f"references:\n  - {{mtch: {{label: a}}, {REFERENCE}}}", 8, "unknown field 'mtch'", "'match'"),
    ("target: {metric: test.accuracy, at_lest: 0.9}", 7, "unknown field 'at_lest'", "'at_least'"),
    # Unknown names.
    ("  model.name: mpl", 7, "unknown architecture 'mpl'", "'mlp'"),
    ("include:\n  - model: torchvision/resnet51", 8, "unknown architecture", "'torchvision/resnet50'"),
    ("matrix: {data: [digit]}", 7, "unknown dataset 'digit'", "'digits'"),
    ("matrix:\n  optimizer: [{name: sdg, lr: 1}]", 8, "unknown optimizer 'sdg'", "'sgd'"),
    ("  schedule: cosin", 7, "unknown schedule 'cosin'", "'cosine'"),
    ("  loader: residnet", 7, "unknown loader 'residnet'", "'resident'"),
    # Wrong types, out of range.
    ("  train.epochs: '5'", 7, 'train.epochs is "5"', "a whole number"),
    ("  train.epochs: true", 7, "train.epochs is true", "a whole number"),
    ("  train.epochs: 5.0", 7, "train.epochs is 5.0", "a whole number without point and exponent, below 9,223"),
    ("  train.epochs: 1e23", 7, "train.epochs is 1e+23", "a whole number without point and exponent, below 9,223"),
    ("  train.epochs: .nan", 7, "train.epochs is NaN", "it should be a whole number"),
    ("  train.epochs: [5]", 7, "train.epochs is [5]", "a whole number"),
    ("  train.epochs:", 7, "train.epochs is null", "a whole number"),
    ("  train.epochs: 0", 7, "train.epochs is 0", "greater than 0"),
    ("  train.num_processes: 0", 7, "train.num_processes is 0", "greater than 0"),
    ("  train.clip_grad_norm: .nan", 7, "train.clip_grad_norm is NaN", "a number, neither NaN nor infinite"),
    ("  train.clip_grad_norm: .inf", 7, "train.clip_grad_norm is Infinity", "a number, neither NaN nor infinite"),
    ("  data.augment.flip: sometimes", 7, 'data.augment.flip is "sometimes"', "'alternating'"),
    ("  data.augment.erase: {probability: 2}", 7, "erase.probability is 2", "less than or equal to 1"),
    ("  data.augment.erase: {scale: [0.5, 0.1]}", 7, "erase.scale is [0.5, 0.1]", "the first not above the second"),
    ("  data.augment.random_resized_crop: {}", 7, "'data.augment.random_resized_crop.size' is missing", "add "),
    ("  schedule: 3", 7, "'schedule' does not name the schedule", "schedule: {name: ...}"),
    ("matrix:\n  train.epochs: [1, 2, x]", 8, 'train.epochs is "x"', "a whole number"),
    ("matrix:\n  optimizer: [{name: adam}, {name: sgd}]", 8, "'optimizer.lr' is missing", "add optimizer.lr"),
    ("description: 3", 7, "description is 3", "a text"),
    ("  train.epochs: 1:30", 7, 'train.epochs is "1:30"', "a whole number"),
    ("  train.clip_grad_norm: 1:30.5", 7, 'train.clip_grad_norm is "1:30.5"', "a number"),
    ("  train.epochs: !!int 1:30", 7, "not valid YAML: '1:30' is no int", "check"),
    (f"  train.epochs: {'9' * 301}", 7, "not valid YAML: '999", "check"),
    ("  train.epochs: 0x8000000000000000", 7, "not valid YAML: 0x8000000000000000 is beyond 64 bits", "check"),
    ("budget: 1:30", 7, 'budget is "1:30"', "write a number and s, min or h"),
    ("budget: 010", 7, "budget is 10", "write a number and s, min or h"),
    ("include: {label: a}", 7, 'include is {"label": "a"}', "a list"),
    ("target: 0.9", 7, "target is 0.9", "a mapping"),
    # Axes.
    ("matrix: {}", 7, "the matrix is empty", "leave it out"),
    ("matrix:", 7, "the matrix is empty", "leave it out"),
    ("matrix: [train.epochs]", 7, "matrix is [", "a mapping"),
    ("matrix:\n  train.epochs: 5", 8, "matrix.train.epochs is 5", "a list"),
    ("matrix:\n  train.epochs: [1]\n  train.tf32: []", 9, "'train.tf32' has no values", "list at least one"),
    ("one_at_a_time:\n  train.tf32: []", 8, "'train.tf32' has no values", "list at least one"),
    ("zip:\n  - train.tf32: []", 8, "'train.tf32' has no values", "list at least one"),
    ("zip:\n  - {}", 8, "a group of 'zip' is empty", "give it paths"),
    ("zip:\n  - {train.epochs: [1], model: [mlp]}\n  - {train.epochs: [1]}", 9, "varied twice", "in one place"),
    ("matrix: {model: [mlp]}\nzip:\n  - {model: [cnn3]}", 9, "'model' is varied twice", "in one place"),
    (
        "zip:\n  - {train.epochs: [1, 2], train.tf32: [true]}",
        8,
        "differ in length: {'train.epochs': 2, 'train.tf32': 1}",
        "as many values",
    ),
    (
        "matrix: {train.epochs: [1]}\none_at_a_time: {train.tf32: [true]}",
        8,
        "matrix and one_at_a_time exclude each other",
        "full product",
    ),
    # More than there is room for.
    (
        "matrix:\n" + "".join(f"  {path}: {[*range(1, 1001)]}\n" for path in LONG),
        7,
        "1,000,000,000 runs",
        "fewer values",
    ),
    (f"one_at_a_time:\n  {LONG[0]}: {[*range(11, 1011)]}\nseeds: 1000", 7, "1,001,000 runs", "fewer values"),
    # Identities and labels.
    ("matrix:\n  train.epochs: [1, 1]", 7, "two runs with the same identity: 'epochs=1' and 'epochs=1'", "leave one"),
    (
        "matrix: {train.epochs: [1, 2]}\ninclude:\n  - {label: a, train.epochs: 2}",
        9,
        "two runs with the same identity: 'epochs=2' and 'a'",
        "leave one out",
    ),
    ("one_at_a_time:\n  train.epochs: [10]", 7, "the same identity: 'base' and 'epochs=10'", "leave one out"),
    (
        "include:\n  - {label: a, train.epochs: 1}\n  - {label: a, train.epochs: 2}",
        9,
        "the label 'a' is used for two configs",
        "its own label",
    ),
    ('include:\n  - {label: "a\\nb"}', 8, 'the label "a\\nb" has control characters', "tables"),
    ("include:\n  - {label: 3}", 8, "label is 3", "a text"),
    ("  label: a", 7, "'label' is not set in the base", "include"),
    ("  seed: 3", 7, "'seed' is not set in a config", "seeds"),
    # Seeds.
    *(
        (
            f"seeds: {seeds}",
            7,
            "seeds",
            "a count from 1 to 10,000, or a list of distinct seeds such as [0, 5], each below 4,294,967,296",
        )
        for seeds in ("0", "-1", "[]", "[-1]", "[1, 1]", "true", "1.0", "a", "[1.5]", "[4294967296]", "1000000000", "~")
    ),
    # Excluded, referred to, targeted.
    ("exclude:\n  - {train.epochs: 3}", 8, 'an exclusion matches no run: {"train.epochs": 3}', "harness plan"),
    ("exclude:\n  - {model: mlp}", 7, "every run is excluded", "loosen"),
    (f"references:\n  - {{match: {{label: b}}, {REFERENCE}}}", 8, "a reference matches no run: {", "harness plan"),
    (f"references:\n  - {{match: {{}}, {REFERENCE}}}", 8, "references.0.match is {}", "at least 1 item"),
    ("references:\n  - {match: {label: mlp}, metric: test.accuracy, value: 1}", 8, "'source' is missing", "add source"),
    (
        "references:\n  - {match: {label: mlp}, metric: test.acc, value: 1, source: x}",
        8,
        "unknown metric 'test.acc'",
        "'test.accuracy'",
    ),
    (
        "references:\n  - {match: {label: mlp}, metric: test.loss, value: .nan, source: x}",
        8,
        "references.0.value is NaN",
        "a number, neither NaN nor infinite",
    ),
    ("target: {metric: accuracy, at_least: 0.9}", 7, "unknown metric 'accuracy'", "'test.accuracy'"),
    ("target: {metric: train.accuracy, at_least: 0.9}", 7, "unknown metric 'train.accuracy'", "'test.accuracy'"),
    ("target: {metric: clock.train_seconds, at_least: 9}", 7, "unknown metric 'clock.t", "valid: test.accuracy, "),
    ("target: {metric: test.loss, at_least: 0.9}", 7, "unknown metric 'test.loss'", "valid: test.accuracy, "),
    (
        "target: {metric: test.accuracy, at_least: .nan}",
        7,
        "target.at_least is NaN",
        "a number, neither NaN nor infinite",
    ),
    ("target: {metric: test.accuracy, at_least: '1'}", 7, 'target.at_least is "1"', "a number"),
    (
        "target: {metric: test.accuracy, at_least: 90}",
        7,
        "target.at_least is 90, and",
        "fractions, not per cent, e.g. 0.9",
    ),
    ("target: {metric: test.macro_recall, at_least: -1}", 7, "target.at_least is -1", "fractions, not per cent"),
    *(
        (
            f"references:\n  - match: {{label: mlp}}\n    metric: {metric}\n    value: 92.12\n    source: x",
            10,
            f"references.0.value is 92.12, and {metric} is between 0 and 1",
            "fractions, not per cent, e.g. 0.9212",
        )
        for metric in ("test.accuracy", "train.top5_accuracy", "test.all_epochs_mean_batch_recall")
    ),
    ("target: {metric: validation.accuracy, at_least: 0.9}", 7, "'mlp' has none", "set data.validation"),
    # Batches.
    (
        "  train.ema_decay: 0.9\n  train.mixed_precision: bf16-true",
        7,
        "averages weights in bfloat16",
        "leave ema_decay",
    ),
    (
        "  train.activation_checkpointing: true\n  train.compile: true",
        7,
        "activation_checkpointing with compile",
        "leave one of them out",
    ),
    ("  train.gradient_accumulation_steps: 7", 6, "60 does not divide into 7 equal micro-batches", "must divide it"),
    (
        "matrix:\n  train.global_batch_size: [10, 11]\n  train.num_processes: [5]",
        8,
        "11 does not divide into 5",
        "must",
    ),
    # YAML.
    ("seeds: 3\nseeds: 4", 8, "the key 'seeds' is given twice, also on line 7", "keep one"),
    ("  train: {global_batch_size: 3}", 7, "the key 'global_batch_size' is given twice, also on line 6", "keep one"),
    ("matrix: [\n", 9, "not valid YAML", "check the indentation"),
    ("  train.epochs: !!python/name:os.system", 7, "the tag !!python/name:os.system is not allowed", "plain values"),
]


def error_of(path, text) -> HarnessError:
    path.write_text(text)
    with pytest.raises(HarnessError) as caught:
        load_suite(path).plan(lambda data: "fingerprint")
    return caught.value


def test_the_head_is_right(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(HEAD)
    assert len(load_suite(path).plan(lambda data: "fingerprint").runs) == 1


@pytest.mark.parametrize(("text", "line", "message", "hint"), WRONG, ids=[case[0].replace("\n", ";") for case in WRONG])
def test_a_bad_suite(tmp_path, text, line, message, hint):
    path = tmp_path / "suite.yaml"
    error = error_of(path, f"{HEAD}{text}\n")
    assert error.message.startswith(f"{path}:{line}: ")
    assert message in error.message and hint in error.hint
    assert "\n" not in error.message


def test_numbers_are_read_alike_everywhere(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(HEAD + "matrix: {train.epochs: [010, 0o13, 1_2]}\n")

    def epochs(*overrides, only=()):
        runs = load_suite(path, overrides).plan(lambda data: "fingerprint", only=only).runs
        return sorted(run.spec.train.epochs for run in runs)

    assert epochs() == [10, 11, 12]
    assert epochs("train.epochs=010") == [10]
    assert epochs(only=["train.epochs=010"]) == [10] and epochs(only=["train.epochs=0xc"]) == [12]


def test_a_million_runs_are_a_suite(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(HEAD + "".join(["matrix:\n", *(f"  {path}: {[*range(1, 101)]}\n" for path in LONG)]))
    assert next(iter(load_suite(path).variations)).settings["train.epochs"] == 1
    with pytest.raises(HarnessError, match="2,000,000 runs, and a suite has 1,000,000 at most"):
        next(iter(load_suite(path, ["seeds=2"]).variations))
    assert next(iter(load_suite(path, ["seeds=2", "train.epochs=3"]).variations)), "what is pinned does not vary"


@pytest.mark.parametrize(("alias", "count"), [("*a", 20_000), ("{*a : 1}", 200), ("[*a]", 200)])
def test_aliases_to_a_long_text_are_refused_before_memory_is_spent(tmp_path, alias, count):
    path = tmp_path / "suite.yaml"
    text = f"{HEAD}description: &a {'x' * 100_000}\nmatrix: {{model.kwargs.x: [{', '.join([alias] * count)}]}}\n"
    tracemalloc.start()
    try:
        error = error_of(path, text)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert error.message.startswith(f"{path}:7: more than 200,000 values or 10,000,000 characters")


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "a/b",
        "..",
        ".hidden",
        "-x",
        "",
        " ",
        "x" * 300,
        "süite",
        "名",
        "a\0b",
        "s\n",
        "a b",
        "$(id)",
        5,
        None,
    ],
    ids=lambda name: repr(name)[:10],
)
def test_a_name_that_is_no_folder(tmp_path, name):
    path = tmp_path / "suite.yaml"
    error = error_of(path, HEAD.replace("name: s", f"name: {json.dumps(name)}", 1))
    assert error.message.startswith(f"{path}:1: the name ") and "is not a folder name" in error.message
    assert "letters, digits" in error.hint and len(error.message) < 130 + len(str(path))


@pytest.mark.parametrize("missing", ["name", "base", "  model", "  data", "  optimizer"])
def test_what_a_suite_must_have(tmp_path, missing):
    if missing == "base":
        text = "name: s\n"
    else:
        text = "".join(line for line in HEAD.splitlines(True) if not line.startswith(missing))
    field = {"base": "model"}.get(missing, missing.strip())
    assert f"'{field}' is missing" in error_of(tmp_path / "suite.yaml", text).message


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--set", "train.epochs"], "--set train.epochs is not an assignment", "write --set train.epochs=5"),
        (["--set", f"model.{'a.' * 60}a=1"], "--set model.a.a.", "write --set train.epochs=5"),
        (["--only", f"model.{'a.' * 60}a=1"], "--only model.a.a.", "write --only label=best"),
        (["--set", "train.epochs=1\ntrain: 2"], "'1 train: 2' is not a YAML value: ", "quote it"),
        (["--set", "=5"], "--set =5 is not an assignment", "write --set train.epochs=5"),
        (["--set", "trian.epochs=5"], "--set trian.epochs: unknown field 'trian'", "'train'"),
        (["--set", "label=a"], "--set label: unknown field 'label'", "valid: data"),
        (["--set", "seed=1"], "--set seed: unknown field 'seed'", "'seeds'"),
        (["--set", "train.epoch=5"], "--set train.epoch: unknown field 'train.epoch'", "'epochs'"),
        (["--set", "train.epochs=five"], '--set train.epochs: train.epochs is "five"', "a whole number"),
        (["--set", "train.epochs=1:30"], '--set train.epochs: train.epochs is "1:30"', "a whole number"),
        (["--set", f"train.epochs={2**63}"], f"'{2**63}' is not a YAML value: {2**63} is beyond 64 bits", "quote"),
        (["--only", "train.epochs=1:30"], "--only train.epochs=1:30 selects no run", "labels: mlp"),
        (["--set", "train.batch_size=3"], "unknown field 'train.batch_size'", "'global_batch_size'"),
        (["--set", "train.epochs="], "--set train.epochs: train.epochs is null", "a whole number"),
        (["--set", "train.epochs=[1"], "'[1' is not a YAML value", "quote it"),
        (["--set", "model=mpl"], "--set model: unknown architecture 'mpl'", "'mlp'"),
        (["--set", "train.gradient_accumulation_steps=7"], "does not divide into 7 equal", "must divide it"),
        (["--set", "seeds=0"], "--set seeds=0: not a count", "from 1 to 10,000"),
        (["--set", "seeds=[1, 1]"], "--set seeds=[1, 1]: not a count", "from 1 to 10,000"),
        (["--set", "seeds=true"], "--set seeds=true: not a count", "from 1 to 10,000"),
        (["--only", "label"], "--only label is not a selection", "write --only label=best"),
        (["--only", "=best"], "--only =best is not a selection", "write --only label=best"),
        (["--only", "label=bset"], "--only label=bset selects no run", "labels: mlp"),
        (["--only", "seed=7"], "--only seed=7 selects no run", "seeds: [0]"),
        (["--only", "lable=mlp"], "--only lable: no config has a field 'lable'", "'label'"),
        (["--only", "train.epochs=[1"], "'[1' is not a YAML value", "quote it"),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_bad_assignments(tmp_path, monkeypatch, capsys, verb, arguments, message, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(HEAD)
    out, err = fails(capsys, [verb, "suite.yaml", *arguments])
    assert not out and message in err.splitlines()[0] and hint in err.splitlines()[1] and len(err) < 500
    assert [path.name for path in tmp_path.rglob("*")] == ["suite.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "seed: 3\n", r"error: suite.yaml:7: unknown field 'seed'"),
        (HEAD + "matrix: [\n", r"error: suite.yaml:8: not valid YAML"),
        ("", r"error: suite.yaml:1: the file is empty"),
        (HEAD.replace("digits", "image_folder"), r"error: suite.yaml:4: 'data.root' is missing"),
        (
            HEAD.replace("digits", "{name: image_folder, root: nowhere}"),
            r"error: (.*nowhere|no results of s in results yet)",
        ),
        (HEAD.replace("name: s", "name: ../../x", 1), r"error: suite.yaml:1: the name"),
    ],
    ids=lambda value: value[-40:],
)
@pytest.mark.parametrize("verb", ["plan", "run", "status", "report"])
def test_the_command_line_exits_with_2_and_writes_nothing(tmp_path, monkeypatch, capsys, verb, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(text)
    out, err = fails(capsys, [verb, "suite.yaml"])
    lines = err.splitlines()
    assert not out and len(lines) == 2 and re.match(message, lines[0]) and lines[1].startswith("hint: ")
    assert [path.name for path in tmp_path.rglob("*")] == ["suite.yaml"]


def test_an_output_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(HEAD)
    (tmp_path / "file").write_text("")
    _, err = fails(capsys, ["run", "suite.yaml", "--output", "file/results"])
    assert re.match(r"error: cannot write to file/results/s: .+\nhint: choose another with --output DIR", err)


@pytest.mark.parametrize("verb", ["run", "status", "report", "submit", "doctor"])
def test_an_output_that_cannot_be_printed(tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(HEAD)
    _, err = fails(capsys, [verb, *["suite.yaml"] * (verb != "doctor"), "--output", "a\nb"])
    assert err == "error: --output 'a\\nb' has a character that cannot be printed\nhint: name a folder without it\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["suite.yaml"]


def test_a_missing_suite(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(HEAD)
    _, err = fails(capsys, ["plan", "siute.yaml"])
    assert err == "error: cannot read siute.yaml: No such file or directory\nhint: did you mean 'suite.yaml'?\n"


def test_a_tag_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(f"{HEAD}  train.epochs: !!python/object/apply:os.system ['touch canary']\n")
    _, err = fails(capsys, ["run", "suite.yaml"])
    assert "suite.yaml:7: the tag !!python/object/apply:os.system is not allowed" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["suite.yaml"]


def fails(capsys, arguments: list[str]) -> tuple[str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    return out, err


def test_local_is_one_process(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(HEAD)
    out, err = fails(capsys, ["run", "suite.yaml", "--local", "--set", "train.num_processes=2"])
    assert not out and err.startswith("error: --local is one process a run, and 'mlp' asks for 2\nhint: leave it out")
    assert [path.name for path in tmp_path.rglob("*")] == ["suite.yaml"]
