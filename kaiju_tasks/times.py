"""Times as people read them."""

from datetime import UTC, datetime, tzinfo

__all__ = ["show_time"]


def show_time(value: float | str, zone: tzinfo = UTC) -> str:
    """A time in the one form that people see everywhere: `2026-11-26 20:31:05 UTC`.

    `cron.parse_time` reads this form, too.

    :param value: UNIX seconds, or ISO-8601 text with an offset
    :param zone: other than UTC, its offset stands in place of the name: `… 21:31:05 +01:00`
    :returns: the value itself as text where it is outside of the years 1-9999
    """
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else _from_unix(value)
        shown = at.astimezone(zone).isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return str(value)
    return f"{shown[:19]} UTC" if zone is UTC else f"{shown[:19]} {shown[19:]}"


def _from_unix(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
