"""Times that clients send: UNIX seconds or ISO-8601."""

import re
from datetime import datetime
from typing import Final

from kaiju_tasks.cron.values import is_number, shown
from kaiju_tasks.cron.zones import check_timezone
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.local_time import END_OF_TIME, EPOCH, first_instant, offsets

_ISO_SHAPE: Final = re.compile(r"([0-9W-]+(?:[Tt ][0-9:.,]+)?)(?: ?([Zz]|UTC|[+-][0-9:.]+))?")


def parse_time(value: float | int | str, timezone: str = "UTC", *, field: str) -> float:
    """Parse a time.

    :param value: UNIX seconds, or ISO-8601 text, also in the format of `show_time`. Text without an
        offset is local time in `timezone`; a time that does not exist means the next instant that
        exists, a time that exists twice means the first
    :param timezone: an IANA name
    :param field: the field named in errors
    :return: UNIX seconds, sub-second kept, in the years 1970-9999
    :raises InvalidParams: with `field`, or with `timezone`
    """
    if isinstance(value, str):
        seconds = _parse_iso(value, timezone, field)
    elif is_number(value):
        seconds = value
    else:
        raise _bad_time(value, field)
    if not 0 <= seconds < END_OF_TIME:
        raise _bad_time(value, field)
    return float(seconds)


def _parse_iso(text: str, timezone: str, field: str) -> float:
    zone = check_timezone(timezone)
    found = _ISO_SHAPE.fullmatch(text)
    if found is None:
        raise _bad_time(text, field)
    wall_text, offset_text = found[1], found[2] or ""
    try:
        moment = datetime.fromisoformat(f"{wall_text}{offset_text.replace('UTC', 'Z')}".upper())
    except ValueError as error:
        raise _bad_time(text, field) from error
    if not 1970 - 1 <= moment.year <= 9999:
        raise _bad_time(text, field)
    offset = moment.utcoffset()
    wall = moment.replace(tzinfo=None)
    if offset is not None:
        return (wall - EPOCH - offset).total_seconds()
    early, late = offsets(wall, zone)
    if early < late:
        return first_instant(wall.replace(microsecond=0), zone)
    return (wall - EPOCH).total_seconds() - early


def _bad_time(value: object, field: str) -> InvalidParams:
    return InvalidParams(
        f"`{field}` must be UNIX seconds or ISO-8601 such as '2030-01-31T09:00:00+01:00', in the"
        f" years 1970-9999, not {shown(value)}",
        field=field,
    )
