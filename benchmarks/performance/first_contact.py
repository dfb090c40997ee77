"""All that a first meeting with a GPU shall prove, in one call that needs neither a network nor `make setup`.

    python benchmarks/performance/first_contact.py --output DIR [--seconds 560] [--data FOLDER] [--peer SCRIPT]
                                                   [--wheels DIR] [--only STAGE ...]

Stages run in the order of what they prove, each in a process of its own. `--seconds` is a budget for all of them: a
stage may take about twice its share of what is left, and what it does not take goes to the others. One that fails or
runs out of time is one sentence, and the next goes on. After each, `DIR/first_contact.tar.gz` is written anew and
whole: what each stage measured (STAGE.json or STAGE.jsonl), its words (STAGE.log), the records and the reports of its
runs, and `summary.json`. `gpu_check.py table --output FOLDER` makes a table of them, where they are unpacked.

FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg, e.g. the JPEG copy of CIFAR-10. Without it `training` takes
random images, and `speedrun` on a GPU needs CIFAR-10 to be where the harness keeps it. A peer is a script that
`speedrun.py` runs beside the suite. The wheels of `--wheels` are unpacked for the stages, where Python lacks packages;
the first stage, `machine`, comes always. Exits with 0 if every stage passed, with 1 if one did not, and with 2 if this
machine cannot run suites at all. Without a GPU the stages run at small sizes, `options` on the stand-in for one
(`tests/gpu/stand_in.py`): that shows that the script works, and no more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limited import run_limited

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARCHIVE = "first_contact.tar.gz"
LARGEST_BYTES = 2**22  # of a file in the archive; records and tables are far smaller
MOST_SAID = 3  # of the cases that went wrong; all are in the archive
RUNS = "first_contact_runs.py"
RECIPES = r"(accuracy|seconds)\.(mean|n)$"


class Stage(NamedTuple):
    """A process, whose stdout is JSON: one value, or one a line as it goes on, as of `first_contact_runs.py`.

    Attributes:
        seconds: that it takes, about, on a GPU and without one: its share of the budget.
        words: a script of this folder, or `harness` with a verb, and its arguments; in braces what is known later.
        gpu, cpu: more words on a GPU, and without one.
        figures: a pattern of the dotted names of the numbers that its line shows.
    """

    name: str
    seconds: tuple[float, float]
    words: str
    gpu: str = ""
    cpu: str = ""
    figures: str = ""

    @property
    def file(self) -> str:
        """The name of the file of its stdout."""
        return f"{self.name}.jsonl" if self.words.startswith(RUNS) else f"{self.name}.json"


FEW = "--set data.train_samples=200 --set data.test_samples=50 --set train.global_batch_size=50"
LOADERS = "resident_half airbench pinned pinned_cached torch_w16 image_folder dali --rounds 2 --seconds 0.5"
STAGES = [
    Stage("machine", (10, 4), "harness doctor --json --output {results}"),
    Stage("options", (40, 8), f"{RUNS} options"),
    Stage("graphs", (80, 18), f"{RUNS} graphs"),
    Stage("ranks", (40, 6), f"{RUNS} ranks"),
    Stage(
        "calibrate", (28, 12), "harness calibrate --json --output {results}", "", "--seconds 0.1", r"matmul.*median$"
    ),
    Stage(
        *("training", (130, 11), "harness run {folder}/first_contact.yaml --output {results}", "--isolate", ""),
        r"test\.accuracy$|clock\.train_seconds$|samples_per_second$",
    ),
    Stage(
        *("speedrun", (60, 8), "speedrun.py --json --only airbench94 --output {results} {data}"),
        *("--runs 5", f"--smoke {FEW}", RECIPES),
    ),
    Stage(
        *("overhead", (70, 6), "overhead.py --json", "--pairs 6 --steps 50", "--pairs 1 --steps 2 --only cnn3"),
        r"ratios\.[^.]*\.median$",
    ),
    Stage(
        *("loaders", (50, 7), "loaders.py --json {data} --only resident", LOADERS),
        *("--seconds 0.02 --rounds 1 --images 300", "images_per_second$"),
    ),
    Stage("memory", (30, 6), "memory.py --json", "", "--side harness --steps 2 --only cnn3", r"ratio$|harness_bytes$"),
    Stage("start", (30, 11), "start.py --json", "--rounds 1", "--rounds 1", "^median$|^rank_seconds$"),
    Stage(
        *("small_card", (30, 6), "gtx.py --json --gib 3 --suites quickstart", "resnet18_reference precision", ""),
        "^configs$",
    ),
    Stage("peer", (150, 70), "speedrun.py --json --peers-only --runs 5 {data} {peers}", "", "", RECIPES),
]


def main() -> None:
    """Runs the stages."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=560.0)
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--peer", type=Path, action="append", default=[], metavar="SCRIPT")
    parser.add_argument("--wheels", type=Path, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=[stage.name for stage in STAGES[1:]], metavar="STAGE")
    arguments = parser.parse_args()
    data, peers, only = arguments.data, arguments.peer, arguments.only
    if data and not ((data / "train").is_dir() and (data / "test").is_dir()):
        parser.error(f"{data} has no train/<class>/ and test/<class>/ with images")
    if "peer" in (only or ()) and not peers:
        parser.error("stage peer runs the scripts of --peer")
    if peers and not data:
        parser.error("peers read the images of --data")
    if arguments.wheels and not list(arguments.wheels.glob("*.whl")):
        parser.error(f"{arguments.wheels} has no wheels")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the stage that goes on, too
    arguments.output.mkdir(parents=True, exist_ok=True)
    wanted = {"machine", *(only or [stage.name for stage in STAGES if stage.name != "peer" or peers])}
    with tempfile.TemporaryDirectory(prefix="first-contact-") as name:
        site, folder = Path(name) / "site", Path(name) / "first_contact"
        folder.mkdir()
        for wheel in arguments.wheels.glob("*.whl") if arguments.wheels else ():
            zipfile.ZipFile(wheel).extractall(site)
        # Stages find the package and what was unpacked, though nothing is installed.
        paths = [str(ROOT), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        given = {
            "{data}": ["--data", str(data.resolve())] if data else [],
            "{peers}": [word for peer in peers for word in ("--peer", str(peer.resolve()))],
        }
        stages = [stage for stage in STAGES if stage.name in wanted]
        code = run_stages(stages, folder, given, variables, began + arguments.seconds, arguments.output)
    raise SystemExit(code)


def run_stages(
    stages: Sequence[Stage],
    folder: Path,
    given: dict[str, list[str]],
    variables: dict[str, str],
    end: float,
    output: Path,
) -> int:
    """Runs stages until the moment `end`, the first of which tells what this machine is; returns the exit code."""
    cuda, dali, summary = shutil.which("nvidia-smi") is not None, False, {}
    for number, stage in enumerate(stages):
        left = max(end - time.monotonic(), 0.0)
        own, *others = (each.seconds[not cuda] for each in stages[number:])
        limit = left * 2 * own / (2 * own + sum(others))
        words = [given.get(word, [word]) for word in f"{stage.words} {stage.gpu if cuda else stage.cpu}".split()]
        script, *rest = [each.format(folder=folder, results=folder / "results") for word in words for each in word]
        start = ["-m", "harness"] if script == "harness" else [str(HERE / script)]
        (folder / "first_contact.yaml").write_text(json.dumps(suite(given["{data}"], cuda, dali)))  # it is YAML, too
        done = summary[stage.name] = run_stage(stage, folder, [sys.executable, *start, *rest], variables, limit)
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        new = output / f"{ARCHIVE}.new"  # the archive is whole at every moment
        with tarfile.open(new, "w:gz") as tar:
            tar.add(folder, folder.name, filter=lambda one: one if one.isdir() or one.size < LARGEST_BYTES else None)
        new.replace(output / ARCHIVE)
        how = f"failed: {done['problem']}" if done["problem"] else done["figure"]
        sys.stdout.write(f"{stage.name}: {how} ({done['seconds']:.0f} of {limit:.0f} s)\n")
        sys.stdout.flush()
        if number == 0 and (found := found_by(stage, folder)):
            if not found["can_run"]:
                return 2
            cuda = found["system"]["gpu"] is not None
            dali = cuda and any(each["about"] == "DALI" and each["verdict"] == "ok" for each in found["findings"])
            if not cuda:
                variables = {"OMP_NUM_THREADS": "1"} | variables  # threads that wait for each other take cores
    return int(any(done["problem"] for done in summary.values()))


def suite(data: Sequence[str], gpu: bool, dali: bool) -> dict[str, Any]:
    """Returns the suite of `training`: ResNet-18 with each loader that can be had; a small one without a GPU."""
    images = {"name": "image_folder", "root": data[-1]} if data else {"name": "synthetic"}
    train = {"epochs": 8, "global_batch_size": 512, "mixed_precision": "bf16", "channels_last": True}
    if not gpu:
        images |= {"train_samples": 200} if data else {"train": 200, "test": 50}  # type: ignore[dict-item]
        train |= {"epochs": 2, "global_batch_size": 50, "mixed_precision": "no"}
    base = {
        "model": {"name": "resnet18", "width": 64 if gpu else 8},
        "data": images | {"augment": {"crop": 4, "flip": True}},
        "optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4},
        "schedule": "one_cycle",
        "train": train | {"keep_weights": False},
    }
    loaders = ["resident", {"name": "pinned", "workers": 4 if gpu else 0}, *(["dali"] if dali and data else [])]
    return {"name": "first_contact", "warm_up_seconds": 3, "base": base, "matrix": {"loader": loaders}}


def run_stage(
    stage: Stage, folder: Path, command: list[str], variables: dict[str, str], limit: float
) -> dict[str, Any]:
    """Runs a stage to its end or its limit, and returns what is said of it: `problem` is None where it passed."""
    began, log = time.monotonic(), folder / f"{stage.name}.log"
    with (folder / stage.file).open("wb") as out, log.open("wb") as words:
        code = run_limited(command, limit, cwd=ROOT, env=variables, stdout=out, stderr=words)
    figure, found = "", found_by(stage, folder)
    with contextlib.suppress(Exception):  # it has not come so far, and the next stage shall go on
        if isinstance(found, list):
            figure = f"{sum(not case['problem'] for case in found)} of {len(found)} cases are right"
        else:
            figure = of_machine(found) if "findings" in found else ", ".join(numbers(found, stage.figures))
    problem = None
    if code is None:
        problem = f"it ran out of its {limit:.0f} s" + (f", when {figure}" if figure else "")
    elif code or not figure:
        problem = why(found) or (last_words(log, code) if code else "what it printed has no figure")
    return {"problem": problem, "figure": figure, "seconds": time.monotonic() - began, "limit_seconds": limit}


def found_by(stage: Stage, folder: Path) -> Any:
    """Returns what a stage printed, a list of values that stand one a line; of `training`, its records by loader."""
    if stage.name == "training":
        records = [json.loads(path.read_text()) for path in folder.glob("results/first_contact/*/*/result.json")]
        return {record["spec"]["loader"]["name"]: record for record in records if record["status"] == "ok"}
    path, values = folder / stage.file, []
    for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
        with contextlib.suppress(ValueError):  # it was ended in the midst of it
            values.append(json.loads(text))
    return values if path.suffix == ".jsonl" else next(iter(values), {})


def of_machine(found: Any) -> str:
    """Returns what the machine is, and what is to be known of it."""
    system = found["system"]
    text = f"{system['name']}, torch {system['torch']}, CUDA {system['cuda']}, driver {system['driver']}"
    told = [each for each in found["findings"] if each["verdict"] == "warning" or each["says"].startswith("no GPU")]
    return "; ".join([text, *map(of_finding, told)])


def of_finding(found: Any) -> str:
    """Returns what `harness doctor` found, with what to do about it."""
    about = "" if found["about"] in found["says"] else f"{found['about']}: "
    return f"{about}{found['says']}" + (f" (hint: {found['hint']})" if found.get("hint") else "")


def numbers(found: Any, wanted: str, name: str = "") -> Iterator[str]:
    """Yields the numbers whose dotted names match a pattern, with these names; of a list how many it holds."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from numbers(value, wanted, f"{name}.{key}" if name else key)
    elif isinstance(found, int | float | list) and re.search(wanted, name):
        yield f"{name} {len(found) if isinstance(found, list) else found:.4g}"


def why(found: Any) -> str:
    """Returns what a stage itself says of what went wrong; empty where it says nothing."""
    if isinstance(found, dict):
        said = [of_finding(finding) for finding in found.get("findings", ()) if finding["verdict"] == "stop"]
        said += [f"{each['suite']}: {each['error']}" for each in found.get("configs", ()) if each["error"]]
    else:
        said = [f"{case['case']}: {case['problem']}" for case in found if case.get("problem")]
    return "; ".join(said[:MOST_SAID] + ([f"and {len(said) - MOST_SAID} more"] if said[MOST_SAID:] else []))


def last_words(log: Path, code: int) -> str:
    """Returns the error that a process ended with."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit code {code}"])[-1].removeprefix("error: ")


if __name__ == "__main__":
    main()
