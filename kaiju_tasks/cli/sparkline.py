"""Numbers as a line of bars, each as wide as a character."""

import sys
from collections.abc import Sequence

__all__ = ["narrowed", "sparkline"]

BARS, DIGITS = "▁▂▃▄▅▆▇█", "12345678"
"""Both sort in the order of their height, after the space that stands for nothing."""


def sparkline(values: Sequence[float]) -> str:
    """Draw numbers from 0: the greatest has the full height, and 0 is a space. Digits replace the
    bars if standard output cannot show them."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    bars, most = BARS if unicode else DIGITS, max(values, default=0)
    return "".join(
        bars[min(len(bars) - 1, int(value / most * len(bars)))] if value > 0 else " "
        for value in values
    )


def narrowed(line: str, room: int) -> str:
    """Narrow a sparkline: of bars that share a character, the highest is shown."""
    size = len(line)
    if size <= room:
        return line
    return "".join(
        max(line[at * size // room : (at + 1) * size // room]) for at in range(max(0, room))
    )
