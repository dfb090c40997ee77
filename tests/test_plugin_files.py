"""Plug-ins outside the package: files that a suite or a call names, and installed packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness import registry
from harness.cli import main
from harness.errors import HarnessError
from harness.launching.manifest import Manifest
from harness.plugin_files import PACKAGE
from harness.plugin_source import FOLDERS, SUPPLIES
from harness.spec import ImageShape
from harness.spec.code import own_code
from harness.suite.plan import Plan, load_suite
from tests.house import ROOT, House

NET = '''"""A network."""

from torch import nn

from harness.parameters import PositiveInt
from harness.registry import architecture
from harness.spec import ImageShape
from layers_of_mine import block


@architecture("mine")
def mine(image: ImageShape, num_classes: int, *, width: PositiveInt = 8):
    """Builds it.

    Args:
        width: of the hidden layer.
    """
    return nn.Sequential(nn.Flatten(), block(image.height * image.width, width), nn.Linear(width, num_classes))  # one
'''
LAYERS = """from torch import nn


def block(inputs, width):
    return nn.Linear(inputs, width)
"""
GREY8 = ImageShape(1, 8, 8)
SUITE = """name: own
plugins: [mine.py]
base: {model: mine, data: digits, optimizer: {name: sgd, lr: 0.1}, train: {epochs: 1}}
"""


@pytest.fixture(autouse=True)
def nothing_outside() -> Iterator[None]:
    """What a test made known is unknown after it, and so are its modules."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    registry.use()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith(("harness", "torch", "numpy")):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a suite, an architecture of its own, and a module that this imports."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "layers_of_mine.py").write_text(LAYERS)
    (folder / "unused.py").write_text("x = 1\n")
    (folder / "mine.py").write_text(NET)
    (folder / "suite.yaml").write_text(SUITE)
    return folder


def plan(folder: Path, *more: str | Path) -> Plan:
    return load_suite(folder / "suite.yaml", plugins=more).plan(lambda data: "data")


def config_id(folder: Path) -> str:
    [found] = plan(folder).configs()
    return found


def refused(folder: Path, *more: str | Path) -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        plan(folder, *more)
    assert caught.value.hint and "\n" not in caught.value.message
    return caught.value


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# What a run is


def test_the_identity_follows_the_code_and_nothing_else_of_its_text(project: Path) -> None:
    before = config_id(project)
    edit(project / "mine.py", "# one", "# another")
    edit(project / "mine.py", "Builds it", "Makes it")
    edit(project / "layers_of_mine.py", "(inputs, width):", "(\n    inputs,\n    width,\n):")
    edit(project / "unused.py", "1", "2")
    assert config_id(project) == before
    edit(project / "layers_of_mine.py", "nn.Linear(inputs", "nn.Linear(1 * inputs")
    changed = config_id(project)
    assert changed != before
    edit(project / "mine.py", "nn.Flatten()", "nn.Flatten(1)")
    assert config_id(project) not in (before, changed)


def test_the_identity_does_not_follow_the_place_of_a_plugin(project: Path, tmp_path: Path) -> None:
    before = config_id(project)
    shutil.copytree(project, tmp_path / "elsewhere")
    assert config_id(tmp_path / "elsewhere") == before


def test_in_a_package_the_imports_are_followed_from_where_it_begins(project: Path) -> None:
    package = project / "nets"
    package.mkdir()
    for name in ("__init__.py", "mine.py", "blocks.py"):
        (package / name).touch()
    (package / "mine.py").write_text(NET.replace("from layers_of_mine", "from .blocks"))
    (package / "blocks.py").write_text(LAYERS)
    edit(project / "suite.yaml", "[mine.py]", "[nets/mine.py]")
    before = config_id(project)
    [file] = registry.files()
    assert file.module == "nets.mine" and file.root == project
    assert {path.name for path in file.local} == {"__init__.py", "mine.py", "blocks.py"}
    edit(package / "blocks.py", "nn.Linear(inputs", "nn.Linear(1 * inputs")
    assert config_id(project) != before
    assert registry.build("architecture", "mine", GREY8, 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_harnesss_own_code_that_a_plugin_imports_is_in_the_record(project: Path) -> None:
    plan(project)
    plugins = {"architecture": "mine", "dataset": "digits"}
    before = own_code(plugins)
    edit(project / "layers_of_mine.py", "import nn\n", "import nn\n\nfrom harness.models.vgg import vgg\n")
    plan(project)
    assert own_code(plugins) != before, "vgg.py is of no run that does not use it"


def test_two_suites_have_plugins_of_one_name_each_its_own(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other)
    edit(other / "layers_of_mine.py", "nn.Linear(inputs", "nn.Linear(1 * inputs")
    edit(other / "mine.py", "width: PositiveInt = 8", "width: PositiveInt = 16")
    first, second = load_suite(project / "suite.yaml"), load_suite(other / "suite.yaml")
    (one,), (two,), (again,) = (suite.configs().values() for suite in (first, second, first))
    assert (one.model.model_dump(), two.model.model_dump()["width"]) == (again.model.model_dump(), 16)
    assert one.model.model_dump()["width"] == 8
    assert list(first.configs()) != list(second.configs()) != []
    for suite, folder in ((first, project), (second, other), (first, project)):
        suite.configs()
        registry.build("architecture", "mine", GREY8, 10)
        assert sys.modules["layers_of_mine"].__file__ == str(folder / "layers_of_mine.py")


# Finding them

WITH_PARAMETERS = [kind for kind in FOLDERS if kind != "metric"]  # for which see tests/test_metrics.py
ONE_OF_EACH = "from harness.registry import *\nfrom harness.parameters import *\nimport twelve\n" + "".join(
    f"""

@{kind}("own_{kind}")
def own_{kind}({", ".join([*SUPPLIES[kind], "*", "size: PositiveInt = 3"])}):
    "One {kind}."
    return {kind!r}, {", ".join([*SUPPLIES[kind], "size", "twelve.TWELVE"])}
"""
    for kind in WITH_PARAMETERS
)


@pytest.mark.parametrize("kind", WITH_PARAMETERS)
def test_each_kind_is_found_described_and_built(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "several.py").write_text(ONE_OF_EACH)
    (tmp_path / "twelve.py").write_text("TWELVE = 12\n")
    with pytest.raises(SystemExit) as ended:
        main(["list", f"{kind}s", f"own_{kind}", "--plugin", str(tmp_path / "several.py")])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and f"own_{kind}: One {kind}." in shown and "default 3" in shown
    assert f"own_{kind}" in registry.names(kind) and "several" not in sys.modules, "it was read, not imported"
    supplied = tuple(range(len(SUPPLIES[kind])))
    assert registry.build(kind, f"own_{kind}", *supplied, size=5) == (kind, *supplied, 5, 12)


def test_a_plan_imports_neither_the_plugin_nor_torch(project: Path) -> None:
    (project / "mine.py").write_text("raise SystemExit('imported')\n" + (project / "mine.py").read_text())
    program = "import sys; from harness.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", program, "plan", "suite.yaml", "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [run["label"] for run in json.loads(done.stdout)] == ["mine"]


def test_files_of_the_command_line_and_of_the_suite_go_together(project: Path, tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text('from harness.registry import schedule\n@schedule("slow")\ndef f(epochs): ...\n')
    edit(project / "suite.yaml", "data: digits", "data: digits, schedule: slow")
    assert "unknown schedule 'slow'" in refused(project).message
    assert plan(project, tmp_path / "more.py", project / "mine.py").runs, "a file that is named twice counts once"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, of which one offers architectures."""
    site = tmp_path / "site-packages"
    (site / "zoo/nets").mkdir(parents=True)
    for name in ("__init__.py", "nets/__init__.py"):
        (site / "zoo" / name).write_text("raise SystemExit('imported')\n")
    text = "from harness.registry import architecture\nimport neighbour, zoo.blocks\n"
    text += '@architecture("zoo_net")\ndef zoo_net(image, num_classes): ...\n'
    (site / "zoo/nets/net.py").write_text(text)
    (site / "zoo/blocks.py").write_text("x = 1\n")
    (site / "neighbour.py").write_text("x = 1\n")
    (site / "zoo-1.0.dist-info").mkdir()
    (site / "zoo-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (site / "zoo-1.0.dist-info/entry_points.txt").write_text("[harness.plugins]\nnets = zoo.nets\n")
    monkeypatch.syspath_prepend(site)
    return site


def test_an_installed_package_offers_its_plugins(installed: Path, project: Path) -> None:
    edit(project / "suite.yaml", "model: mine", "model: zoo_net")
    before = config_id(project)
    assert registry.find("architecture", "zoo_net").module == "zoo.nets.net" and "zoo" not in sys.modules
    edit(installed / "neighbour.py", "1", "2")
    assert config_id(project) == before, "another project's"
    edit(installed / "zoo/blocks.py", "1", "2")
    assert config_id(project) != before
    shutil.rmtree(installed / "zoo-1.0.dist-info")
    assert "unknown architecture 'zoo_net'" in refused(project).message, "it was uninstalled"


def test_an_installed_package_whose_plugins_cannot_be_had(installed: Path, project: Path) -> None:
    (installed / "zoo/nets/net.py").write_text('from harness.registry import loader\n@loader("auto")\ndef f(feed): ...')
    found = refused(project)
    assert found.message.startswith(f"{installed}/zoo/nets/net.py:3: the loader 'auto' is declared by {PACKAGE}/data")
    info = installed / "zoo-1.0.dist-info"
    shutil.move(info, installed / "zoo-1.1.dist-info")
    (installed / "zoo-1.1.dist-info/entry_points.txt").write_text("[harness.plugins]\nnets = zoo.nest\n")
    found = refused(project)
    assert found.message == "the entry point 'nets' of zoo names zoo.nest, and there is no such module"
    assert "pip uninstall zoo" in found.hint


# What cannot be used

MARKED = "from harness.registry import architecture\n\n\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "mine.py:1: invalid syntax"),
        ("x = 1\n", "mine.py:1: no function is marked as a plug-in"),
        ("import harness\n@harness.registry.architecture('x')\ndef f(): ...\n", "mine.py:1: no function is marked"),
        (
            f"{MARKED}@architecture('mlp')\ndef f(image, num_classes): ...\n",
            "mine.py:5: the architecture 'mlp' is decl",
        ),
        (
            f"{MARKED}@architecture('timm/own')\ndef f(image, num_classes): ...\n",
            "mine.py:5: the architecture 'timm/ow",
        ),
        (
            f"{MARKED}@architecture('a')\ndef f(image, num_classes, width=8): ...\n",
            "mine.py:5: f takes image, num_clas",
        ),
        (
            f"{MARKED}@architecture('a')\ndef f(image, num_classes, *, w=8): ...\n",
            "mine.py:5: parameter 'w' of f has no",
        ),
        (f"{MARKED}@architecture('a')\ndef f(image, num_classes, **w): ...\n", "mine.py:5: **w of f does not tell"),
        (f"{MARKED}@architecture('mine')\ndef f(image, num_classes, *, name: str = ''): ...\n", "mine.py:5: archit"),
    ],
)
def test_a_file_that_cannot_be_read_as_plugins(project: Path, text: str, message: str) -> None:
    (project / "mine.py").write_text(text)
    found = refused(project).message
    assert message in found and found.partition(": ")[2], found


def test_a_module_of_ours_with_a_syntax_error(project: Path) -> None:
    (project / "layers_of_mine.py").write_text("x = 1\ndef f(:\n")
    assert refused(project).message == f"{project}/layers_of_mine.py:2: invalid syntax"


def test_a_name_is_declared_once_over_all_files(project: Path) -> None:
    (project / "again.py").write_text(f"{MARKED}@architecture('mine')\ndef f(image, num_classes): ...\n")
    message = f"{project}/again.py:5: the architecture 'mine' is declared by {project}/mine.py:12, too"
    assert refused(project, project / "again.py").message == message


def test_a_file_that_is_not_there_is_told_with_the_line_of_the_suite(project: Path) -> None:
    edit(project / "suite.yaml", "[mine.py]", "[mein.py]")
    found = refused(project)
    assert found.message == f"{project}/suite.yaml:2: there is no file of plug-ins {project}/mein.py"
    assert found.hint == "did you mean 'mine.py'?"
    edit(project / "suite.yaml", "[mein.py]", "[mine.py]")
    assert f"{project}/mein.py: cannot read the file" in refused(project, project / "mein.py").message


@pytest.mark.parametrize("name", ["json.py", "yaml.py"])
def test_a_module_that_python_would_find_elsewhere(project: Path, name: str) -> None:
    shutil.move(project / "layers_of_mine.py", project / name)
    edit(project / "mine.py", "layers_of_mine", name[:-3])
    found = refused(project)
    assert found.message.startswith(f"{project}/{name[:-3]}: Python knows another module '{name[:-3]}', /")


def test_two_modules_of_one_name(project: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/other.py").write_text(NET.replace('"mine"', '"other"'))
    (tmp_path / "other/layers_of_mine.py").write_text(LAYERS)
    found = refused(project, tmp_path / "other/other.py").message
    assert f"{tmp_path}/other/layers_of_mine.py: the module 'layers_of_mine' is {project}/layers_of_mine.py" in found


@pytest.mark.parametrize("name", ["my-nets.py", "nets.txt", "."])
def test_what_is_no_module(project: Path, name: str) -> None:
    if name != ".":
        (project / name).write_text("x = 1\n")
    assert "a file of plug-ins is a Python module" in refused(project, project / name).message


def test_a_file_of_the_package_need_not_be_named(project: Path) -> None:
    assert "known without being named" in refused(project, PACKAGE / "models/mlp.py").message


def test_what_was_known_stays_where_another_file_cannot_be_used(project: Path) -> None:
    plan(project)
    with pytest.raises(HarnessError):
        registry.use([project / "unused.py"])
    assert registry.find("architecture", "mine")


# In a manifest, and imported


def test_a_manifest_names_the_files_of_its_runs(project: Path, tmp_path: Path) -> None:
    (project / "more.py").write_text('from harness.registry import picture\n@picture("p")\ndef f(run): ...\n')
    written = Manifest.of(plan(project, project / "more.py"), tmp_path)
    assert list(written.plugins) == [project / "mine.py"], "a picture is of no run"
    written.write(tmp_path / "manifest.jsonl")
    registry.use()
    edit(project / "more.py", "(run)", "(runs)")
    edit(project / "layers_of_mine.py", "import nn\n", "import nn  # more\n")
    assert Manifest.read(tmp_path / "manifest.jsonl").model_dump() == written.model_dump()
    edit(project / "layers_of_mine.py", "nn.Linear(inputs", "nn.Linear(1 * inputs")
    with pytest.raises(HarnessError, match=r"mine\.py: it, or a module that it imports, has changed") as caught:
        Manifest.read(tmp_path / "manifest.jsonl")
    assert caught.value.hint
    (project / "mine.py").unlink()
    with pytest.raises(HarnessError, match=r"mine\.py: cannot read the file of plug-ins: No such file"):
        Manifest.read(tmp_path / "manifest.jsonl")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("mine.py", "import no_such_package", "mine.py:1: it cannot be imported: ModuleNotFoundError: No module named"),
        ("layers_of_mine.py", "1 / 0", "layers_of_mine.py:1: it cannot be imported: ZeroDivisionError: division by"),
        ("layers_of_mine.py", "raise SystemExit(3)", "layers_of_mine.py:1: it cannot be imported: SystemExit: 3"),
    ],
)
def test_an_import_that_fails_is_one_sentence(project: Path, file: str, line: str, message: str) -> None:
    (project / file).write_text(f"{line}\n{(project / file).read_text()}")
    found = Manifest.of(plan(project), project)
    with pytest.raises(HarnessError) as caught:
        registry.load(found.plugins)
    assert "layers_of_mine" not in sys.modules and str(project) not in sys.path
    assert f"{project}/{message}" in caught.value.message and "\n" not in caught.value.message


def test_what_is_imported_is_what_was_read(project: Path) -> None:
    plan(project)
    edit(project / "layers_of_mine.py", "return nn.Linear(inputs, width)", "return nn.Identity()")
    with pytest.raises(HarnessError, match="has changed since the runs were planned"):
        registry.build("architecture", "mine", GREY8, 10)
    plan(project)
    assert "Identity" in str(registry.build("architecture", "mine", GREY8, 10))
    edit(project / "layers_of_mine.py", "return nn.Identity()", "return nn.Dropout(0.125)")
    plan(project)
    assert "0.125" in str(registry.build("architecture", "mine", GREY8, 10)), "as in a notebook, after an edit"


# From the suite to the record

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/cpu.yaml")]


@pytest.fixture
def lab(house: House) -> House:
    """A house in whose neighbourhood an architecture lies, and a suite of it and of one of the package."""
    folder = house.path / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(NET)
    (folder / "layers_of_mine.py").write_text(LAYERS)
    house.suite("plugins: [mine/mine.py]\nmatrix: {model: [mlp, mine]}\nwarm_up_seconds: 0\n")
    return house


@pytest.mark.launch
@pytest.mark.parametrize("launcher", [None, [*LAUNCH, "--num_processes", "2"]], ids=["run", "accelerate launch"])
def test_a_run_trains_a_plugin_from_outside(lab: House, launcher: list[str] | None) -> None:
    done = lab.run("suite.yaml", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert {name: result["status"] for name, result in lab.results().items()} == {"mlp 0": "ok", "mine 0": "ok"}
    again = lab.run("suite.yaml")
    assert launcher or "2 are done on this system: skipped" in again.stderr
    shutil.rmtree(lab.path / "mine")
    command = [sys.executable, "-m", "harness", "report", "results/faults"]
    told = subprocess.run(command, cwd=lab.path, env=lab.environment(), capture_output=True, text=True)
    assert told.returncode == 0 and "mine" in told.stdout, "records need no plug-in"


@pytest.mark.launch
def test_a_launch_for_each_run_and_an_import_that_fails_before_anything_trains(lab: House) -> None:
    edit(lab.path / "suite.yaml", "plugins: [mine/mine.py]\n", "")
    edit(lab.path / "mine/mine.py", "from torch", "import no_such_package\nfrom torch")
    done = lab.run("suite.yaml", "--isolate", "--plugin", "mine/mine.py")
    place = f"{lab.path}/mine/mine.py:3"
    assert done.returncode == 2 and f"error: {place}: it cannot be imported: ModuleNotFound" in done.stderr, done.stderr
    assert done.stderr.count("no_such_package") == 1 and "Traceback" not in done.stderr and not lab.results()
    edit(lab.path / "mine/mine.py", "import no_such_package\n", "")
    done = lab.run("suite.yaml", "--isolate", "--plugin", "mine/mine.py")
    assert done.returncode == 0 and len(lab.results()) == 2, done.stderr
