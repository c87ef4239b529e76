"""Which known name was meant."""

from difflib import get_close_matches
from functools import lru_cache

__all__ = ["did_you_mean", "nearest"]

LONGEST_NAME = 100
MOST_NAMES = 500
SAID_NAMES = 10


@lru_cache(maxsize=1024)
def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The known name most like this one; among the first 500, as comparing takes its time."""
    if len(name) > LONGEST_NAME:
        return None
    near = get_close_matches(name, [k for k in known[:MOST_NAMES] if len(k) <= LONGEST_NAME], n=1)
    return near[0] if near else None


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """What to write instead of an unknown name: the nearest one, or which there are."""
    if near := nearest(name, known):
        return f"did you mean `{near}`?"
    if not known:
        return "none is taken"
    said = ", ".join(f"`{one[:LONGEST_NAME]}`" for one in known[:SAID_NAMES])
    return f"known are {said}{', …' if len(known) > SAID_NAMES else ''}"
