"""Leaves connections that have fallen silent.

Behind a firewall that has lost its state, a connection answers nothing, not even that it is gone.
Whether its statement takes long or its answer never comes cannot be seen on this connection. A new
one can read in `pg_stat_activity` whether the server still works on the statement.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

from kaiju_tasks.store.base import StoreError, StoreUnavailable
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.connection import Connection

SILENT = "the database does not answer"
IDLE_LOOKS = 2
"""How often in a row the server must be seen not to work on a statement: its answer may just be on
the way."""

Look = Callable[[Collection[str]], Awaitable[Collection[str] | None]]


class Watch:
    """Looks at the connections whose statement has run for long.

    :param look: which of these connections the server works for; None if it does not say
    """

    def __init__(self, look: Look, bounds: Bounds) -> None:
        self._look = look
        self._bounds = bounds
        self._time = asyncio.get_running_loop().time
        self._worked: dict[Connection, tuple[float, float]] = {}
        self._idle: dict[Connection, tuple[float, int]] = {}
        self._silence_at = float("-inf")

    async def look(self, connections: Iterable[Connection]) -> None:
        """Leave the connections that have fallen silent.

        :param connections: those that are in use
        """
        asked = {one: one.asked_at for one in connections if one.asked_at is not None}
        self._worked = {
            one: seen for one, seen in self._worked.items() if asked.get(one) == seen[0]
        }
        self._idle = {one: seen for one, seen in self._idle.items() if asked.get(one) == seen[0]}
        doubted = {one: at for one, at in asked.items() if self._is_doubted(one, at)}
        if not doubted:
            return
        try:
            working = await self._look({one.name for one in doubted})
            answers = "although the database works. A firewall or a proxy may have dropped it"
        except StoreUnavailable as error:
            working, answers = (), f"and another one cannot be opened. {error}".rstrip(".")
        except StoreError:  # the server is there, but does not say what it works on
            working, answers = None, ""
        for one, at in doubted.items():
            if one.asked_at == at:
                self._judge(one, at, working, answers)

    def found_silence(self) -> None:
        """From now on, doubt the connections that are open sooner."""
        self._silence_at = self._time()

    def _is_doubted(self, one: Connection, at: float) -> bool:
        """Whether to look at a statement. Those of connections that were open when another one fell
        silent are looked at sooner: one that has waited for a lock would hold it in vain now."""
        if one.opened_at < self._silence_at:
            return self._time() - at >= self._bounds.look_seconds
        seen = self._worked.get(one, (at, at))[1]
        return self._time() - seen >= self._bounds.doubt_seconds

    def _judge(
        self, one: Connection, at: float, working: Collection[str] | None, answers: str
    ) -> None:
        seconds = self._time() - at
        if one.answer_seconds is not None and seconds > one.answer_seconds:
            one.leave(f"The database did not finish a statement within {seconds:.0f} s.", SILENT)
        elif working is None or one.name in working:
            self._idle.pop(one, None)
            self._worked[one] = at, self._time()
        else:
            looks = self._idle.get(one, (at, 0))[1] + 1
            self._idle[one] = at, looks
            if looks >= IDLE_LOOKS:
                self.found_silence()
                one.leave(
                    f"A connection to the database was silent for {seconds:.0f} s, {answers}.",
                    SILENT,
                )
