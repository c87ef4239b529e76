"""Remembers the tokens of ended leases, so that late messages about them have no effect."""

from collections import OrderedDict

from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.segment import Token

__all__ = ["Recent"]


class Recent:
    """A bounded set of tokens.

    :param seconds: how long a token is remembered, at most
    :param limit: maximum number of tokens
    """

    def __init__(self, clock: Clock, *, seconds: float = 300.0, limit: int = 50_000) -> None:
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        # The first key of a dict is searched for behind all the deleted ones.
        self._until: OrderedDict[Token, float] = OrderedDict()

    def add(self, token: Token) -> None:
        """Remember a token, starting now."""
        now = self._clock.time()
        self._until.pop(token, None)
        self._until[token] = now + self._seconds
        oldest = next(iter(self._until))
        while len(self._until) > self._limit or self._until[oldest] <= now:
            del self._until[oldest]
            oldest = next(iter(self._until))

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, token: Token) -> bool:
        until = self._until.get(token)
        return until is not None and until > self._clock.time()
