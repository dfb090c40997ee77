"""The options of the verbs: their names, and what `--help` says of them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.app import RESULTS
from harness.cli.completing import columns, paths, suites
from harness.errors import HarnessError


def _require_text(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    given = context.get_parameter_source(str(param.name))
    if given and given.name == "COMMANDLINE" and "" in (value if isinstance(value, list | tuple) else [value]):
        raise HarnessError(f"{param.opts[0]} is empty", "give it a value, or leave the option out")
    return value


def _require_printable(param: typer.CallbackParam, value: Path) -> Path:
    if not str(value).isprintable():
        raise HarnessError(
            f"{param.opts[0]} {str(value)!r} has a character that cannot be printed", "name a folder without it"
        )
    return value


def _all_printable(param: typer.CallbackParam, value: list[Path] | None) -> list[Path]:
    return [_require_printable(param, path) for path in value or []] or [RESULTS]


text_option = functools.partial(typer.Option, callback=_require_text)
"""An option of text. An empty text, as of an unset variable in a script, is no default: it is refused."""

SuitePath = Annotated[Path, typer.Argument(metavar="SUITE", help="The suite's YAML file.", autocompletion=suites)]
RunnablePath = Annotated[
    Path,
    typer.Argument(metavar="SUITE", help="Its YAML file, or a submission's manifest.jsonl.", autocompletion=suites),
]
StudyPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SUITE]", help="Its YAML file, or its folder of results; else the only one.", autocompletion=suites
    ),
]
StudyPaths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[SUITE...]",
        help="YAML files, or folders of results (of one name: merged); else the only suite.",
        autocompletion=suites,
    ),
]
AsPage = Annotated[bool, typer.Option("--html", help="Also a page, report.html; of several suites, one of them all.")]
Overrides = Annotated[
    list[str] | None,
    text_option(
        "--set",
        metavar="PATH=VALUE",
        help="The last word on a field, e.g. train.epochs=5.",
        autocompletion=paths,
    ),
]
Selections = Annotated[
    list[str] | None,
    text_option(
        "--only",
        metavar="PATH=VALUE",
        help="Runs that match, e.g. label=best. Several: all; one path: any.",
        autocompletion=paths,
    ),
]
Plugins = Annotated[
    list[Path] | None,
    text_option("--plugin", metavar="FILE", help="A file of plug-ins of your own, beside the suite's 'plugins'."),
]
Small = Annotated[bool, typer.Option("--smoke", help="What the suite's 'smoke' makes of it: a minute on a CPU.")]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch published data that are not there, as data.download=true would.")
]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="The results root.", callback=_require_printable)]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", metavar="DIR", help="The results root; several are read together.", callback=_all_printable
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config_file", metavar="FILE", help="An Accelerate config, e.g. of launch/.")
]
Sort = Annotated[
    str, text_option("--sort", metavar="COLUMN", help="What the table is sorted by.", autocompletion=columns)
]
At = Annotated[
    str, text_option("--at", metavar="TIME", help="Compare accuracies at this train time, e.g. 60s, 1.5min or 2h.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Print all notes, and the tables of effects, prices and published numbers.")
]
WithResumed = Annotated[
    bool, typer.Option("--with-resumed", help="Count the times of runs that were interrupted, too.")
]
Normalised = Annotated[
    bool, typer.Option("--normalised", help="Also one table of all calibrated systems, with normalised times.")
]
RelativeTo = Annotated[
    str, text_option("--relative-to", metavar="SYSTEM", help="Whose times those are, a name or an id.")
]
ToWandb = Annotated[
    str, text_option("--wandb", metavar="ENTITY/PROJECT", help="Also a W&B report, of the runs that are there.")
]
ReportDryRun = Annotated[bool, typer.Option("--dry-run", help="Write what W&B would be sent, and send nothing.")]

# Of `run` and `wandb`.
Trackers = Annotated[
    list[str] | None,
    text_option("--tracker", metavar="NAME", help="Mirror the runs there: wandb, tensorboard, ...; several; or none."),
]
Project = Annotated[str, text_option("--wandb-project", metavar="NAME", help="Else WANDB_PROJECT, or 'harness'.")]
Entity = Annotated[str, text_option("--wandb-entity", metavar="NAME", help="Else WANDB_ENTITY, or the account's own.")]
Predictions = Annotated[
    bool, typer.Option("--wandb-predictions", help="Send each test image's label and prediction, too.")
]
Machine = Annotated[
    bool, typer.Option("--wandb-machine", help="Send what names this machine, too: host, command, git remote, paths.")
]

# Of `submit`, in sbatch's words.
System = Annotated[
    str, text_option("--system", metavar="NAME", help="Only results of this system, a name or an id, count.")
]
RunsPerTask = Annotated[int, typer.Option("--runs-per-task", min=1, help="Runs that a task does in turn.")]
MaxTasks = Annotated[int | None, typer.Option("--max-tasks", min=1, help="Tasks of an array at one time.")]
Partition = Annotated[str, text_option("--partition", help="As of sbatch.")]
Account = Annotated[str, text_option("--account", help="As of sbatch.")]
Time = Annotated[str, text_option("--time", help="Of a task, as of sbatch, e.g. 4:00:00.")]
GpusPerNode = Annotated[str, text_option("--gpus-per-node", metavar="[TYPE:]COUNT", help="That a node has.")]
ProcessesPerNode = Annotated[
    int | None, typer.Option("--processes-per-node", min=1, help="Of a run; by default one for each GPU.")
]
Constraint = Annotated[str, text_option("--constraint", help="As of sbatch.")]
Memory = Annotated[str, text_option("--memory", help="On a node, e.g. 16G.")]
CpusPerTask = Annotated[int | None, typer.Option("--cpus-per-task", min=1, help="CPUs on a node.")]
StopEarly = Annotated[
    int, typer.Option("--stop-early", metavar="SECONDS", min=1, help="Save and queue again so long before --time.")
]
MaxRestarts = Annotated[int, typer.Option("--max-restarts", min=0, help="Of a task, by its time limit.")]
Sbatch = Annotated[
    list[str] | None, text_option("--sbatch", metavar="LINE", help="Passed through, e.g. '--mail-type=END'.")
]
Setup = Annotated[
    list[str] | None, text_option("--setup", metavar="LINE", help="Shell before the harness, e.g. 'module load x'.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the batch scripts and submit nothing.")]
