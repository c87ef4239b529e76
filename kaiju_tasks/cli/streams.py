"""The standard streams: none is closed, and failed output differs from all other errors."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kaiju_tasks.cli.fail import Failed

__all__ = ["OutputFailed", "guard_streams", "when_output_fails"]

STDIN, STDOUT, STDERR = 0, 1, 2
OUTPUT_FAILED = 74
"""EX_IOERR of sysexits.h."""
PIPE_CLOSED = 141
"""128 plus the number of SIGPIPE, the signal that ends other programs in this case."""


class OutputFailed(OSError):
    """Standard output cannot be written. It has no errno: click would exit by itself on EPIPE.

    :ivar reason: the error of the write
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


def guard_streams() -> None:
    """Make failed writes to standard output raise OutputFailed, and open closed streams."""
    _open_closed()
    old = sys.stdout
    buffered = io.BufferedWriter(_Stdout(STDOUT, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(
        buffered,
        encoding=old.encoding,
        errors="backslashreplace",  # a character that the encoding lacks must not fail the command
        line_buffering=os.isatty(STDOUT),
    )


def _open_closed() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next socket or file would get the number of the closed stream, and receive the
    output meant for it. The null device is opened so that reads and writes still fail.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if number == STDIN else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = os.fdopen(STDIN, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(STDOUT, "w", closefd=False)
    if sys.stderr is None:
        # Errors cannot be shown then, but printing them must not fail the command.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


@contextmanager
def when_output_fails() -> Iterator[None]:
    """End the command if its output cannot be written; silently if the reader has gone (`| head`).

    :raises Failed: the output cannot be written
    :raises SystemExit: the reader of the output has gone
    """
    try:
        yield
    except OutputFailed as error:
        # Buffered output would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        if error.reason.errno == errno.EPIPE:
            raise SystemExit(PIPE_CLOSED) from None
        raise Failed(str(error), OUTPUT_FAILED) from error
