"""IANA time zones."""

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from kaiju_tasks.cron.values import shown
from kaiju_tasks.errors import InvalidParams

_ZONE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_NOT_ZONES: Final = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})


def check_timezone(name: str, *, field: str = "timezone") -> ZoneInfo:
    """The zone with an IANA name.

    :param name: such as `Europe/Berlin` or `UTC`, in its exact spelling
    :param field: the field named in errors
    :raises InvalidParams: with `field`
    """
    if isinstance(name, str) and (zone := _zone(name)) is not None:
        return zone
    raise InvalidParams(
        f"`{field}` must be an IANA name such as 'Europe/Berlin' or 'UTC', not {shown(name)}"
        + _zone_hint(name),
        field=field,
    )


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    if not _ZONE_NAME.fullmatch(name) or name.partition("/")[0] in _NOT_ZONES:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _zone_hint(name: object) -> str:
    if not isinstance(name, str):
        return ""
    known = _known_zones()
    exact = known.get(name.lower())
    close = [exact] if exact else get_close_matches(name[:64], known.values(), n=1, cutoff=0.75)
    return f"; did you mean {close[0]!r}?" if close else ""


@lru_cache(maxsize=1)
def _known_zones() -> dict[str, str]:
    return {name.lower(): name for name in sorted(available_timezones())}
