"""Suggestions for unknown names."""

from difflib import get_close_matches
from functools import lru_cache

__all__ = ["did_you_mean", "nearest"]

LONGEST_NAME = 100
MOST_NAMES = 500
SHOWN_NAMES = 10


@lru_cache(maxsize=1024)
def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """Return the most similar known name. Only the first 500 are compared, which takes time."""
    if len(name) > LONGEST_NAME:
        return None
    near = get_close_matches(name, [k for k in known[:MOST_NAMES] if len(k) <= LONGEST_NAME], n=1)
    return near[0] if near else None


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """Return a hint for an unknown name: the most similar name, or the known names."""
    if near := nearest(name, known):
        return f"did you mean `{near}`?"
    if not known:
        return "no name is allowed"
    names = ", ".join(f"`{one[:LONGEST_NAME]}`" for one in known[:SHOWN_NAMES])
    return f"known names are {names}{', …' if len(known) > SHOWN_NAMES else ''}"
