"""Bounds how many commands run at once on threads and in processes."""

from collections import deque
from collections.abc import Callable

__all__ = ["PLACE_SECONDS", "Places"]

PLACE_SECONDS = 1.0
"""A task waits so long for a place. Then it is given back: its time runs, and others may have a
place. This is far below the grace after which a manager itself ends a stage."""


class Places:
    """The places of calls that use a thread or a process of their own, in the order of their waits.

    :param size: the number of places, from 1
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._used = 0
        self._waiting: deque[Callable[[], bool]] = deque()
        self._serving = False

    def wait(self, begin: Callable[[], bool]) -> None:
        """Call `begin` when a place is free, at once if there is one.

        :param begin: returns whether it uses the place; then `leave` must be called once
        """
        self._waiting.append(begin)
        self._serve()

    def leave(self) -> None:
        """Free a place."""
        self._used -= 1
        self._serve()

    def _serve(self) -> None:
        if self._serving:  # a call that ends at once leaves its place while it begins
            return
        self._serving = True
        try:
            while self._waiting and self._used < self.size:
                self._used += 1
                if not self._waiting.popleft()():
                    self._used -= 1
        finally:
            self._serving = False
