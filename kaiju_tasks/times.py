"""Times as text."""

from datetime import UTC, datetime, tzinfo

__all__ = ["iso_moment", "seconds_of", "show_time"]


def iso_moment(seconds: float) -> str:
    """Format a time for programs, as in `created`. Text in this format sorts in the order of time.

    :param seconds: UNIX seconds
    """
    return _from_unix(seconds).isoformat(timespec="microseconds")


def seconds_of(text: str) -> float | None:
    """The time that `iso_moment` has formatted, UNIX seconds; None if the text is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def show_time(value: float | str, zone: tzinfo = UTC) -> str:
    """Format a time for people: `2026-11-26 20:31:05 UTC`.

    All output for people uses this format, and `cron.parse_time` reads it.

    :param value: UNIX seconds, or ISO-8601 text with an offset
    :param zone: time zone of the output; outside UTC it ends in the offset: `… 21:31:05 +01:00`
    :returns: the time, or the value as text if it is outside the years 1-9999
    """
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else _from_unix(value)
        shown = at.astimezone(zone).isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return str(value)
    return f"{shown[:19]} UTC" if zone is UTC else f"{shown[:19]} {shown[19:]}"


def _from_unix(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
