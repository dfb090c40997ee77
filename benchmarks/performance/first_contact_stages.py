"""The stages of `first_contact.py`: what each calls, how long that takes, and the line that says what it came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

RUNS, TRAINING = "first_contact_runs.py", "first_contact_training.py"
RESULTS = ["--output", "{folder}/results"]


@dataclass(frozen=True)
class Stage:
    """A process, whose stdout is JSON: one value, or one a line as it goes on.

    Attributes:
        seconds: that it takes, about, on a GPU and without one: its share of the budget.
        words: a script of this folder, or `harness` with a verb, and its arguments; {folder} is where results go.
        gpu, cpu: more arguments on a GPU, and without one.
        figure: what it came to, in a line.
        takes: which of `--data` and `--peer` it is given.
    """

    name: str
    seconds: tuple[float, float]
    words: list[str]
    gpu: list[str]
    cpu: list[str]
    figure: Callable[[Any], str]
    takes: Sequence[str] = ()

    @property
    def file(self) -> str:
        """The name of the file of its stdout."""
        return f"{self.name}.jsonl" if self.words[0] in (RUNS, TRAINING) else f"{self.name}.json"


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


def of_cases(cases: Any) -> str:
    """Returns how many cases did as they must, and how far losses that were compared differ."""
    equal = [case["difference"] for case in cases if case.get("limit") == 0]
    near = [case for case in cases if case.get("limit")]
    text = f"{sum(not case['problem'] for case in cases)} of {len(cases)} cases are right"
    text += f"; losses equal in {sum(not each for each in equal)} of {len(equal)}" if equal else ""
    if near:
        furthest = max(near, key=lambda case: case["difference"])
        text += f", within {furthest['difference']:.1g} in {len(near)} (the furthest: {furthest['case']})"
    return text


def of_calibration(found: Any) -> str:
    """Returns the most operations a second."""
    rates = {name: rate["median"] for name, rate in found["rates"].items() if rate and rate["unit"] == "FLOP/s"}
    best = max(rates, key=rates.__getitem__)
    return f"{rates[best] / 1e12:.3g} TFLOP/s ({best})"


def of_training(runs: Any) -> str:
    """Returns what the run of each loader came to."""
    return "; ".join(
        f"{run['loader']}: {run['accuracy']:.2%} in {run['train_seconds']:.1f} s of training, "
        f"{run['samples_per_second']:,.0f} images/s"
        for run in runs
    )


def of_recipes(found: Any) -> str:
    """Returns the mean accuracy and seconds of each recipe."""
    return "; ".join(
        f"{name}: {r['accuracy']['mean']:.2%} in {r['seconds']['mean']:.3f} s (runs: {r['seconds']['n']})"
        for name, r in found["recipes"].items()
    )


def of_ratios(found: Any) -> str:
    """Returns each ratio to what is bare."""
    return ", ".join(f"{name} x {r.get('median', r.get('ratio')):.3f}" for name, r in found["ratios"].items())


def of_memory(found: Any) -> str:
    """Returns the peak of a run beside that of a bare loop, or what was measured of the run alone."""
    return of_ratios(found) if "ratios" in found else f"{found['harness_bytes'] / 2**20:.1f} MiB"


def of_loaders(found: Any) -> str:
    """Returns the rates of the harness's own loaders."""
    rates = {name: found["rates"].get(name, {}).get("images_per_second") for name in ("resident", "pinned", "dali")}
    return ", ".join(f"{name} {rate:,.0f} images/s" for name, rate in rates.items() if rate)


def of_start(found: Any) -> str:
    """Returns how late the first step is done."""
    return f"first step x {found['median']:.2f} as late as torch alone: {found['rank_seconds']:.2f} s"


def of_small_card(found: Any) -> str:
    """Returns how many configs run in the memory of a small card."""
    ran = sum(config["error"] is None for config in found["configs"])
    return f"{ran} of {len(found['configs'])} configs {'in 3 GiB' if found['limited'] else 'without a limit'}"


HALF_A_SECOND = ["--seconds", "0.5"]
FEW = ["--set", "data.train_samples=200", "--set", "data.test_samples=50", "--set", "train.global_batch_size=50"]
STAGES = [
    Stage("machine", (15, 4), ["harness", "doctor", "--json", *RESULTS], [], [], of_machine),
    Stage("options", (60, 8), [RUNS, "options"], [], [], of_cases),
    Stage("graphs", (70, 18), [RUNS, "graphs"], [], [], of_cases),
    Stage("ranks", (60, 6), [RUNS, "ranks"], [], [], of_cases),
    Stage(
        "calibrate", (25, 12), ["harness", "calibrate", "--json", *RESULTS], [], ["--seconds", "0.1"], of_calibration
    ),
    Stage("training", (90, 11), [TRAINING, *RESULTS], ["--gpu"], [], of_training, ["--data"]),
    Stage(
        "speedrun",
        (80, 8),
        ["speedrun.py", "--json", "--only", "airbench94", *RESULTS],
        ["--runs", "5"],
        ["--smoke", *FEW],
        of_recipes,
        ["--data"],
    ),
    Stage(
        "peer",
        (70, 70),
        ["speedrun.py", "--json", "--peers-only", "--runs", "5"],
        [],
        [],
        of_recipes,
        ["--data", "--peer"],
    ),
    Stage(
        "overhead",
        (50, 6),
        ["overhead.py", "--json"],
        ["--pairs", "12", "--steps", "50"],
        ["--pairs", "1", "--steps", "2", "--only", "cnn3"],
        of_ratios,
    ),
    Stage(
        "loaders",
        (40, 7),
        ["loaders.py", "--json", "--only", "resident"],
        [
            "resident_half",
            "airbench",
            "pinned",
            "pinned_cached",
            "torch_w16",
            "image_folder",
            "dali",
            "--rounds",
            "2",
            *HALF_A_SECOND,
        ],
        ["--seconds", "0.02", "--rounds", "1", "--images", "300"],
        of_loaders,
        ["--data"],
    ),
    Stage(
        "memory",
        (30, 6),
        ["memory.py", "--json"],
        [],
        ["--side", "harness", "--steps", "2", "--only", "cnn3"],
        of_memory,
    ),
    Stage("start", (40, 11), ["start.py", "--json"], ["--rounds", "3"], ["--rounds", "1"], of_start),
    Stage(
        "small_card",
        (30, 6),
        ["gtx.py", "--json", "--gib", "3", "--suites", "quickstart"],
        ["resnet18_reference", "precision"],
        [],
        of_small_card,
    ),
]
