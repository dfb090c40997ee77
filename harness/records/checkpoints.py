"""The checkpoints of a run on disk: whole or absent, verified when read, and never unpickled.

A checkpoint is a folder `step-00001234` of files, with `manifest.json` among them: size and SHA-256 of each file, whose
state it is, and the manifest's own SHA-256. It is written under another name, the manifest last, and renamed. Two are
kept; the older of three goes when the newest is there.

The name ends with the generation of the claim that its writer owned the run by: `step-00001234.3`. Who takes a run over
gives what it goes on from its own generation. What a former owner commits later has a lower one, and is not believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import OddFile, read_file, read_object, sync_folder, write_synced

FORMAT = 1
KEPT = 2
MANIFEST = "manifest.json"


class Damaged(Exception):
    """A checkpoint is not what was written; the message says where."""


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint.

    Attributes:
        path: its folder.
        step: optimizer steps that were done.
        run: whose state it is, as it was given to `commit`.
        files: size in bytes and SHA-256 of each file, by name.
    """

    path: Path
    step: int
    run: dict[str, Any]
    files: dict[str, tuple[int, str]]

    def read(self, name: str) -> bytes:
        """Returns a file's content.

        Raises:
            Damaged: it is missing, or not what was written.
        """
        size, digest = self.files.get(name, (0, ""))
        try:
            content = read_file(self.path / name, max(size, 0) + 1) if digest else b""
        except OSError as error:
            raise Damaged(f"{name}: {error.strerror}") from None
        except OddFile as error:
            raise Damaged(f"{name}: {error}") from None
        if not digest:
            raise Damaged(f"{name} is not in {MANIFEST}")
        if len(content) != size:
            raise Damaged(f"{name} has {len(content)} of {size} bytes")
        if hashlib.sha256(content).hexdigest() != digest:
            raise Damaged(f"{name} is not what was written (SHA-256)")
        return content

    def verify(self) -> None:
        """Reads all files.

        Raises:
            Damaged: as `read`.
        """
        for name in self.files:
            self.read(name)


class CheckpointFolder:
    """The checkpoints of one run on one system.

    Args:
        path: of the folder; it need not exist.
        generation: of the claim by which this process owns the run; what higher ones wrote it does not touch.
    """

    def __init__(self, path: Path, generation: int = 0) -> None:
        self.path = path
        self.generation = generation

    def commit(self, step: int, files: Mapping[str, bytes], run: Mapping[str, Any]) -> Path:
        """Writes a checkpoint; an older one is deleted only when this one is there, whatever happens.

        Args:
            step: optimizer steps done. A checkpoint of this step that is there already is replaced.
            files: content by name.
            run: whose state it is; plain values.

        Raises:
            OSError: the disk is full, or the folder cannot be written; what was there before still is.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        target = self.path / _name(step, self.generation)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=self.path, ignore_cleanup_errors=True) as name:
            folder = Path(name) / "checkpoint"
            folder.mkdir()
            listed = {}
            for file_name, content in files.items():
                write_synced(folder / file_name, content)
                listed[file_name] = [len(content), hashlib.sha256(content).hexdigest()]
            manifest = {"format": FORMAT, "step": step, "run": dict(run), "files": listed}
            write_synced(folder / MANIFEST, json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode())
            sync_folder(folder)
            if target.exists():  # of the same step, and so of the same state; it may be damaged
                target.rename(Path(name) / "replaced")
            folder.rename(target)
            sync_folder(self.path)
        for old in [*self._of(self.generation)[KEPT:], *self._below(self.generation)]:
            _delete(old)
        return target

    def newest(self, since: int = 0) -> tuple[Checkpoint | None, list[str]]:
        """Returns the newest whole checkpoint, and what is wrong with each newer one.

        Args:
            since: the generation of the owner that opened the run last: what lower ones wrote since is not believed.
        """
        problems = []
        highest = max((generation_of(path) for path in self._committed()), default=0)
        for path in self._of(highest) if highest >= since else []:
            try:
                checkpoint = _read_manifest(path)
                checkpoint.verify()
            except Damaged as error:
                problems.append(f"{path.name}: {error}")
            else:
                return checkpoint, problems
        return None, problems

    def at(self, step: int) -> Checkpoint:
        """Returns the checkpoint of a step.

        Raises:
            Damaged: there is none, or its manifest cannot be read.
        """
        return _read_manifest(self.path / _name(step, self.generation))

    def take_over(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """Makes a checkpoint and the older ones those of this owner, and deletes the others.

        What follows it is trained again, and what is damaged is of no use.

        Returns:
            The same checkpoint under its new name.

        Raises:
            OSError: the folder cannot be written.
        """
        taken = None
        if checkpoint:
            for path in self._of(generation_of(checkpoint.path)):
                if (step := _step_of(path)) <= checkpoint.step:
                    own = self.path / _name(step, self.generation)
                    if own != path:
                        path.rename(own)
                    taken = taken or replace(checkpoint, path=own)
        self.clear(after=checkpoint.step if checkpoint else -1)
        return taken

    def clear(self, after: int = -1) -> None:
        """Deletes all checkpoints, or those of former owners and of later steps than `after`."""
        self._remove_unfinished()
        later = [path for path in self._of(self.generation) if _step_of(path) > after]
        for path in [*later, *self._below(self.generation)]:
            _delete(path)

    def _committed(self) -> list[Path]:
        """Returns the folders of committed checkpoints, the newest first."""
        return sorted(self.path.glob("step-*"), key=_step_of, reverse=True)

    def _of(self, generation: int) -> list[Path]:
        return [path for path in self._committed() if generation_of(path) == generation]

    def _below(self, generation: int) -> list[Path]:
        return [path for path in self._committed() if generation_of(path) < generation]

    def _remove_unfinished(self) -> None:
        for path in self.path.glob(".step-*"):
            if generation_of(path) <= self.generation:
                shutil.rmtree(path, ignore_errors=True)


def require_same_run(found: Mapping[str, Any], wanted: Mapping[str, Any], where: Path) -> None:
    """Checks that a checkpoint is of the run that wants to go on from it.

    Args:
        found: `Checkpoint.run`.
        wanted: the same values of the run at hand.
        where: the checkpoint, for the message.

    Raises:
        HarnessError: they differ; it shows in what.
    """
    same = ("run_id", "num_processes")
    if any(found.get(key) != wanted[key] for key in same):
        differences = [text for text in run_differences(found, wanted) if not text.startswith("run_id ")]
        raise HarnessError(
            f"{where} is a checkpoint of another run: {'; '.join(differences)}",
            "go on with what it was made with, or delete that folder to begin anew",
        )


def run_differences(found: Mapping[str, Any], wanted: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yields `train.epochs was 10, is 20` for each value that differs between two nested mappings."""
    for key in dict.fromkeys([*found, *wanted]):
        was, now = found.get(key), wanted.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from run_differences(was, now, f"{path}{key}.")
        elif was != now:
            yield f"{path}{key} was {json.dumps(was)}, is {json.dumps(now)}"


def generation_of(path: Path) -> int:
    """Returns the generation in the name of a checkpoint, or of an unfinished one; 0 where it has none."""
    _, _, number = path.name.lstrip(".").partition(".")
    number = number.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _step_of(path: Path) -> int:
    number = path.name.removeprefix("step-").partition(".")[0]
    return int(number) if number.isdecimal() else -1


def _name(step: int, generation: int) -> str:
    return f"step-{step:010d}.{generation}" if generation else f"step-{step:010d}"


def _read_manifest(path: Path) -> Checkpoint:
    try:
        manifest = read_object(path / MANIFEST)
        if manifest["format"] != FORMAT:
            raise Damaged(f"format {manifest['format']}; this harness reads {FORMAT}")
        if manifest.pop("sha256") != _digest(manifest) or _step_of(path) != manifest["step"]:
            raise Damaged(f"{MANIFEST} is not what was written (SHA-256)")
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in manifest["files"].items()}
        return Checkpoint(path, int(manifest["step"]), dict(manifest["run"]), files)
    except OSError as error:
        raise Damaged(f"{MANIFEST}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {error}") from None


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _delete(path: Path) -> None:
    """Deletes a checkpoint, its manifest first: what is left of it, if this is interrupted, is not taken for one."""
    with contextlib.suppress(OSError):
        (path / MANIFEST).unlink()
    shutil.rmtree(path, ignore_errors=True)
