"""Wraps a connection to PostgreSQL: it raises store errors, and is left when it breaks."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from kaiju_tasks.store.base import StoreError, StoreUnavailable
from kaiju_tasks.store.postgres.errors import brief_of, leaves, translation

T = TypeVar("T")

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_KEYED = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "default_transaction_isolation": "'read committed'",
}
PLAN_BY_KEYS = "; ".join(f"SET {name} = {value}" for name, value in _KEYED.items())
PLAN_LOCALLY_BY_KEYS = PLAN_BY_KEYS.replace("SET ", "SET LOCAL ")
_PLAN_FREELY = "; ".join(f"RESET {name}" for name in _KEYED)


class Connection:
    """A connection, used by one caller at a time.

    :param raw: the connection of asyncpg
    :param name: its `application_name`, by which the server can be asked about it
    :param on_left: called with the name and the reason when the connection was left because it is
        broken
    :param answer_seconds: no statement runs longer; None for no limit
    :param local_settings: a statement that each transaction needs at its begin, because a pooler
        gives it a session without our settings; "" if the session has them. Then every statement
        needs a transaction, too: it is prepared before it is run, in the same session.
    :ivar asked_at: when the running statement was sent, in the loop's seconds; None if none runs
    :ivar keyed: how its statements are planned, see `plan`
    :ivar used_at: when the connection was last released
    """

    def __init__(
        self,
        raw: Any,
        name: str,
        on_left: Callable[[str, str], None],
        answer_seconds: float | None,
        local_settings: str = "",
    ) -> None:
        self.name = name
        self.answer_seconds = answer_seconds
        self._raw = raw
        self._local_settings = local_settings
        self._on_left = on_left
        self._time = asyncio.get_running_loop().time
        self._left: StoreUnavailable | None = None
        self._interrupted = False
        self.keyed = False
        self.opened_at = self.used_at = self._time()
        self.asked_at: float | None = None

    @property
    def is_open(self) -> bool:
        return not self._raw.is_closed()

    @property
    def is_clean(self) -> bool:
        """Whether it is open and has neither a transaction nor an interrupted statement."""
        raw = self._raw
        return not (self._interrupted or raw.is_closed() or raw.is_in_transaction())

    async def plan(self, *, keyed: bool) -> None:
        """Set how statements are planned from now on. It asks the server only for a change.

        Every statement of a transaction finds its rows by keys. With stale statistics the planner
        would sometimes scan the table. Restricted to indexes, one generic plan is as good as any
        other, so that each statement is planned once.

        :param keyed: whether all statements find their rows by keys
        """
        if keyed != self.keyed and not self._local_settings:
            await self.execute(PLAN_BY_KEYS if keyed else _PLAN_FREELY)
        self.keyed = keyed

    async def fetch(self, text: str, *values: Any) -> list[Any]:
        found: list[Any] = await self._run(lambda: self._raw.fetch(text, *values))
        return found

    async def fetch_committed(self, text: str, *values: Any) -> list[Any]:
        """Run a statement that is a transaction of its own.

        :raises StoreUnavailable: it failed, or its outcome is unknown
        """
        if self._local_settings:
            return await self.fetch(text, *values)
        found: list[Any] = await self._ask(self._raw.fetch(text, *values), unknown=True)
        return found

    async def fetchval(self, text: str, *values: Any) -> Any:
        return await self._run(lambda: self._raw.fetchval(text, *values))

    async def execute(self, text: str, *values: Any) -> str:
        """Run a statement. Returns its command tag."""
        return str(await self._run(lambda: self._raw.execute(text, *values)))

    async def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._run(lambda: self._raw.executemany(text, rows))

    async def begin(self, more: str = "") -> None:
        """Begin a transaction.

        :param more: further statements
        """
        planning = PLAN_LOCALLY_BY_KEYS if self._local_settings and self.keyed else ""
        statements = (_BEGIN, self._local_settings, planning, more)
        await self._ask(self._raw.execute("; ".join(filter(None, statements))))

    async def rollback(self) -> None:
        await self._ask(self._raw.execute("ROLLBACK"))

    async def commit(self) -> None:
        """:raises StoreUnavailable: the commit failed, or its outcome is unknown"""
        tag = await self._ask(self._raw.execute("COMMIT"), unknown=True)
        if tag != "COMMIT":
            raise StoreUnavailable("The transaction was rolled back: a statement had failed.")

    async def recover(self, seconds: float) -> None:
        """Cancel an interrupted statement and roll back; leave the connection if that fails."""
        try:
            async with asyncio.timeout(seconds):
                await self.rollback()
            self._interrupted = False
        except TimeoutError:
            self.leave(f"A rollback was not answered within {seconds:g} s.", "it does not answer")
        except Exception:
            self.terminate()

    def leave(self, text: str, brief: str) -> None:
        """Cut a broken connection. The statement that runs raises StoreUnavailable.

        :param text: why, as a sentence
        :param brief: why, for callers
        """
        self._left = StoreUnavailable(text, brief=brief)
        self._raw.terminate()
        self._on_left(self.name, text)

    def terminate(self) -> None:
        self._raw.terminate()

    async def close(self, seconds: float) -> None:
        """Close in good order, or cut the connection if that takes too long."""
        try:
            async with asyncio.timeout(seconds):
                await self._raw.close()
        except Exception:
            self._raw.terminate()

    async def _run(self, statement: Callable[[], Awaitable[T]]) -> T:
        if not self._local_settings or self._raw.is_in_transaction():
            return await self._ask(statement())
        await self.begin()
        try:
            answer = await self._ask(statement())
        except Exception:
            if self.is_open:
                with contextlib.suppress(StoreError):  # the first error counts
                    await self.rollback()
            raise
        await self.commit()
        return answer

    async def _ask(self, answer: Awaitable[T], *, unknown: bool = False) -> T:
        self.asked_at = self._time()
        try:
            return await answer
        except Exception as error:
            raise self._failure(error, unknown) from error
        except BaseException:
            self._interrupted = True
            raise
        finally:
            self.asked_at = None

    def _failure(self, error: Exception, unknown: bool) -> Exception:
        if (left := self._left) is not None:
            return StoreUnavailable(str(left), unknown=unknown, brief=left.brief)
        failure = translation(error, unknown=unknown)
        if leaves(error):
            self.leave(str(failure), brief_of(error))
        return failure
