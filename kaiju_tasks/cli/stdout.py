"""Standard output whose failures can be told from all others."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kaiju_tasks.cli.fail import Failed

__all__ = ["OutputFailed", "guard_stdout", "when_output_fails"]

STDOUT = 1
OUTPUT_FAILED = 74
"""EX_IOERR of sysexits.h."""
PIPE_CLOSED = 141
"""128 and the number of SIGPIPE, by which other programs end then."""


class OutputFailed(OSError):
    """Standard output cannot be written. It has no errno: click ends by itself on EPIPE.

    :ivar reason: why
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"The output cannot be written: {reason.strerror or reason}.")
        self.reason = reason


class _Stdout(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputFailed(error) from error


def guard_stdout() -> None:
    """Let a write that fails raise OutputFailed, also when standard output is closed."""
    old = sys.stdout
    if old is None:
        _occupy()
    buffered = io.BufferedWriter(_Stdout(STDOUT, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(
        buffered,
        encoding=None if old is None else old.encoding,
        errors=None if old is None else old.errors,
        line_buffering=os.isatty(STDOUT),
    )


@contextmanager
def when_output_fails() -> Iterator[None]:
    """End the command with a sentence, or quietly where nobody reads on (`| head`).

    :raises Failed: it failed
    :raises SystemExit: nobody reads on
    """
    try:
        yield
    except OutputFailed as error:
        # What is still buffered would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        if error.reason.errno == errno.EPIPE:
            raise SystemExit(PIPE_CLOSED) from None
        raise Failed(str(error), OUTPUT_FAILED) from error


def _occupy() -> None:
    """Standard output is closed: what is opened next must not take its number. Writing to this
    fails, and says why."""
    null = os.open(os.devnull, os.O_RDONLY)
    if null != STDOUT:
        os.dup2(null, STDOUT)
        os.close(null)
