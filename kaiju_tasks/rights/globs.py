"""Globs: `*` is any text, `?` is any character, and every other character stands for itself.

A glob is matched on the whole name, and there is no way to escape a wildcard. The work is at most
the product of both lengths.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

__all__ = ["ALL", "any_covers", "any_matches", "covers", "is_literal", "matches"]

ALL = "*"
"""The glob that matches every name."""

_WILDCARDS = re.compile(r"[*?]*\*[*?]*")


@lru_cache(maxsize=4096)
def matches(glob: str, name: str) -> bool:
    """Whether a glob matches a whole name. Case is significant.

    Rights are checked for each task, with few globs and names: the answers are kept.
    """
    return glob == ALL or _absorbs(glob, name, lambda symbol, character: symbol in ("?", character))


def any_matches(globs: Iterable[str], name: str) -> bool:
    """Whether one of the globs matches a name."""
    return any(matches(glob, name) for glob in globs)


@lru_cache(maxsize=4096)
def covers(wide: str, narrow: str) -> bool:
    """Whether a glob matches every name that another glob matches. The answers are kept."""
    return _absorbs(_normal(wide), _normal(narrow), _stands_for)


def any_covers(wide: Sequence[str], narrow: Iterable[str]) -> bool:
    """Whether each of the narrow globs is covered by one of the wide globs."""
    return all(any(covers(one, glob) for one in wide) for glob in narrow)


def is_literal(glob: str) -> bool:
    """Whether a glob matches one name only: itself."""
    return "*" not in glob and "?" not in glob


def _stands_for(symbol: str, other: str) -> bool:
    """Whether a symbol of a glob matches all that one symbol of another glob matches. A `*` of the
    other glob can only be absorbed by a `*`."""
    return other != "*" and symbol in ("?", other)


def _normal(glob: str) -> str:
    """The same glob with `?` before `*` in each group of wildcards that contains a `*`."""
    return _WILDCARDS.sub(lambda found: "?" * found[0].count("?") + "*", glob)


def _absorbs(glob: str, text: str, fits: Callable[[str, str], bool]) -> bool:
    """Match symbol by symbol. After a failure, the last `*` takes one character more."""
    at = position = 0
    star, resumed = -1, 0
    while position < len(text):
        if at < len(glob) and glob[at] == "*":
            star, resumed = at, position
            at += 1
        elif at < len(glob) and fits(glob[at], text[position]):
            at += 1
            position += 1
        elif star >= 0:
            resumed += 1
            at, position = star + 1, resumed
        else:
            return False
    return all(symbol == "*" for symbol in glob[at:])
