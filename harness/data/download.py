"""Fetching files, checking them and unpacking them; nothing unverified is kept or opened.

A checksum is written `sha256:<hex>` or `md5:<hex>`; md5 where the publisher gives no other. Its first digits will do
where no more are published.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import HarnessError


@dataclass(frozen=True)
class Archive:
    """The file that a dataset is published as.

    Args:
        title: of the dataset.
        url: of the file.
        size_bytes: of the file.
        checksum: of the file, see `verify`.
        path: where it is looked for, and fetched to.
        folder: what is in it, unpacked; where that is, the file is not needed.
    """

    title: str
    url: str
    size_bytes: int
    checksum: str
    path: Path
    folder: Path

    def is_there(self) -> bool:
        """Tells whether the file, or what is in it, is there."""
        return self.folder.is_dir() or self.path.is_file()

    def fetch(self) -> None:
        """Downloads the file unless it, or what is in it, is there; raises as `fetch`."""
        if not self.folder.is_dir():
            fetch(self.url, self.path, self.checksum)

    def missing(self) -> HarnessError:
        """Returns the error of who needs it."""
        where = self.path.parent.absolute()
        return HarnessError(
            f"{where} holds neither {self.path.name} nor {self.folder.name}",
            f"`harness run SUITE --download` fetches {self.size} first, or put {self.url} there, "
            "or set data.root or HARNESS_DATA",
        )

    def lacking(self, command: str) -> str:
        """Returns a sentence on a file that is not there, with the command that fetches it."""
        where = self.path.parent.absolute()
        return f"{self.title} is not in {where}: `{command}` fetches {self.path.name}, {self.size}"

    @property
    def size(self) -> str:
        """How large the file is, for a person."""
        return f"{self.size_bytes / 1e9:.1f} GB" if self.size_bytes >= 1e9 else f"{self.size_bytes / 1e6:.0f} MB"


def verify(content: Path | bytes, checksum: str, name: str) -> None:
    """Checks a file's, or its bytes', checksum.

    Raises:
        HarnessError: it cannot be read, or is not what `checksum` says.
    """
    algorithm, _, expected = checksum.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
    else:
        try:
            with content.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        except OSError as error:
            raise HarnessError(f"{name} cannot be read: {error.strerror}", "check the file's permissions") from None
    if not digest.hexdigest().startswith(expected):
        raise HarnessError(
            f"{name} is damaged or another version: its {algorithm} is {digest.hexdigest()}, not {expected}",
            "remove it and download it again",
        )


def fetch(url: str, target: Path, checksum: str) -> None:
    """Downloads `url` to `target`, which appears whole and verified, or not at all; keeps the right file.

    Raises:
        HarnessError: no network, no space, or another content than `checksum` says.
    """
    if target.is_file():
        try:
            return verify(target, checksum, str(target))
        except HarnessError:
            pass  # damaged: replaced once a good copy is here
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as response, part.open("xb") as file:
            shutil.copyfileobj(response, file, 2**20)
        verify(part, checksum, url)
        part.replace(target)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise HarnessError(
            f"{url} cannot be fetched: {reason}",
            f"on a machine with a network, download it and put it at {target.absolute()}",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def unpack(
    archive: Path, checksum: str, folder: Path, finish: Callable[[Path], object] = lambda unpacked: None
) -> None:
    """Unpacks the member `folder.name` of a tar archive to `folder`, which appears whole or not at all.

    Args:
        archive: the file.
        checksum: that it should have, see `verify`.
        folder: that is made.
        finish: is given the folder, under another name, before it appears.

    Raises:
        HarnessError: the checksum is wrong, a member is not a plain file or folder below the archive's root, or
            the folder cannot be written.
    """
    verify(archive, checksum, str(archive))
    scratch = None
    try:
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpack-"))
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract(tar, member, scratch)
        finish(scratch / folder.name)
        (scratch / folder.name).rename(folder)
    except (OSError, EOFError, tarfile.TarError) as error:
        if not folder.is_dir():  # else another process was faster
            raise HarnessError(
                f"{archive} cannot be unpacked: {error}",
                f"check the space and permissions of {folder.parent}",
            ) from None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Writes a member below a folder that holds plain files and folders alone, with the modes of the umask."""
    # No data set needs links. Python's own data filter lets harmless ones through, and 3.11.2 of Debian 12 has none.
    path = PurePosixPath(member.name)
    content = tar.extractfile(member) if member.isfile() else None
    if path.is_absolute() or ".." in path.parts or not (content or member.isdir()):
        raise HarnessError(f"the archive holds an unsafe member: {member.name}", "get the archive from its publisher")
    target = folder / path
    (target.parent if content else target).mkdir(parents=True, exist_ok=True)
    if content:
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
