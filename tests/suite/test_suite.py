"""Suite files: what each of their fields means, and the order of the plan."""

import re

import pytest

from harness.errors import HarnessError
from harness.spec import RunSpec
from harness.spec.settings import matches
from harness.suite.file import target_names
from harness.suite.plan import Plan, Suite, load_suite
from harness.suite.yaml_lines import SuiteError

# "A suite" of the design, word for word.
DESIGN = """\
# yaml-language-server: $schema=suite.schema.json
name: resnet18_milestones
base:                                   # every field of a RunSpec may stand here
  model: {name: resnet18, stem: cifar}
  data: {name: cifar10, augment: {crop: 4, flip: true, rotate: 15}, normalize: cifar10}
  optimizer: {name: adam, lr: 1e-3}
  schedule: {name: multistep, milestones: [10, 15, 18], gamma: 0.5, warmup_epochs: 1}
  train: {epochs: 20, global_batch_size: 100}
matrix:                                 # full product; dotted paths
  train.mixed_precision: ["no", bf16]
zip:                                    # advance together
  - {train.global_batch_size: [64, 100], schedule.gamma: [0.2, 0.5]}
one_at_a_time: {}                       # instead of matrix: the base, then each value alone
exclude: [{train.mixed_precision: bf16, train.global_batch_size: 64}]
include: [{label: best, train.global_batch_size: 100}]
seeds: 7                                # a count or a list
target: {metric: test.accuracy, at_least: 0.92}
references:
  - {match: {label: best}, metric: test.accuracy, value: 0.9212, source: "report 1, table 1"}
"""

BASE = """\
name: s
base:
  model: {name: resnet18, width: 8}
  data: {name: digits}
  optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
  train: {epochs: 2, global_batch_size: 64}
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text: str, *overrides: str) -> Suite:
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return load_suite(path, overrides)

    return load_text


def planned(suite: Suite, *only: str, num_processes: int = 1) -> Plan:
    return suite.plan(lambda data: f"fingerprint of {data.name}", num_processes=num_processes, only=only)


def labels(plan: Plan) -> list[str]:
    return [spec.label for spec in plan.configs().values()]


def specs(suite: Suite, *only: str) -> dict[str, RunSpec]:
    return {run.spec.label: run.spec for run in planned(suite, *only).runs}


def test_the_suite_of_the_design(load):
    plan = planned(load(DESIGN))
    configs = [
        "mixed_precision=no, global_batch_size=64, gamma=0.2",
        "mixed_precision=no, global_batch_size=100, gamma=0.5",
        "mixed_precision=bf16, global_batch_size=100, gamma=0.5",
        "best",
    ]
    assert labels(plan) == configs
    assert [run.spec.seed for run in plan.runs] == [seed for seed in range(7) for _ in configs]
    assert len({run.run_id for run in plan.runs}) == 28 and len({run.config_id for run in plan.runs}) == 4
    assert {run.fingerprint for run in plan.runs} == {"fingerprint of cifar10"}
    assert all(run.run_id == run.spec.run_id(run.fingerprint) for run in plan.runs)
    assert all(run.config_id == run.spec.config_id() for run in plan.runs)

    best = next(run for run in plan.runs if run.spec.label == "best")
    references = plan.references()
    assert [reference.value for reference in references.pop(best.config_id)] == [0.9212]
    assert list(references.values()) == [[], [], []]

    assert best.spec.optimizer.model_dump()["lr"] == 0.001
    assert best.spec.schedule.model_dump()["milestones"] == [10, 15, 18]
    assert best.spec.data.augment.model_dump(exclude_defaults=True) == {"crop": 4, "flip": True, "rotate": 15.0}
    assert (best.spec.train.mixed_precision, best.spec.train.num_processes) == ("auto", 1)
    target = plan.suite.file.target
    assert target is not None and (target.metric, target.at_least) == ("test.accuracy", 0.92)


def test_each_round_has_an_order_of_its_own(load):
    text = BASE + "matrix: {train.epochs: [1, 2, 3, 4, 5, 6]}\nseeds: [4, 0, 9]\n"
    plan = planned(load(text))
    assert [run.spec.seed for run in plan.runs] == [4] * 6 + [0] * 6 + [9] * 6
    rounds = [tuple(run.config_id for run in plan.runs if run.spec.seed == seed) for seed in (4, 0, 9)]
    assert len({plan.order, *rounds}) == 4 and {frozenset(round_) for round_ in rounds} == {frozenset(plan.order)}
    assert planned(load(text)).runs == plan.runs
    assert planned(load(text.replace("name: s\n", "name: t\n"))).runs != plan.runs
    some = [run for run in plan.runs if run.spec.train.epochs in (2, 5) and run.spec.seed == 0]
    assert list(planned(load(text), "train.epochs=2", "train.epochs=5", "seed=0").runs) == some


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", ["resnet18"]),
        ("matrix: {train.epochs: [1, 3], train.tf32: [true, false]}",
         ["epochs=1, tf32=yes", "epochs=1, tf32=no", "epochs=3, tf32=yes", "epochs=3, tf32=no"]),
        ("matrix: {model: [resnet18, mlp, {name: cnn3, dropout: 0.5}]}", ["resnet18", "mlp", "cnn3"]),
        ("matrix: {model: [mlp, cnn3, {name: cnn3, dropout: 0.5}]}", ["mlp", "cnn3", "cnn3 dropout=0.5"]),
        ("matrix: {model.name: [resnet18, resnet34]}", ["resnet18", "resnet34"]),
        ("matrix: {train.mixed_precision: [no, bf16]}", ["mixed_precision=no", "mixed_precision=bf16"]),
        ("zip: [{train.epochs: [1, 3], train.tf32: [true, false]}]", ["epochs=1, tf32=yes", "epochs=3, tf32=no"]),
        ("zip: [{train.epochs: [1, 3], label: [short, long]}]", ["short", "long"]),
        ("zip:\n  - {train.epochs: [1, 3], train.tf32: [true, false]}\n  - {model: [mlp, vgg11]}",
         ["epochs=1, tf32=yes, mlp", "epochs=1, tf32=yes, vgg11",
          "epochs=3, tf32=no, mlp", "epochs=3, tf32=no, vgg11"]),
        ("matrix: {train.compile: [true, false]}\nzip: [{train.epochs: [1, 3], train.tf32: [true, false]}]",
         ["compile=yes, epochs=1, tf32=yes", "compile=yes, epochs=3, tf32=no",
          "compile=no, epochs=1, tf32=yes", "compile=no, epochs=3, tf32=no"]),
        ("one_at_a_time: {train.epochs: [1, 3], train.tf32: [true]}", ["base", "epochs=1", "epochs=3", "tf32=yes"]),
        ("one_at_a_time: {train.tf32: [true]}\nzip: [{train.epochs: [1, 3]}]",
         ["epochs=1", "epochs=1, tf32=yes", "epochs=3", "epochs=3, tf32=yes"]),
        ("one_at_a_time: {train.tf32: [true]}\nzip: [{train.epochs: [1, 3], label: [short, long]}]",
         ["short", "short, tf32=yes", "long", "long, tf32=yes"]),
        ("matrix: {train.tf32: [true, false]}\nzip: [{train.epochs: [1, 3], label: [short, long]}]",
         ["short, tf32=yes", "long, tf32=yes", "short, tf32=no", "long, tf32=no"]),
        ("include: [{label: a, train.epochs: 1}, {train.epochs: 3}]", ["a", "epochs=3"]),
        ("matrix: {train.epochs: [1, 3]}\ninclude: [{label: a, train.tf32: true}]", ["epochs=1", "epochs=3", "a"]),
        ("matrix: {train.epochs: [1, 3], train.tf32: [true, false]}\nexclude: [{train.epochs: 1, train.tf32: true}]",
         ["epochs=1, tf32=no", "epochs=3, tf32=yes", "epochs=3, tf32=no"]),
        ("matrix: {train.epochs: [1, 3]}\nexclude: [{label: epochs=1}]", ["epochs=3"]),
        ("matrix: {train.mixed_precision: [no, bf16]}\nexclude: [{train.mixed_precision: no}]",
         ["mixed_precision=bf16"]),
        ("matrix: {model: [mlp, vgg11]}\nexclude: [{model: mlp}]", ["vgg11"]),
        ("matrix: {model: [mlp, vgg11]}\nexclude: [{model: {name: mlp}}]", ["vgg11"]),
        ("matrix: {model: [mlp, {name: mlp, hidden_sizes: [8, 9]}]}\nexclude: [{model.hidden_sizes: [8, 9]}]", ["mlp"]),
        ("matrix: {optimizer.lr: [1, 2]}\nexclude: [{optimizer.lr: 1.0}]", ["lr=2"]),
        ("matrix: {train.epochs: [1, 3]}\nexclude: [{train.epochs: 1}, {train.epochs: 1, model: resnet18}]",
         ["epochs=3"]),
        ("include: [{label: a, train.epochs: 1}, {label: b, train.epochs: 3}]\nexclude: [{label: a}]", ["b"]),
    ],
    ids=lambda value: value.replace("\n", "; ") if isinstance(value, str) else "",
)  # fmt: skip
def test_configs_and_their_labels(load, rest, expected):
    assert labels(planned(load(f"{BASE}{rest}\n"))) == expected


def test_each_config_has_the_values_of_its_label(load):
    axes = "matrix: {train.tf32: [true, false]}\nzip: [{train.epochs: [1, 3], optimizer.lr: [0.1, 0.2]}]\n"
    found = specs(load(BASE + axes))
    values = {(s.train.tf32, s.train.epochs, s.optimizer.model_dump()["lr"]) for s in found.values()}
    assert values == {(True, 1, 0.1), (True, 3, 0.2), (False, 1, 0.1), (False, 3, 0.2)}
    assert all(spec.train.global_batch_size == 64 for spec in found.values())


def test_a_mapping_for_a_section_replaces_it_and_a_dotted_path_merges(load):
    include = "include: [{label: all, model: {name: resnet34}}, {label: part, model.name: resnet34}]\n"
    found = specs(load(BASE + include))
    assert {label: spec.model.model_dump()["width"] for label, spec in found.items()} == {"all": 64, "part": 8}


@pytest.mark.parametrize(
    "axes", ["model: [resnet18, resnet34], model.width: [4, 6]", "model.width: [4, 6], model: [resnet18, resnet34]"]
)
def test_a_section_comes_before_its_parts_wherever_they_stand(load, axes):
    runs = planned(load(f"{BASE}matrix: {{{axes}}}\n")).runs
    models = [run.spec.model.model_dump() for run in runs]
    found = {(model["name"], model["width"]) for model in models}
    assert found == {("resnet18", 4), ("resnet18", 6), ("resnet34", 4), ("resnet34", 6)}


def test_a_bare_name_takes_dotted_parameters(load):
    text = BASE.replace("{name: resnet18, width: 8}", "resnet18\n  model.width: 16")
    assert specs(load(text))["resnet18"].model.model_dump() == {
        "name": "resnet18", "whiten": None, "width": 16, "stem": "cifar", "activation": "relu"
    }  # fmt: skip


@pytest.mark.parametrize(("seeds", "expected"), [("3", [0, 1, 2]), ("[5, 2]", [5, 2]), ("1", [0])])
def test_seeds_are_a_count_or_a_list(load, seeds, expected):
    assert [run.spec.seed for run in planned(load(f"{BASE}seeds: {seeds}\n")).runs] == expected
    assert [run.spec.seed for run in planned(load(BASE + "seeds: 9\n", f"seeds={seeds}")).runs] == expected


@pytest.mark.parametrize(
    ("rest", "overrides", "expected"),
    [
        ("", ["train.epochs=9"], {"resnet18": 9}),
        ("matrix: {train.epochs: [1, 3], train.tf32: [true]}", ["train.epochs=9"], {"tf32=yes": 9}),
        ("matrix: {train.epochs: [1, 3]}", ["train.epochs=9"], {"resnet18": 9}),
        ("matrix: {train.epochs: [1, 3]}", ["train={epochs: 9}"], {"resnet18": 9}),
        ("matrix: {train: [{epochs: 1}, {epochs: 3, tf32: true}]}", ["train.epochs=9"],
         {"train=epochs=1": 9, "train=epochs=3 tf32=yes": 9}),
        ("zip: [{train.epochs: [1, 3], train.tf32: [true, false]}]", ["train.epochs=9"], {"tf32=yes": 9, "tf32=no": 9}),
        ("zip: [{train.epochs: [1, 3]}]", ["train.epochs=9"], {"resnet18": 9}),
        ("one_at_a_time: {train.epochs: [1, 3], train.tf32: [true]}", ["train.epochs=9"], {"base": 9, "tf32=yes": 9}),
        ("include: [{label: a, train.epochs: 1}]", ["train.epochs=9"], {"a": 9}),
        ("include: [{label: a, train.epochs: 1}, {label: b, train.epochs: 3}]", ["train.epochs=9"], {"a": 9}),
        ("", ["train.epochs=8", "train.epochs=9"], {"resnet18": 9}),
        ("matrix: {train.epochs: [1, 3]}\nexclude: [{train.epochs: 3}]", ["train.epochs=9"], {"resnet18": 9}),
        ("references: [{match: {train.epochs: 2}, metric: test.accuracy, value: 1, source: x}]", ["train.epochs=9"],
         {"resnet18": 9}),
    ],
    ids=str,
)  # fmt: skip
def test_set_is_the_last_word(load, rest, overrides, expected):
    found = specs(load(f"{BASE}{rest}\n", *overrides))
    assert {label: spec.train.epochs for label, spec in found.items()} == expected


def test_set_of_a_section_and_its_part(load):
    found = specs(load(BASE, "model.width=4", "model=resnet34", "train.mixed_precision=no"))["resnet34"]
    assert found.model.model_dump()["width"] == 4 and found.train.mixed_precision == "no"


GRID = BASE + "matrix: {model: [mlp, vgg11], train.epochs: [1, 2], train.mixed_precision: [no, bf16]}\nseeds: 3\n"


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ([], 24),
        (["model=mlp"], 12),
        (["model.name=mlp"], 12),
        (["model=mlp", "model=vgg11"], 24),
        (["model=mlp", "train.epochs=1"], 6),
        (["model=mlp", "train.epochs=1", "train.epochs=2"], 12),
        (["train.mixed_precision=no"], 12),
        (["seed=0"], 8),
        (["seed=0", "seed=2"], 16),
        (["seed=0", "model=mlp", "train.epochs=1", "train.mixed_precision=bf16"], 1),
        (["label=mlp, epochs=1, mixed_precision=no"], 3),
    ],
    ids=str,
)
def test_only_selects(load, only, count):
    suite = load(GRID)
    runs = planned(suite, *only).runs
    assert len(runs) == count
    everything = planned(suite).runs
    assert list(runs) == [run for run in everything if run in runs]


def test_labels_may_hold_an_equals_sign(load):
    assert set(specs(load(BASE + "matrix: {train.epochs: [1, 3]}\n"), "label=epochs=3")) == {"epochs=3"}


def test_num_processes_is_the_launchs_unless_the_config_names_it(load):
    suite = load(BASE + "include: [{label: two, train.num_processes: 2}, {label: any, train.epochs: 3}]\n")
    sizes = [run.spec.train.num_processes for run in planned(suite, num_processes=4).runs]
    assert sizes == [2, 4]
    one, four = (planned(suite, num_processes=size).runs for size in (1, 4))
    assert one[0].run_id == four[0].run_id and one[1].run_id != four[1].run_id


def test_what_is_planned_twice_is_the_same(load):
    assert planned(load(DESIGN)).runs == planned(load(DESIGN)).runs


def test_the_ids_do_not_depend_on_how_a_suite_is_written(load):
    short = "name: other\nbase:\n  optimizer: {momentum: 0.9, lr: 1e-1, name: sgd}\n  data: digits\n" + (
        "  model.width: 8\n  model.name: resnet18\n  train.epochs: 2\n  train.global_batch_size: 64\n"
    )
    assert [run.run_id for run in planned(load(short)).runs] == [run.run_id for run in planned(load(BASE)).runs]


@pytest.mark.parametrize("name", target_names())
def test_what_can_be_a_target(load, name):
    suite = load(f"{BASE}  data.validation: 0.1\ntarget: {{metric: {name}, at_least: 0.5}}\n")
    assert len(planned(suite).runs) == 1


def test_references_go_to_every_config_that_matches(load):
    reference = "{match: {train.epochs: %d}, metric: test.accuracy, value: 0.%d, source: x}"
    suite = load(
        BASE + f"matrix: {{train.epochs: [1, 3], train.tf32: [true, false]}}\n"
        f"references: [{reference % (1, 1)}, {reference % (3, 3)}, {reference % (3, 4)}]\n"
    )
    plan = planned(suite)
    found = {plan.configs()[i].label: [r.value for r in refs] for i, refs in plan.references().items()}
    assert found == {
        "epochs=1, tf32=yes": [0.1],
        "epochs=1, tf32=no": [0.1],
        "epochs=3, tf32=yes": [0.3, 0.4],
        "epochs=3, tf32=no": [0.3, 0.4],
    }


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"a.b": 1}, True),
        ({"a": {"b": 1}}, True),
        ({"a.b": True}, False),
        ({"a.b": 2}, False),
        ({"a.b.c": 1}, False),
        ({"m": "net"}, True),
        ({"m": {"name": "net", "w": 2}}, False),
        ({"p": False}, True),
        ({"l": (1, 2)}, True),
        ({"l": [2, 1]}, False),
        ({"a.b": 1, "m": "no"}, False),
    ],
)
def test_matches(match, expected):
    assert matches(match, {"a": {"b": 1}, "m": {"name": "net", "w": 1}, "p": "no", "l": [1, 2]}) is expected


SMOKE = """\
matrix: {model.width: [8, 16], train.tf32: [true, false]}
seeds: 3
target: {metric: test.accuracy, at_least: 0.9}
references: [{match: {model.width: 8, train.tf32: true}, metric: test.accuracy, value: 0.9, source: x}]
smoke: {set: {train.epochs: 1, seeds: 1}, only: {model.width: [8], train.tf32: [true, false]}}
"""


def test_smoke_is_a_small_suite_of_its_own_name(load, tmp_path):
    whole = load(BASE + SMOKE)
    assert len(planned(whole).runs) == 12 and whole.name == "s"
    small = load_suite(tmp_path / "suite.yaml", smoke=True)
    plan = planned(small)
    assert small.name == "s_smoke" and small.file.target is None and not small.file.references
    assert [(s.model.width, s.train.tf32) for s in plan.configs().values()] == [(8, True), (8, False)]  # type: ignore
    assert {(run.spec.train.epochs, run.spec.seed) for run in plan.runs} == {(1, 0)}


def test_the_command_line_has_the_last_word_on_smoke(load, tmp_path):
    load(BASE + SMOKE)
    small = load_suite(tmp_path / "suite.yaml", ["train.epochs=5"], smoke=True)
    assert {run.spec.train.epochs for run in planned(small).runs} == {5}
    assert len(planned(small, "model.width=16").runs) == 2  # instead of smoke's selection


@pytest.mark.parametrize(
    ("smoke", "message", "hint"),
    [
        ("", "has no 'smoke'", "add smoke"),
        ("smoke: {set: {trian.epochs: 1}}", "suite.yaml:7: --set trian.epochs: unknown field 'trian'", "train"),
        ("smoke: {set: {seeds: 0}}", "--set seeds=0", "seeds"),
        ("smoke: {only: {model.width: [99]}}", "selects no run", "labels: resnet18"),
        ("smoke: {onyl: {}}", "unknown field 'onyl'", "only"),
    ],
)
def test_a_smoke_that_is_wrong_or_missing(load, tmp_path, smoke, message, hint):
    (tmp_path / "suite.yaml").write_text(BASE + smoke + "\n")
    with pytest.raises(HarnessError) as caught:
        planned(load_suite(tmp_path / "suite.yaml", smoke=True))
    assert message in caught.value.message and hint in caught.value.hint


ANCHORED = """
name: s
base: {model: mlp, data: digits, optimizer: {name: sgd, lr: 0.1}}
matrix: {train.epochs: [1, 2]}
seeds: 2
anchors: {ANCHORS}
"""


@pytest.mark.parametrize(
    ("anchors", "order"),
    [
        ("runs: 2", "e1 1, run, run, run, run, e1 2"),
        ("runs: 3, label: epochs=2", "e2 1, run, run, e2 2, run, run, e2 3"),
        ("runs: 5", "e1 1, run, e1 2, run, e1 3, run, e1 4, run, e1 5"),
    ],
)
def test_anchors_stand_evenly_between_the_runs(load, anchors, order):
    runs = planned(load(ANCHORED.replace("{ANCHORS}", f"{{{anchors}}}"))).runs
    found = [f"e{run.spec.train.epochs} {run.spec.repeat}" if run.spec.repeat else "run" for run in runs]
    assert ", ".join(found) == order
    assert {run.spec.seed for run in runs if run.spec.repeat} == {0}
    assert len({run.run_id for run in runs}) == len(runs)
    assert len({run.config_id for run in runs}) == 2


def test_anchors_change_no_identity_of_other_runs(load):
    plain = planned(load(ANCHORED.replace("anchors: {ANCHORS}", "")))
    anchored = planned(load(ANCHORED.replace("{ANCHORS}", "{runs: 2}")))
    assert [run.run_id for run in anchored.runs if not run.spec.repeat] == [run.run_id for run in plain.runs]


def test_a_selection_is_without_anchors(load):
    runs = planned(load(ANCHORED.replace("{ANCHORS}", "{runs: 4}")), "seed=1").runs
    assert [run.spec.repeat for run in runs] == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{label: epochs=3}", "no config is called 'epochs=3'"),
        ("{runs: 1}", "anchors.runs is 1"),
        ("{number: 3}", "unknown field 'number'"),
    ],
)
def test_wrong_anchors_are_refused(load, text, message):
    with pytest.raises(SuiteError, match=re.escape(message)):
        planned(load(ANCHORED.replace("{ANCHORS}", text)))


def test_a_config_cannot_be_an_anchor_by_itself(load):
    with pytest.raises(SuiteError, match="'repeat' is not set in a config"):
        planned(load(ANCHORED.replace("anchors: {ANCHORS}", "include: [{repeat: 1}]")))


def test_trackers_are_no_part_of_any_identity(load):
    alone = planned(load(BASE))
    mirrored = load(BASE + "trackers: [wandb, tensorboard]\nwandb: {project: p, entity: e}\n")
    assert planned(mirrored).runs == alone.runs
    mirroring = mirrored.file.mirroring
    assert (mirroring.trackers, mirroring.wandb.project, mirroring.wandb.entity) == (("wandb", "tensorboard"), "p", "e")


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("trackers: [wandbb]\n", 7, "unknown tracker 'wandbb'", "did you mean 'wandb'?"),
        ("trackers: wandb\n", 7, 'trackers is "wandb"', "it should be a list"),
        ("wandb: {project: a/b}\n", 7, "W&B allows no project name with /: a/b", "choose another"),
        ("wandb:\n  projct: a\n", 8, "unknown field 'projct'", "did you mean 'project'?"),
    ],
)
def test_trackers_that_are_wrong(load, text, line, message, hint):
    with pytest.raises(SuiteError) as caught:
        load(BASE + text)
    assert caught.value.message.endswith(f"suite.yaml:{line}: {message}") and caught.value.hint == hint
