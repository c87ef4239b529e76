"""Checks the quotas of principals before tasks are created.

Each manager counts in memory what it commits. It counts the open tasks of all principals in the
database when it begins, before it refuses a task, and now and then while a principal is near its
quota: other managers create tasks, too (decision 0057).
"""

import asyncio
import logging
from collections.abc import Iterable

from kaiju_tasks.errors import KaijuError, QuotaExceeded, reason_of
from kaiju_tasks.manager.writing.account import OPEN_TASKS, RATE, Account
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.rights import Quotas, quotas_of
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, StoreError, Transaction
from kaiju_tasks.store.credentials import StoredPrincipal

__all__ = ["Accounts", "Reservation"]

log = logging.getLogger(__name__)

COUNT_SECONDS = 2.0
"""The least time between two counts."""
NEAR_SECONDS = 5.0
"""The time between two counts while a principal is near its quota."""
COUNT_SHARE = 20
"""A count that takes long is not repeated for this many times as long."""
FAILED_SECONDS_MAX = 60.0
"""The longest time after which a count that has failed is tried again."""


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
        self._counted_at = self._count_at = self._retry_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the quotas, and begin to count if there are any.

        :raises StoreError: the database cannot be reached
        """
        doubts = self._doubts
        await self._read_quotas()
        if self._limited():
            self._begin()
        else:
            self._settled = doubts

    async def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

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
        if self._settled != self._doubts:
            await self._refresh()
        if (account := self._accounts.get(owner)) is None:
            return
        try:
            self._check(account, tasks)
        except QuotaExceeded as error:
            if error.data["quota"] != OPEN_TASKS or not self._may_count():
                raise
            await self._refresh()
            self._check(account, tasks)

    def take(self, tx: Transaction, owner: str | None, tasks: int = 1, *, new: bool = True) -> None:
        """Reserve tasks that a transaction creates, or opens again. A principal that this manager
        does not know yet is not refused.

        :param new: whether it creates them
        :raises QuotaExceeded: the owner may not have them
        """
        if owner is None:
            return
        if self._settled != self._doubts:
            self._begin()
        account = self._accounts.get(owner)
        if account is not None:
            self._check(account, tasks, new=new)
            if (reservation := self._open.get(tx)) is not None:
                reservation.take(account, tasks)

    def _check(self, account: Account, tasks: int, *, new: bool = True) -> None:
        now = _now()
        if account.due:
            pause = NEAR_SECONDS if account.near else COUNT_SECONDS
            if now - self._counted_at >= pause and self._may_count():
                self._begin()
        try:
            account.check_open(tasks, self._count_at - now)
        except QuotaExceeded:
            if self._may_count():  # the next attempt knows more
                self._begin()
            raise
        if new:
            account.check_rate(tasks, now)

    def _may_count(self) -> bool:
        return _now() >= self._count_at

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

    # -- what is used ----------------------------------------------------------------------------

    async def uses(self, owner: str | None) -> dict[str, tuple[float, float]]:
        """The quotas of a principal on tasks, and what it uses of them, by name. Those that do not
        limit it are left out."""
        if owner is None:
            return {}
        if self._settled != self._doubts:
            await self._refresh()
        elif self._may_count():
            self._begin()
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

    async def _refresh(self) -> None:
        if self._begin():
            assert self._reading is not None
            await asyncio.shield(self._reading)

    def _begin(self) -> bool:
        """Begin to read, unless that goes on. Returns False shortly after it has failed."""
        if self._reading is not None and not self._reading.done():
            return True
        if _now() < self._retry_at:
            return False
        self._reading = asyncio.create_task(self._read())
        return True

    async def _read(self) -> None:
        doubts, began = self._doubts, _now()
        try:
            await self._read_quotas()
            if began >= self._count_at and self._limited():
                await self._count()
        except (StoreError, KaijuError) as error:
            self._retry_at = _now() + min(FAILED_SECONDS_MAX, _pause_after(_now() - began))
            log.warning("the tasks of principals cannot be counted: %s", reason_of(error))
        else:
            self._settled = doubts

    async def _read_quotas(self) -> None:
        found = await self._store.principals()
        now = _now()
        for one in found:
            quotas = quotas_of(one.kind, one.quotas, self._defaults)
            if (account := self._accounts.get(one.id)) is None:
                self._accounts[one.id] = Account(one.id, quotas, now)
            else:
                account.set_quotas(quotas, now)

    def _limited(self) -> bool:
        return any(account.quotas.open_tasks for account in self._accounts.values())

    async def _count(self) -> None:
        began = _now()
        for account in self._accounts.values():
            account.counting()
        try:
            counts = await self._store.open_tasks()
        finally:
            ended = _now()
            self._counted_at = began
            self._count_at = began + _pause_after(ended - began)
        for owner, account in self._accounts.items():
            account.counted(counts.get(owner, 0))


def _pause_after(seconds: float) -> float:
    """How long nothing is counted after a count of this length."""
    return max(COUNT_SECONDS, COUNT_SHARE * seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()
