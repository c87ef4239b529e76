"""The standard streams: failures of the output differ from all others, and none is closed."""

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


def guard_streams() -> None:
    """Let a write to standard output that fails raise OutputFailed, and open what is closed."""
    _open_closed()
    old = sys.stdout
    buffered = io.BufferedWriter(_Stdout(STDOUT, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(
        buffered,
        encoding=old.encoding,
        errors="backslashreplace",  # an encoding that lacks a character is no failure
        line_buffering=os.isatty(STDOUT),
    )


def _open_closed() -> None:
    """A socket or a file would take the number of a standard stream that is closed: what is
    meant for one would reach the other. Reading or writing there goes on to fail."""
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
        sys.stderr = os.fdopen(
            os.open(os.devnull, os.O_WRONLY), "w"
        )  # nobody reads it, and nothing ends for that


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
