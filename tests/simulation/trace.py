"""What happened, in order: kept short, and hashed so that two runs can be compared."""

import hashlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.simulation.invariants import Invariant

EPOCH = 1_800_000_000.0
TAIL_LINES = 60


class Violation(NamedTuple):
    """Something happened that must never happen.

    :param text: what, and when
    """

    invariant: Invariant
    text: str

    def __str__(self) -> str:
        return f"{self.text} ({self.invariant.name}: {self.invariant})"


class Trace:
    """Lines with virtual time.

    :param clock: virtual seconds
    :param echo: print each line as it comes
    """

    def __init__(self, clock: Callable[[], float], *, echo: bool = False) -> None:
        self._clock = clock
        self._echo = echo
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._hash = hashlib.sha256()
        self.violations: list[Violation] = []

    def __call__(self, who: str, what: str) -> None:
        line = f"{self._clock():10.3f}  {who:<8} {what}"
        self._hash.update(line.encode())
        self._tail.append(line)
        if self._echo:
            print(line, flush=True)

    def violated(self, invariant: Invariant, text: str) -> None:
        """Note that an invariant is broken; the first ones are the ones to read."""
        self("ORACLE", text)
        self.violations.append(Violation(invariant, f"{self._clock():.3f}: {text}"))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def tail(self) -> str:
        return "\n".join(self._tail)


def span(random: Random, low: float, high: float) -> float:
    """A random span of seconds, short ones more likely."""
    return low + (high - low) * random.random() ** 3
