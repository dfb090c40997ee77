"""The pictures that `harness visualize` left in the folders of runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.records.read import names_in
from harness.records.result import RunResult
from harness.records.store import RunFolder


@dataclass(frozen=True)
class PictureFile:
    """A picture of a run.

    Attributes:
        path: from the folder of the report.
        run: label and seed.
        caption: what is seen.
    """

    path: Path
    run: str
    caption: str


def pictures_of(result: RunResult, folder: RunFolder, report: Path) -> Iterator[PictureFile]:
    """Yields the pictures of a run, by name.

    Args:
        report: the folder of the report; a run may lie under another suite of the results root.
    """
    pictures, names = f"{folder.path}/pictures", []  # a text: most of 10,000 runs have none
    with contextlib.suppress(PermissionError):
        names = names_in(pictures)
    for path in (Path(pictures, name) for name in names if name.endswith(".png")):
        caption = path.with_suffix(".txt")
        text = caption.read_text(encoding="utf-8").strip() if caption.is_file() else path.stem
        yield PictureFile(Path(os.path.relpath(path, report)), f"{result.label}, seed {result.seed}", text)
