"""Times that are given relative to now."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.files import read_time
from kaiju_tasks.errors import InvalidParams

__all__ = ["read_seconds", "read_since", "read_span", "since_option"]

F = TypeVar("F", bound=Callable[..., Any])

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DAYS_AGO = {"today": 0, "yesterday": 1}
_SPAN = re.compile(r"(?:\d{1,9}[smhdw])+")
_PART = re.compile(r"(\d+)([smhdw])")


def since_option(option: str, name: str, text: str) -> Callable[[F], F]:
    """Return an option for a time that `read_since` reads.

    :param name: of the function's parameter
    :param text: what it selects, as one sentence
    """
    return click.option(
        option,
        name,
        metavar="TIME",
        help=f"{text} A time, or how long ago: 2h, 1d12h, today, yesterday.",
    )


def read_since(text: str) -> float | str:
    """Convert a time for the API. `90m`, `1d12h` and the like are before now by this machine's
    clock; `today` and `yesterday` begin at midnight UTC; others are read as by `read_time`."""
    word = text.strip().lower()
    if word in DAYS_AGO:
        now = datetime.fromtimestamp(time.time(), UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=DAYS_AGO[word])).timestamp()
    if _SPAN.fullmatch(word):
        return time.time() - _sum(word)
    return read_time(text)


def read_seconds(at: float | str, option: str) -> float:
    """Convert a time for the API to UNIX seconds.

    :param option: its name, for the error
    :raises Failed: the text is no time
    """
    if isinstance(at, float):
        return at
    from kaiju_tasks.cron import parse_time

    try:
        return parse_time(at, field=option)
    except InvalidParams as error:
        raise Failed(f"{error}.", USAGE, error) from error


def read_span(text: str, option: str) -> int:
    """Convert a duration, such as `90`, `5m` or `1h30m`, to seconds.

    :param option: its name, for the error
    :raises Failed: the text is no duration
    """
    word = text.strip().lower()
    if _SPAN.fullmatch(word):
        return _sum(word)
    if word.isdecimal() and len(word) < 10:
        return int(word)
    raise Failed(f"{option} must be a duration such as 60, 5m or 1h30m, not {text!r:.100}.", USAGE)


def _sum(word: str) -> int:
    return sum(int(number) * UNITS[unit] for number, unit in _PART.findall(word))
