"""How a command fails: a sentence on stderr and an exit code."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import click

from kaiju_tasks.errors import InvalidParams, KaijuError, NotFound, Unavailable, with_end

__all__ = [
    "CALL_FAILED",
    "INTERRUPTED",
    "NO_MANAGER",
    "USAGE",
    "Failed",
    "Interrupted",
    "not_found",
    "sentence",
    "show_error",
    "when_interrupted",
]

CALL_FAILED = 1
USAGE = 2
NO_MANAGER = 3
INTERRUPTED = 130
"""128 plus the number of SIGINT, the convention of shells."""

_ENDS = re.compile(r"([?!….])\.$")
"""An error's text may end its sentence already, as in "did you mean …?"."""
_KINDS: dict[int, type[KaijuError]] = {USAGE: InvalidParams, NO_MANAGER: Unavailable}


class Failed(Exception):
    """The command failed. Raising it ends the command.

    :param message: one line for people
    :param exit_code: 1 the call failed, 2 wrong arguments, 3 no manager
    :param error: the error that caused it, if that has its own code and data
    :ivar code: the JSON-RPC error code, as in the manager's errors
    :ivar data: details for programs; `type` is the kind of the error
    """

    def __init__(
        self, message: str, exit_code: int = CALL_FAILED, error: KaijuError | None = None
    ) -> None:
        message = _ENDS.sub(r"\1", message)
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        kind = _KINDS.get(exit_code, KaijuError)(message) if error is None else error
        self.code: int = kind.code
        self.data: dict[str, Any] = kind.data


class Interrupted(Failed):
    """Ctrl-C ended the command.

    :param message: what continues without the command
    """

    def __init__(self, message: str = "Interrupted.") -> None:
        super().__init__(message, INTERRUPTED)
        self.code = 499
        self.data = {"type": "interrupted"}


def not_found(message: str, **data: Any) -> Failed:
    """Return the error for an object that does not exist, with the manager's code and type."""
    return Failed(message, CALL_FAILED, NotFound(message, **data))


def sentence(text: str) -> str:
    """Return an error's text as a sentence, which begins with a capital letter and has an end."""
    return text[:1].upper() + with_end(text[1:])


@contextlib.contextmanager
def when_interrupted(message: str) -> Iterator[None]:
    """Raise Interrupted with this message if Ctrl-C ends the block.

    Of nested blocks, the outermost message is used.

    :raises Interrupted: Ctrl-C was pressed
    """
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(message) from None


def show_error(error: Failed | click.ClickException, *, as_json: bool) -> None:
    """Print to stderr why the command failed.

    :param as_json: print one line, `{"error": {"code", "message", "data"}}`
    """
    if isinstance(error, Interrupted) and sys.stderr.isatty():
        click.echo(err=True)  # the terminal has shown ^C
    if as_json:
        failed = _usage(error) if isinstance(error, click.ClickException) else error
        shown = {"code": failed.code, "message": failed.message, "data": failed.data}
        click.echo(json.dumps({"error": shown}, ensure_ascii=False), err=True)
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        click.echo(error.message, err=True)


def _usage(error: click.ClickException) -> Failed:
    name = getattr(getattr(error, "param", None), "name", None)
    message = error.format_message()
    return Failed(message, error.exit_code, InvalidParams(message, field=name))
