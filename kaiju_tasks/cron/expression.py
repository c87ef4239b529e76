"""Cron expressions: parse and check the fields. croniter parses the values."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from kaiju_tasks.cron.calendar import Calendar, Days, Side, TimesOfDay
from kaiju_tasks.cron.values import shown
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.local_time import EPOCH

MAX_EXPRESSION_LENGTH: Final = 512

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day", "1-31 or L"),
    ("month", "1-12 or jan-dec"),
    ("weekday", "0-7 (0 and 7 are Sunday) or sun-sat"),
    ("second", "0-59"),
)
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECONDS = range(6)
_TOPS: Final = (("59",), ("23",), ("31",), ("12", "dec"), ("6", "sat"), ("59",))
_ZONE_PREFIX: Final = re.compile(r"(cron_)?tz=", re.IGNORECASE)
_HASHED: Final = re.compile(r"[hr](\(|/|$)")
_ALLOWED: Final = re.compile(r"[0-9a-z*,/#?\- \t]*")
_ONE_VALUE_RANGE: Final = re.compile(r"(\w+)-\1(/0*[1-9]\d*)?")


@dataclass(frozen=True, slots=True)
class Expression:
    """The meaning of a cron expression, independent of a zone.

    :param hourly: the hour field has a wildcard or a step
    """

    calendar: Calendar
    hourly: bool


def read_expression(text: str) -> Expression:
    """Parse a cron expression or an alias.

    :raises InvalidParams: with field `cron`; also if no date ever matches
    """
    fields = _split_fields(text)
    values = _expand(fields)
    calendar = Calendar(_days(fields, values), _times_of_day(values))
    if calendar.after(datetime(2000, 1, 1)) is None:
        raise bad_cron(f"{text!r} never fires, because no year has such a date")
    return Expression(calendar, _is_hourly(fields[_HOUR], values[_HOUR]))


def _split_fields(expression: str) -> list[str]:
    text = expression.strip().lower()
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise bad_cron(f"it has {len(text)} characters; the limit is {MAX_EXPRESSION_LENGTH}")
    _refuse_foreign_syntax(text)
    fields = _ALIASES.get(text, text).split()
    if len(fields) not in (5, 6):
        raise bad_cron(
            "it must have five fields (minute hour day month weekday) or six (seconds last),"
            f" not {len(fields)}" + (" (a year field is not supported)" if len(fields) == 7 else "")
        )
    for number, text in enumerate(fields):
        if any(_HASHED.match(item) for item in text.split(",")):
            raise bad_cron(
                f"{text!r} in the {_FIELDS[number][0]} field is a hashed or random value, which is"
                " not supported: use a number, and `jitter` to spread tasks"
            )
        if not _ALLOWED.fullmatch(text):
            raise _bad_field(number, text)
    return [_plain_single_values(number, text) for number, text in enumerate(fields)]


def _refuse_foreign_syntax(text: str) -> None:
    if _ZONE_PREFIX.match(text):
        raise bad_cron("it cannot contain a zone: set `timezone` instead")
    if text.startswith("@every"):
        raise bad_cron(
            "@every is not supported: set `every` to a number of seconds instead of `cron`"
        )
    if text.startswith("@") and text not in _ALIASES:
        raise bad_cron(f"{shown(text)} is not one of {' '.join(_ALIASES)}")


def _plain_single_values(number: int, text: str) -> str:
    # croniter reads 9-9 as the whole field; before version 7 it also reads 59/15 so.
    return ",".join(_plain_single_value(item, _TOPS[number]) for item in text.split(","))


def _plain_single_value(item: str, tops: tuple[str, ...]) -> str:
    if one := _ONE_VALUE_RANGE.fullmatch(item):
        return one[1]
    start, slash, step = item.partition("/")
    return start if slash and start in tops and _is_step(step) else item


def _is_step(text: str) -> bool:
    return text.isdigit() and text.strip("0") != ""


def _expand(fields: list[str]) -> list[list[int | str]]:
    try:
        return _croniter_fields(" ".join(fields))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        for number, text in enumerate(fields):
            if not _is_good_field(number, text, len(fields)):
                raise _bad_field(number, text) from error
        raise bad_cron(f"{' '.join(fields)!r} cannot be parsed: {error}") from error


def _is_good_field(number: int, text: str, count: int) -> bool:
    alone = ["*"] * count
    alone[number] = text
    try:
        _croniter_fields(" ".join(alone))
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def _croniter_fields(expression: str) -> list[list[int | str]]:
    from croniter import croniter

    return cast("list[list[int | str]]", croniter.expand(expression)[0])


def _times_of_day(values: list[list[int | str]]) -> TimesOfDay:
    return TimesOfDay(
        hours=_numbers(values[_HOUR], 24),
        minutes=_numbers(values[_MINUTE], 60),
        seconds=_numbers(values[_SECONDS], 60) if len(values) > _SECONDS else (0,),
    )


def _numbers(values: list[int | str], count: int) -> tuple[int, ...]:
    if "*" in values:  # possibly with other values: *,5
        return tuple(range(count))
    return tuple(sorted({int(value) for value in values}))


def _days(fields: list[str], values: list[list[int | str]]) -> Days:
    from croniter import croniter

    day, month, weekday = fields[_DAY], fields[_MONTH], fields[_WEEKDAY]
    if values[_DAY] == values[_MONTH] == values[_WEEKDAY] == ["*"]:
        return Days(())
    sides = [f"0 0 {day} {month} {weekday}"]
    if values[_DAY] != ["*"] and values[_WEEKDAY] != ["*"]:
        # Separate, because croniter's own union depends on its version and fails for # and W.
        sides = [f"0 0 {day} {month} *", f"0 0 * {month} {weekday}"]
    return Days(tuple(Side(croniter(side, EPOCH)) for side in sides))


def _is_hourly(text: str, values: list[int | str]) -> bool:
    return "*" in values or (len(values) > 1 and ("*" in text or "/" in text))


def bad_cron(reason: str) -> InvalidParams:
    """An error in the field `cron`."""
    return InvalidParams(f"`cron` is not valid: {reason}", field="cron")


def _bad_field(number: int, text: str) -> InvalidParams:
    name, values = _FIELDS[number]
    return bad_cron(
        f"its {name} field {shown(text)} cannot be parsed; use {values}, or *, with lists (1,2),"
        " ranges (1-5) and steps (*/2)"
    )
