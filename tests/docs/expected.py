"""Compares what a page shows with what was printed: what differs from run to run may differ."""

import re
from collections.abc import Sequence

ID = r"[0-9a-f]{32}|[0-9a-f]{4}…"
VARYING = {
    rf"(?<![\w…])(?:{ID})(?!\w)": "([0-9a-f]{4,32})",
    "…": r".*?",
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?",
    r"\d+\.\d+ ?s\b": r"\d+\.\d+ ?s\b",
    r"\d+(?= distributions| files| match| without a hash| changed| missing)": r"\d+",
    r"(?:held|open)(?=  )": "(?:held|open)",
    r"skipped(?=, )": "(?:skipped|finished)",
    r"/tmp/[\w./-]+/": r"/\S+/",
    r" {2,}": r" {2,}",
}
"""What varies in a line of a page, and what may be printed in its place. An id is a group."""
VARIES = re.compile("|".join(f"({pattern})" for pattern in VARYING))
ANY_LINES = "…"


def pattern_of(line: str) -> "re.Pattern[str]":
    """What is printed where a page shows this line; its groups are ids."""
    parts, end = [], 0
    for found in VARIES.finditer(line):
        parts += [re.escape(line[end : found.start()]), _printed(found)]
        end = found.end()
    return re.compile("".join([*parts, re.escape(line[end:])]) + r"\s*")


def ids_of(line: str) -> list[str]:
    """The ids that a line of a page shows."""
    return re.findall(rf"(?<![\w…])(?:{ID})(?!\w)", line)


def match(expected: Sequence[str], printed: Sequence[str]) -> dict[str, str]:
    """Compare all lines, in their order; the line `…` stands for any lines.

    :returns: the ids that were printed, by the ids that the page shows
    :raises AssertionError: names the first line that does not match
    """
    ids: dict[str, str] = {}
    left, skip = list(printed), False
    for line in expected:
        if line.strip() == ANY_LINES:
            skip = True
            continue
        found = None
        while left and (found := pattern_of(line).fullmatch(left.pop(0))) is None and skip:
            pass
        assert found is not None, f"{line!r} was not printed; printed was:\n" + "\n".join(printed)
        ids.update(zip(ids_of(line), found.groups(), strict=True))
        skip = False
    assert skip or not left, "more was printed than is shown:\n" + "\n".join(left)
    return ids


def match_among(expected: Sequence[str], printed: Sequence[str]) -> dict[str, str]:
    """As `match`; any lines may be printed between, before and behind."""
    return match([ANY_LINES, *(part for line in expected for part in (line, ANY_LINES))], printed)


def _printed(found: re.Match[str]) -> str:
    index = found.lastindex
    assert index is not None
    return list(VARYING.values())[index - 1]
