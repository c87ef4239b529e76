"""How long to wait before trying again."""

from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Doubles from `first` to `most`, each time scattered down to its half.

    :param first: seconds
    :ivar most: seconds
    """

    def __init__(self, random: Random, *, first: float = 0.1, most: float = 5.0) -> None:
        self._random = random
        self._first = first
        self.most = most
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait now; more at the next call."""
        whole = min(self.most, self._first * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return whole * self._random.uniform(0.5, 1.0)

    def reset(self, tries: int = 0) -> None:
        """Start again with `first`: it worked.

        :param tries: start as if there had been so many tries, from 0
        """
        self._tries = tries
