"""Suites with their results, as a call names them: by their files, or by folders of records."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.app import RESULTS, identify_data, plan_of
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.results.study import Study
    from harness.spec import DataSection
    from harness.suite.plan import Plan


def studies_of(
    paths: list[Path],
    overrides: list[str] | None,
    only: list[str] | None,
    smoke: bool,
    config_file: Path | None,
    roots: list[Path],
    plugins: list[Path] | None = None,
) -> list[Study]:
    """Returns suites with their results, each from its file, or from folders of records alone.

    Args:
        paths: suite files, suites' folders of records, and results roots; none for the only suite of the results root.
        roots: the results roots of suite files; those of folders are beside them.
        plugins: files of plug-ins, beside those that the suites name.

    Raises:
        HarnessError: there are no results, or an option that a folder cannot obey.
    """
    from harness import registry
    from harness.results.study import study_of_folders, study_of_suite

    # Matrices here are small: OpenBLAS's threads would wait for each other, and take the cores from the drawing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    files, folders = split_paths(paths, roots)
    if folders:
        elsewhere = bool(paths) and not files and roots != [RESULTS]
        given = {"--set": overrides, "--smoke": smoke, "--config_file": config_file, "--output": elsewhere}
        require_no_plan(folders, given)
    found = []
    for path in files:

        def plan_for(size: int | None = None, path: Path = path) -> Plan:
            asked = (path, overrides, only, smoke, config_file, size)
            return plan_of(*asked, plugins=plugins, fingerprint=_identity_if_here)

        found.append(study_of_suite(plan_for(), roots, plan_for))
    if folders:
        registry.use(plugins or ())  # for their metrics; no run is planned
    return found + [study_of_folders(same, only or ()) for same in folders]


def split_paths(paths: list[Path], roots: list[Path], *, begun: bool = False) -> tuple[list[Path], list[list[Path]]]:
    """Returns the suite files among the paths, and the folders of records, those of one suite together.

    Args:
        paths: of a call.
        roots: the results roots, for a call without paths.
        begun: take folders in which no run has ended yet, too.

    Raises:
        HarnessError: a folder holds no records, or no path is given and there is not just one suite with results.
    """
    from harness.results.study import suite_folders

    folders: dict[str, list[Path]] = {}
    for path in paths or roots:
        if path.is_dir() or not paths:
            found = suite_folders(path, begun=begun)
            if not found and paths:
                raise HarnessError(f"no results in {path}", "name a suite's file, or a folder such as results/SUITE")
            for folder in found:
                folders.setdefault(folder.resolve().name, []).append(folder)
    if not paths and len(folders) != 1:
        where = ", ".join(map(str, roots))
        if not folders:
            raise HarnessError(f"no results in {where}", "name a suite's file, or a folder such as results/SUITE")
        names = ", ".join(str(own[0]) for own in list(folders.values())[:8])
        raise HarnessError(f"{where} has the results of {len(folders)} suites", f"name one: {names}")
    return [path for path in paths if not path.is_dir()], list(folders.values())


def require_no_plan(folders: list[list[Path]], given: Mapping[str, object]) -> None:
    """Refuses options that need a suite's file, where its records alone are read.

    Args:
        given: what each option was given.

    Raises:
        HarnessError: with the option.
    """
    if wrong := next((name for name, value in given.items() if value), ""):
        message = f"{wrong} needs a suite's file, and {folders[0][0]} is a folder of results"
        raise HarnessError(message, "name the suite's file, or leave the option out")


def _identity_if_here(section: DataSection) -> str:
    """Returns the identity of the data's content; empty where they are not here."""
    try:
        return identify_data(section)
    except HarnessError:
        return ""
