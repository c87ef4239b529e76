"""The time functions of templates: ISO 8601 from UNIX seconds or an ISO text."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.local_time import first_instant, offsets
from kaiju_tasks.templates.values import is_number, shown, type_name

__all__ = ["as_date", "as_datetime"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}", re.ASCII)


def as_date(value: Any, zone: Any = "UTC") -> str:
    """The date of a time.

    :param value: UNIX seconds, or ISO text; without an offset it is read in `zone`
    :param zone: IANA name
    :returns: `YYYY-MM-DD` in `zone`
    :raises TemplateError: there is no such time or zone
    """
    return _moment(value, zone).date().isoformat()


def as_datetime(value: Any, zone: Any = "UTC") -> str:
    """A time as ISO text with its offset.

    :param value: UNIX seconds, or ISO text; without an offset it is read in `zone`. A time that
        does not exist there means the next instant that exists, one that exists twice the first
    :param zone: IANA name
    :returns: `YYYY-MM-DDTHH:MM:SS[.ffffff]±HH:MM` in `zone`
    :raises TemplateError: there is no such time or zone
    """
    return _moment(value, zone).isoformat()


def _moment(value: Any, zone_name: Any) -> datetime:
    zone = _zone(zone_name)
    try:
        return _read(value, zone).astimezone(zone)
    except (ValueError, OverflowError) as error:
        raise TemplateError(
            "needs UNIX seconds or an ISO 8601 text between the years 1 and 9999,"
            f" but there is no such time: {error}."
        ) from error


def _read(value: Any, zone: tzinfo) -> datetime:
    if isinstance(value, str):
        if ISO.fullmatch(value) is None:
            raise TemplateError(
                f"needs an ISO 8601 text such as 2026-11-22T10:30:00Z, but got {shown(value)}."
            )
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else _from_wall(moment, zone)
    if is_number(value):
        return EPOCH + timedelta(seconds=value)
    raise TemplateError(f"needs UNIX seconds or an ISO 8601 text, but got {type_name(value)}.")


def _from_wall(wall: datetime, zone: tzinfo) -> datetime:
    """As in `cron.parse_time`: the first of two, or the next instant that exists."""
    early, late = offsets(wall, zone)
    if early < late:
        return EPOCH + timedelta(seconds=first_instant(wall.replace(microsecond=0), zone))
    return wall.replace(tzinfo=zone)


def _zone(name: Any) -> tzinfo:
    if name == "UTC":
        return UTC
    if not isinstance(name, str):
        raise TemplateError(f"needs the zone's IANA name as a text, but got {type_name(name)}.")
    unknown = TemplateError(f"needs an IANA zone such as Europe/Berlin, but got {shown(name)}.")
    if ZONE_NAME.fullmatch(name) is None:
        raise unknown
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise unknown from None
