"""What becomes of this process where its stdout or its stderr cannot be written."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from harness.errors import HarnessError


class _Guarded:
    """A stream whose errors do not reach the caller, or reach it once, as a sentence.

    Args:
        stream: to write to.
        needed: whether it is an error that it cannot be written. A reader that has gone, as in `harness plan | head`,
            is no error: the exit code is the verb's own.
    """

    def __init__(self, stream: TextIO, *, needed: bool) -> None:
        self._stream = stream
        self._needed = needed
        self._failed: HarnessError | None = None

    def write(self, text: str) -> int:
        if self._failed:  # whoever wrote before may have caught the error
            raise self._failed
        with self._writing():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        with self._writing():
            self._stream.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except ValueError:  # the stream was closed
            if self._needed:
                raise
        except OSError as error:
            if not self._needed:
                return
            with contextlib.suppress(OSError, ValueError):  # Python writes what is left in the buffer when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError):
                hint = "free space on its disk, or send stdout elsewhere"
                self._failed = HarnessError(f"cannot write to stdout: {error.strerror or error}", hint)
                raise self._failed from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_streams() -> None:
    """Makes this process go on whatever becomes of its stderr, and of a terminal that its stdout is.

    A stdout that is a file or a pipe holds data: that it cannot be written is an error, which `main` prints.
    """
    stdout, stderr = sys.stdout or _null(1), sys.stderr or _null(2)
    if not isinstance(stdout, _Guarded):
        sys.stdout = cast(TextIO, _Guarded(stdout, needed=not stdout.isatty()))
    if not isinstance(stderr, _Guarded):
        sys.stderr = cast(TextIO, _Guarded(stderr, needed=False))


def _null(descriptor: int) -> TextIO:
    """Returns a stream in place of one that was closed from the beginning: else the next file would get its number."""
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
    return os.fdopen(descriptor, "w", closefd=False)
