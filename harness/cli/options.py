"""The options of the verbs: their names, and what `--help` says of them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.app import RESULTS
from harness.cli.completing import columns, launch_configs, paths, suites
from harness.errors import HarnessError
from harness.paths import LAUNCH_CONFIGS, named_file


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


def _shipped_too(value: Path | None) -> Path | None:
    return named_file(value, LAUNCH_CONFIGS) if value else None


def _all_printable(param: typer.CallbackParam, value: list[Path] | None) -> list[Path]:
    return [_require_printable(param, path) for path in value or []] or [RESULTS]


text_option = functools.partial(typer.Option, callback=_require_text)
"""An option of text. An empty text, as of an unset variable in a script, is no default: it is refused."""

SuitePath = Annotated[
    Path, typer.Argument(metavar="SUITE", help="Its file, or the name of one that ships.", autocompletion=suites)
]
RunnablePath = Annotated[
    Path,
    typer.Argument(
        metavar="SUITE",
        help="Its YAML file, the name of one that ships, or a submission's manifest.jsonl.",
        autocompletion=suites,
    ),
]
StudyPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SUITE]",
        help="Its YAML file or name, or its folder of results. Default: the only one.",
        autocompletion=suites,
    ),
]
StudyPaths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[SUITE...]",
        help="YAML files or names, or folders of results (same name: merged). Default: the only suite.",
        autocompletion=suites,
    ),
]
AsPage = Annotated[bool, typer.Option("--html", help="Also write a page, report.html; several suites share one page.")]
Overrides = Annotated[
    list[str] | None,
    text_option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a field, e.g. train.epochs=5.",
        autocompletion=paths,
    ),
]
Selections = Annotated[
    list[str] | None,
    text_option(
        "--only",
        metavar="PATH=VALUE",
        help="Only runs that match, e.g. label=best. All must match; on one path, any.",
        autocompletion=paths,
    ),
]
Plugins = Annotated[
    list[Path] | None,
    text_option("--plugin", metavar="FILE", help="A file of your own plug-ins, in addition to the suite's 'plugins'."),
]
Small = Annotated[bool, typer.Option("--smoke", help="Run the suite's 'smoke' version: a minute on a CPU.")]
Download = Annotated[bool, typer.Option("--download", help="Download missing published data and pretrained weights.")]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="The results root.", callback=_require_printable)]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", metavar="DIR", help="The results root; several are read together.", callback=_all_printable
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config_file",
        metavar="FILE",
        help="An Accelerate config, or the name of one that ships: cpu, gtx, ...",
        callback=_shipped_too,
        autocompletion=launch_configs,
    ),
]
Sort = Annotated[
    str, text_option("--sort", metavar="COLUMN", help="Sort the table by this column.", autocompletion=columns)
]
At = Annotated[
    str, text_option("--at", metavar="TIME", help="Compare accuracies at this train time, e.g. 60s, 1.5min or 2h.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Print all notes, and the tables of effects, prices and published numbers.")
]
WithResumed = Annotated[bool, typer.Option("--with-resumed", help="Also count the times of interrupted runs.")]
ToWandb = Annotated[
    str, text_option("--wandb", metavar="ENTITY/PROJECT", help="Also make a W&B report of the runs at W&B.")
]
ReportDryRun = Annotated[bool, typer.Option("--dry-run", help="Write what would be sent to W&B, and send nothing.")]

# Of `run` and `wandb`.
Trackers = Annotated[
    list[str] | None,
    text_option("--tracker", metavar="NAME", help="Mirror the runs to wandb, tensorboard, ...; repeatable; or none."),
]
Project = Annotated[str, text_option("--wandb-project", metavar="NAME", help="Default: WANDB_PROJECT, or 'harness'.")]
Entity = Annotated[
    str, text_option("--wandb-entity", metavar="NAME", help="Default: WANDB_ENTITY, or the account's own.")
]
System = Annotated[
    str, text_option("--system", metavar="NAME", help="Count only results of this system, a name or an id.")
]

# Of `submit`, in sbatch's words.
RunsPerTask = Annotated[int, typer.Option("--runs-per-task", min=1, help="Runs per task, one after another.")]
MaxTasks = Annotated[int | None, typer.Option("--max-tasks", min=1, help="Concurrent tasks of an array.")]
Partition = Annotated[str, text_option("--partition", help="As in sbatch.")]
Account = Annotated[str, text_option("--account", help="As in sbatch.")]
Time = Annotated[
    str, text_option("--time", help="Of a task, as in sbatch, e.g. 4:00:00; or `forecast`, by `plan --forecast`.")
]
GpusPerNode = Annotated[str, text_option("--gpus-per-node", metavar="[TYPE:]COUNT", help="GPUs of a node.")]
ProcessesPerNode = Annotated[
    int | None,
    typer.Option("--processes-per-node", min=1, help="Processes of a run on a node; by default one per GPU."),
]
Constraint = Annotated[str, text_option("--constraint", help="As in sbatch.")]
Memory = Annotated[str, text_option("--memory", help="Memory of a node, e.g. 16G.")]
CpusPerTask = Annotated[int | None, typer.Option("--cpus-per-task", min=1, help="CPUs of a node.")]
StopEarly = Annotated[
    int, typer.Option("--stop-early", metavar="SECONDS", min=1, help="Save and requeue this long before --time.")
]
MaxRestarts = Annotated[int, typer.Option("--max-restarts", min=0, help="Restarts of a task at its time limit.")]
Sbatch = Annotated[
    list[str] | None, text_option("--sbatch", metavar="LINE", help="Option for sbatch, e.g. '--mail-type=END'.")
]
Setup = Annotated[
    list[str] | None,
    text_option("--setup", metavar="LINE", help="Shell line before the harness, e.g. 'module load x'."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the batch scripts and submit nothing.")]
