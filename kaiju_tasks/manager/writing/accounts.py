"""Checks the quotas of principals before tasks are created.

Each manager counts in memory what it commits. It counts the open tasks of all principals in the
database when it begins, before it refuses a task, and now and then while a principal is near its
quota: other managers create and end tasks, too (decision 0057). Only a call that would be refused
waits for a count, and it is only refused after a recent one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kaiju_tasks.errors import KaijuError, QuotaExceeded, reason_of
from kaiju_tasks.manager.writing.account import OPEN_TASKS, RATE, Account
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.rights import Quotas, quotas_of
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, StoreError, Transaction
from kaiju_tasks.store.credentials import StoredPrincipal

__all__ = ["Accounts", "Reservation"]

log = logging.getLogger(__name__)

T = TypeVar("T")

COUNT_SECONDS = 2.0
"""The least time between two counts."""
NEAR_SECONDS = 5.0
"""The time between two counts while a principal is near its quota."""
COUNT_SHARE = 20
"""A count that takes long is not repeated for this many times as long."""
PAUSE_SECONDS_MAX = 60.0
"""The longest time between the end of a count and the next, or after a read that has failed."""
RECENT_SECONDS = 5.0
"""A task is refused after a count that is not older than this."""
COUNT_SECONDS_MAX = 15.0
"""A count that takes longer has failed, the wait for a connection included."""


class Reservation:
    """The tasks that a transaction creates, over all its attempts."""

    def __init__(self) -> None:
        self._taken: list[tuple[Account, int]] = []

    def take(self, account: Account, tasks: int) -> None:
        account.reserved += tasks
        self._taken.append((account, tasks))

    def release(self) -> None:
        """Give back what was reserved: the tasks are committed, or are not created."""
        for account, tasks in self._taken:
            account.reserved -= tasks
        self._taken.clear()


class Accounts:
    """The quotas of all principals, and what they use.

    :param settings: have the quotas of principals that have none of their own
    :ivar counted_at: when the last count of open tasks began, in seconds of the event loop
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._defaults = Quotas(
            open_tasks=settings.max_open_tasks,
            creates_per_second=settings.max_creates_per_second,
            pauses=settings.max_pauses,
        )
        self._accounts: dict[str, Account] = {}
        self._open: dict[Transaction, Reservation] = {}
        self._doubts = 0
        self._settled = -1
        self._read_at = self._count_at = float("-inf")
        self.counted_at = self._count_ended_at = float("-inf")
        self._count_failed = self._stopped = False
        self._reading: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the quotas, and begin to count if there are any.

        :raises StoreError: the database cannot be reached
        """
        doubts = self._doubts
        await self._read_quotas()
        self._settled = doubts
        self._begin_count()

    async def stop(self) -> None:
        """End what is under way. Nothing is read or counted afterwards."""
        self._stopped = True
        if running := [one for one in (self._reading, self._counting) if one is not None]:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def changed(self) -> None:
        """Quotas have changed, or may have."""
        self._doubts += 1

    # -- checks ----------------------------------------------------------------------------------

    async def admit(self, owner: str | None, tasks: int = 1) -> None:
        """Check whether a principal may create tasks. Only the transaction that creates them
        reserves them.

        :param owner: None for a caller without a name, who has no quotas
        :raises QuotaExceeded: it may not
        """
        if owner is None:
            return
        asked, known = _now(), self.counted_at
        if self._settled != self._doubts:
            await _ended(self._begin_read())
        if (account := self._accounts.get(owner)) is None:
            return
        try:
            self._check(account, tasks)
        except QuotaExceeded as error:
            if not await self.recount(error, asked, known):
                raise
            self._check(account, tasks)

    async def attempt(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write what a quota may refuse, and once more unless a recent count confirms the refusal.

        :param write: writes nothing if it raises QuotaExceeded
        :raises QuotaExceeded: a quota refuses it
        """
        asked, known = _now(), self.counted_at
        try:
            return await write()
        except QuotaExceeded as error:
            if not await self.recount(error, asked, known):
                raise
        return await write()

    async def recount(self, refusal: QuotaExceeded, asked: float, known: float) -> bool:
        """Wait for a count, unless a recent one confirms the refusal. All calls wait for the same
        count, for a bounded time.

        :param asked: when the call began, in seconds of the event loop
        :param known: when the count began that was the last one then
        :returns: whether the call may be tried again
        """
        oldest = asked - RECENT_SECONDS
        is_final = known >= oldest and not self._may_count()
        if refusal.data["quota"] != OPEN_TASKS or self._stopped or is_final:
            return False
        for _ in range(2):  # one that goes on may have begun long before
            if self.counted_at < oldest or self.counted_at == known:
                await _ended(self._begin_count(asked=True))
            if self._count_failed:
                break
        return True

    def is_outdated(self, refusal: QuotaExceeded) -> bool:
        """Whether a refusal rests on a count that has ended long ago."""
        recent = _now() - self._count_ended_at <= RECENT_SECONDS
        return refusal.data["quota"] == OPEN_TASKS and not (recent or self._stopped)

    def take(self, tx: Transaction, owner: str | None, tasks: int = 1, *, new: bool = True) -> None:
        """Reserve tasks that a transaction creates, or opens again. A principal that this manager
        does not know yet is not refused.

        :param new: whether it creates them
        :raises QuotaExceeded: the owner may not have them
        """
        if owner is None:
            return
        if self._settled != self._doubts:
            self._begin_read()
        account = self._accounts.get(owner)
        if account is not None:
            self._check(account, tasks, new=new)
            if (reservation := self._open.get(tx)) is not None:
                reservation.take(account, tasks)

    def _check(self, account: Account, tasks: int, *, new: bool = True) -> None:
        now = _now()
        if account.due:
            pause = NEAR_SECONDS if account.near else COUNT_SECONDS
            if now - self.counted_at >= pause:
                self._begin_count()
        if not self._count_failed:  # its tasks may have ended elsewhere
            try:
                count_at = min(self._count_at, self.counted_at + RECENT_SECONDS)
                account.check_open(tasks, count_at - now)
            except QuotaExceeded as error:  # the next attempt knows more
                self._begin_count(asked=self.is_outdated(error))
                raise
        if new:
            account.check_rate(tasks, now)

    # -- transactions ----------------------------------------------------------------------------

    def open(self, tx: Transaction, reservation: Reservation) -> None:
        """An attempt of a transaction begins."""
        reservation.release()
        self._open[tx] = reservation

    def close(self, tx: Transaction) -> None:
        """An attempt of a transaction has ended."""
        self._open.pop(tx, None)

    def committed(self, changes: Iterable[Change]) -> None:
        """Count what was committed."""
        if not self._accounts:
            return
        now = _now()
        for change in changes:
            account = self._accounts.get(change.definition.user_id or "")
            step, before = change.step, change.before
            if account is not None and (before is not None or step.definition is not None):
                account.committed(before, None if step.deleted else step.row, now)

    def in_doubt(self, changes: Iterable[Change]) -> None:
        """Count the tasks of the owners of these changes again: it is in doubt whether they were
        committed, and the next attempt may not show what they were."""
        for change in changes:
            account = self._accounts.get(change.definition.user_id or "")
            if account is not None:
                account.in_doubt = True

    # -- what is used ----------------------------------------------------------------------------

    async def uses(self, owner: str | None) -> dict[str, tuple[float, float]]:
        """The quotas of a principal on tasks, and what it uses of them, by name. Those that do not
        limit it are left out."""
        if owner is None:
            return {}
        if self._settled != self._doubts:
            await _ended(self._begin_read())
        self._begin_count()
        if (account := self._accounts.get(owner)) is None:
            return {}
        quotas = account.quotas
        uses = {
            OPEN_TASKS: (quotas.open_tasks or 0, account.open),
            RATE: (quotas.creates_per_second or 0, account.used_rate(_now())),
        }
        return {name: use for name, use in uses.items() if use[0]}

    def pauses_of(self, owner: str) -> int:
        """The most pauses of a principal that was read before; 0 for no limit."""
        account = self._accounts.get(owner)
        return 0 if account is None else account.quotas.pauses or 0

    def most_pauses(self, principal: StoredPrincipal | None) -> int:
        """The most pauses of a principal; 0 for no limit."""
        if principal is None:
            return 0
        return quotas_of(principal.kind, principal.quotas, self._defaults).pauses or 0

    # -- counts ----------------------------------------------------------------------------------

    def _begin_read(self) -> asyncio.Task[None] | None:
        """Begin to read the quotas, unless that goes on or has failed shortly before.

        :returns: what reads them, or has read them last
        """
        if not (_is_running(self._reading) or self._stopped or _now() < self._read_at):
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        doubts, began = self._doubts, _now()
        try:
            await self._read_quotas()
        except (StoreError, KaijuError) as error:
            self._read_at = _next(began)
            log.warning("the quotas of principals cannot be read: %s", reason_of(error))
        else:
            self._settled = doubts
            self._begin_count()

    async def _read_quotas(self) -> None:
        found = await self._store.principals()
        now = _now()
        for one in found:
            quotas = quotas_of(one.kind, one.quotas, self._defaults)
            if (account := self._accounts.get(one.id)) is None:
                self._accounts[one.id] = Account(one.id, quotas, now)
            else:
                account.set_quotas(quotas, now)

    def _may_count(self) -> bool:
        return _now() >= self._count_at

    def _begin_count(self, *, asked: bool = False) -> asyncio.Task[None] | None:
        """Begin to count, if there is a quota of open tasks, unless that goes on or it is too soon.

        :param asked: whether a refusal depends on it, so that it is not too soon
        :returns: what counts, or has counted last
        """
        too_soon = not (asked or self._may_count())
        busy = _is_running(self._counting) or self._stopped or too_soon
        if not busy and any(one.quotas.open_tasks for one in self._accounts.values()):
            self._counting = asyncio.create_task(self._count())
        return self._counting

    async def _count(self) -> None:
        began, counted = _now(), list(self._accounts.values())
        for account in counted:
            account.counting()
        try:
            async with asyncio.timeout(COUNT_SECONDS_MAX):
                found = await self._store.open_tasks()
        except (StoreError, KaijuError, TimeoutError) as error:
            self._count_failed = True
            for account in counted:
                account.in_doubt = True
            log.warning("the tasks of principals cannot be counted: %s", reason_of(error))
        else:
            self._count_failed = False
            for account in counted:
                account.counted(found.get(account.owner, 0))
        finally:
            self.counted_at, self._count_ended_at = began, _now()
            self._count_at = _next(began)


async def _ended(task: asyncio.Task[None] | None) -> None:
    """Wait for the end of a task, also one that is cancelled."""
    if task is not None and not task.done():
        await asyncio.wait({task})


def _is_running(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


def _next(began: float) -> float:
    """When to repeat what has begun at this time and ends now."""
    now = _now()
    return now + min(PAUSE_SECONDS_MAX, max(COUNT_SECONDS, COUNT_SHARE * (now - began)))


def _now() -> float:
    return asyncio.get_running_loop().time()
