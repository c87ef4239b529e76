"""Which of two versions of an application is the newer one."""

import re

__all__ = ["is_newer"]

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)(.*)", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"\d+|[a-z]+", re.IGNORECASE)
_AFTER = ("post", "patch", "hotfix")

Key = tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]


def is_newer(version: str, than: str) -> bool:
    """Whether a version is newer than another: 1.10 than 1.9, 2.0 than 2.0rc1, and any number than
    a text that does not begin with one, such as the hash of a commit. Of two such texts, neither is
    newer.
    """
    new, old = _key(version), _key(than)
    if new is None or old is None:
        return new is not None and old is None
    return new > old


def _key(version: str) -> Key | None:
    match = _NUMBERS.fullmatch(version.strip())
    if match is None:
        return None
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest, _, build = match[2].partition("+")
    parts = [part.lower() for part in _PART.findall(rest)]
    rank = _rank(parts[0]) if parts else 0
    tail = [*parts, *(part.lower() for part in _PART.findall(build))]
    return tuple(numbers), rank, tuple(_part_key(part) for part in tail)


def _rank(first: str) -> int:
    """Where a version with a suffix stands: below 0, before the one without."""
    if first == "dev":
        return -2
    return 1 if first in _AFTER or first.isdigit() else -1


def _part_key(part: str) -> tuple[int, int, str]:
    return (1, int(part), "") if part.isdigit() else (0, 0, part)
