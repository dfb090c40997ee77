"""One rank looks at the files of a data set, and the others take over what it found: a million files take seconds."""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import os
import pickle
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from harness.data.files import ImageFiles
from harness.data.prepare import Splits, data_source, read_by
from harness.data.varied import VariedFiles
from harness.errors import HarnessError
from harness.spec import DataSection

ALIGNED_BYTES = 64
POLL_SECONDS = 0.05
LAST = "the last"


def identity_from_rank_0(section: DataSection, identify: Callable[[DataSection], str]) -> str:
    """Returns the identity of the data's content, where files are read for it as rank 0 finds it.

    Args:
        section: names the data.
        identify: finds it.

    Raises:
        HarnessError: on every rank, where rank 0 cannot find it.
    """
    if data_source(section).known_fingerprint is None or "MASTER_PORT" not in os.environ:
        return identify(section)
    name = f"{read_by(section)} {os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
    store = _store()
    if os.environ["RANK"] == "0":
        told = {}
        try:
            told["found"] = identify(section)
            return told["found"]
        except HarnessError as error:
            told |= {"message": error.message, "hint": error.hint}
            raise
        finally:
            store.set(name, json.dumps(told))
    while not store.check([name]):  # for hours, if need be, which a timeout would end
        time.sleep(POLL_SECONDS)
    told = json.loads(store.get(name))
    if "found" not in told:
        raise HarnessError(**told)
    return told["found"]


@functools.cache  # where rank 0 has the store, it ends with the object
def _store() -> Store:
    store, _, _ = next(rendezvous("env://"))
    return store


def lend(splits: Splits) -> str:
    """Writes what was found of a data set of image files into a temporary file, for other processes of this machine.

    Returns:
        Where, as JSON, or that it is what was lent last; empty where each process reads for itself: other data sets, or
        no room for the file.
    """
    if type(splits.train.store) not in (ImageFiles, VariedFiles):
        return ""
    if splits in _lent:
        return LAST
    buffers: list[pickle.PickleBuffer] = []
    parts = [memoryview(pickle.dumps(splits, 5, buffer_callback=buffers.append))]
    parts += [buffer.raw() for buffer in buffers]
    places = []
    with contextlib.suppress(OSError):
        handle, path = tempfile.mkstemp(prefix="harness-data-")
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(bytes(-file.tell() % ALIGNED_BYTES))
                    places.append((file.tell(), part.nbytes))
                    file.write(part)
            _lent.add(splits)
            return json.dumps([path, places])
        except OSError:
            Path(path).unlink()
    return ""


def borrow(lent: str) -> Splits | None:
    """Returns what another process lent, or None; its arrays are mapped, so that all processes share one copy."""
    if lent == LAST:
        return _borrowed[0]
    _borrowed.clear()  # before the next data set is read, not after
    if not lent:
        return None
    path, places = json.loads(lent)
    with Path(path).open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    head, *buffers = [mapped[start : start + size] for start, size in places]
    _borrowed.append(pickle.loads(head, buffers=buffers))
    return _borrowed[0]


def take_back(lent: str) -> None:
    """Removes the file; who has mapped it keeps it."""
    if lent not in ("", LAST):
        Path(json.loads(lent)[0]).unlink(missing_ok=True)


_lent: weakref.WeakSet[Splits] = weakref.WeakSet()
_borrowed: list[Splits] = []  # the last
