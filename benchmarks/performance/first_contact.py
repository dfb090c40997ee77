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
machine cannot run suites at all.

Without a GPU the stages run at small sizes, `options` on the stand-in for one (`tests/gpu/stand_in.py`): that shows
that the script works, and no more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from first_contact_stages import STAGES, Stage, of_finding

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARCHIVE = "first_contact.tar.gz"
LARGEST_BYTES = 2**22  # of a file in the archive; records and tables are far smaller
MOST_SAID = 3  # of the cases that went wrong; all are in the archive


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
    if arguments.data and not ((arguments.data / "train").is_dir() and (arguments.data / "test").is_dir()):
        parser.error(f"{arguments.data} has no train/<class>/ and test/<class>/ with images")
    if "peer" in (arguments.only or ()) and not arguments.peer:
        parser.error("stage peer runs the scripts of --peer")
    if arguments.peer and not arguments.data:
        parser.error("peers read the images of --data")
    if arguments.wheels and not list(arguments.wheels.glob("*.whl")):
        parser.error(f"{arguments.wheels} has no wheels")
    given = {"--data": [arguments.data] if arguments.data else [], "--peer": arguments.peer}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the stage that goes on, too
    arguments.output.mkdir(parents=True, exist_ok=True)
    wanted = {
        "machine",
        *(arguments.only or [stage.name for stage in STAGES if stage.name != "peer" or arguments.peer]),
    }
    stages = [stage for stage in STAGES if stage.name in wanted]
    with tempfile.TemporaryDirectory(prefix="first-contact-") as name:
        site, folder = Path(name) / "site", Path(name) / "first_contact"
        folder.mkdir()
        for wheel in arguments.wheels.glob("*.whl") if arguments.wheels else ():
            zipfile.ZipFile(wheel).extractall(site)
        code = run_stages(stages, folder, given, environment(site), began + arguments.seconds, arguments.output)
    raise SystemExit(code)


def environment(site: Path) -> dict[str, str]:
    """Returns that of the stages: they find the package and what was unpacked, though nothing is installed."""
    paths = [str(ROOT), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def run_stages(
    stages: Sequence[Stage],
    folder: Path,
    given: dict[str, list[Path]],
    variables: dict[str, str],
    end: float,
    output: Path,
) -> int:
    """Runs stages until the moment `end`, the first of which tells what this machine is; returns the exit code."""
    cuda, summary = shutil.which("nvidia-smi") is not None, {}
    for number, stage in enumerate(stages):
        left = max(end - time.monotonic(), 0.0)
        own, *others = (each.seconds[not cuda] for each in stages[number:])
        limit = left * 2 * own / (2 * own + sum(others))
        done = run_stage(stage, folder, command_of(stage, folder, given, cuda=cuda), variables, limit)
        summary[stage.name] = done
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        pack(folder, output / ARCHIVE)
        how = f"failed: {done['problem']}" if done["problem"] else done["figure"]
        sys.stdout.write(f"{stage.name}: {how} ({done['seconds']:.0f} of {limit:.0f} s)\n")
        sys.stdout.flush()
        found = read_json(folder / stage.file)
        if number == 0 and isinstance(found, dict):
            if not found["can_run"]:
                return 2
            cuda = found["system"]["gpu"] is not None
            if not cuda:
                variables = {"OMP_NUM_THREADS": "1"} | variables  # threads that wait for each other take cores
    return int(any(done["problem"] for done in summary.values()))


def command_of(stage: Stage, folder: Path, given: dict[str, list[Path]], *, cuda: bool) -> list[str]:
    """Returns how a stage is called."""
    own = [word.format(folder=folder) for word in (*stage.words, *(stage.gpu if cuda else stage.cpu))]
    more = [word for option in stage.takes for path in given[option] for word in (option, str(path.resolve()))]
    where = ["-m", "harness"] if own[0] == "harness" else [str(HERE / own[0])]
    return [sys.executable, *where, *own[1:], *more]


def run_stage(
    stage: Stage, folder: Path, command: list[str], variables: dict[str, str], limit: float
) -> dict[str, Any]:
    """Runs a stage to its end or its limit, and returns what is said of it: `problem` is None where it passed."""
    began, stdout, log = time.monotonic(), folder / stage.file, folder / f"{stage.name}.log"
    with stdout.open("wb") as out, log.open("wb") as words:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=words, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            kill_with_children(process)
    problem, figure, found = None, None, read_json(stdout)
    with contextlib.suppress(Exception):  # it has not come so far, and the next stage shall go on
        figure = stage.figure(found)
    if code is None:
        problem = f"it ran out of its {limit:.0f} s" + (f", when {figure}" if figure else "")
    elif code or not figure:
        problem = why(found) or (last_words(log, code) if code else "what it printed has no figure")
    seconds = time.monotonic() - began
    return {"problem": problem, "figure": figure, "seconds": seconds, "limit_seconds": limit}


def kill_with_children(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that goes on and all that it has started, in sessions of their own, too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def read_json(path: Path) -> Any:
    """Returns what a stage printed: a value, or a list of those that stand one a line; None where there is none."""
    values = []
    for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
        with contextlib.suppress(ValueError):  # it was ended in the midst of it
            values.append(json.loads(text))
    return values if path.suffix == ".jsonl" else next(iter(values), None)


def why(found: Any) -> str:
    """Returns what a stage itself says of what went wrong; empty where it says nothing."""
    if isinstance(found, dict):
        said = [of_finding(finding) for finding in found.get("findings", ()) if finding["verdict"] == "stop"]
        said += [f"{each['suite']}: {each['error']}" for each in found.get("configs", ()) if each["error"]]
    else:
        said = [f"{case['case']}: {case['problem']}" for case in found or () if case.get("problem")]
    return "; ".join(said[:MOST_SAID] + ([f"and {len(said) - MOST_SAID} more"] if said[MOST_SAID:] else []))


def last_words(log: Path, code: int | None) -> str:
    """Returns the error that a process ended with."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit code {code}"])[-1].removeprefix("error: ")


def pack(folder: Path, archive: Path) -> None:
    """Writes what there is as an archive, which is whole at every moment."""
    new = archive.with_suffix(".new")
    with tarfile.open(new, "w:gz") as tar:
        tar.add(
            folder, folder.name, filter=lambda entry: entry if entry.isdir() or entry.size < LARGEST_BYTES else None
        )
    new.replace(archive)


if __name__ == "__main__":
    main()
