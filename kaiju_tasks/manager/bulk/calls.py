"""Begins, takes over and stops bulk calls."""

import asyncio
from collections.abc import Callable

from kaiju_tasks.errors import Conflict, NotFound, TooManyRequests
from kaiju_tasks.manager.auth import Authenticator
from kaiju_tasks.manager.bulk.actions import Tools
from kaiju_tasks.manager.bulk.ledger import audit_of_call, save_end
from kaiju_tasks.manager.bulk.run import LOOK_SECONDS, BulkRun
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.recorded import is_recorded
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, Transaction
from kaiju_tasks.store.bulks import StoredBulk
from kaiju_tasks.types import AuditRecord, BulkState

RUNNING_MAX = 4
"""The most bulk calls of a principal that go on at the same time."""
RETRY_SECONDS = 1.0


class BulkCalls:
    """The bulk calls that this manager goes on with.

    A call belongs to the manager that has begun it. When that manager has stopped, or has not
    reached the database for a lease, another one takes the call over.

    :param manager_id: id of this manager
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        auth: Authenticator,
        settings: Settings,
        manager_id: str,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._committer = committer
        self._auth = auth
        self._manager_id = manager_id
        self._lease_seconds = settings.lease_seconds
        self._rows = settings.batch_rows
        self._tools = Tools(new_id, settings.max_run_results_bytes)
        self._turns = asyncio.Lock()
        self._runs: dict[str, tuple[BulkRun, asyncio.Task[None]]] = {}
        self._noticed = asyncio.Event()
        self._noticed.set()  # there may be calls from before
        self._loop = Loop(
            "looking for bulk calls",
            wait=self._noticed.wait,
            work=self.look,
            retry_seconds=RETRY_SECONDS,
        )

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Leave the calls to other managers, or to the next one."""
        await self._loop.stop()
        works = [work for _, work in self._runs.values()]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    @property
    def own(self) -> set[str]:
        """The ids of the calls that this manager goes on with."""
        return set(self._runs)

    # -- calls of clients -------------------------------------------------------------------

    async def begin(self, bulk: StoredBulk) -> StoredBulk:
        """Begin a call on this manager. A call with the same id is begun once.

        :param bulk: its times and its manager are set here
        :returns: the call, which may have ended if it was begun before
        :raises TooManyRequests: the principal has too many calls that go on
        :raises Conflict: there is another call with this id
        :raises Unavailable: the database cannot be reached
        """
        bulk.manager_id, bulk.epoch = self._manager_id, 1

        async def work(tx: Transaction) -> Written[StoredBulk]:
            await tx.lock_bulks()
            await tx.lock([])
            known = await tx.lock_bulk(bulk.id)
            if known is not None:
                return Written(known, [])
            if await tx.running_bulks(bulk.user_id) >= RUNNING_MAX:
                raise TooManyRequests(
                    f"{RUNNING_MAX} bulk calls go on already: wait until one of them has ended, or "
                    "stop one with `bulk.stop`",
                    limit=RUNNING_MAX,
                )
            bulk.started = tx.now
            await tx.add_bulk(bulk)
            await tx.add_audit([audit_of_call(bulk)])
            return Written(bulk, [])

        begun = await self._committer.transact(work)
        if _asked(begun) != _asked(bulk):
            raise Conflict(f"there is another bulk call {bulk.id!r:.300}", id=bulk.id)
        if begun.running and begun.manager_id == self._manager_id:
            self._go_on(begun)
        return begun

    async def wait(self, bulk_id: str, seconds: float) -> StoredBulk:
        """Wait until a call has ended, or until a timeout, and return it as it is then.

        :raises NotFound: there is no such call
        :raises Exception: it has failed on this manager meanwhile
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            run, work = self._runs.get(bulk_id, (None, None))
            if work is not None:
                await asyncio.wait({work}, timeout=max(0.0, until - loop.time()))
            if run is not None and run.failure is not None:
                raise run.failure
            bulk = await self._store.bulk(bulk_id)
            if bulk is None:
                raise NotFound(f"there is no bulk call {bulk_id!r}", id=bulk_id)
            left = until - loop.time()
            if not bulk.running or left <= 0:
                return bulk
            await asyncio.sleep(min(left, LOOK_SECONDS))

    async def stop_call(self, bulk_id: str, user_id: str | None, audit: AuditRecord) -> StoredBulk:
        """Stop a call after the slice that it handles now.

        :param user_id: who stops it
        :raises NotFound: there is no such call
        :raises Conflict: it has ended
        :raises Unavailable: the database cannot be reached
        """

        async def work(tx: Transaction) -> Written[tuple[StoredBulk, bool]]:
            bulk = await tx.lock_bulk(bulk_id)
            if bulk is None:
                raise NotFound(f"there is no bulk call {bulk_id!r}", id=bulk_id)
            stops = bulk.running
            if stops:
                bulk.progress.stopped_by = user_id
                await save_end(tx, bulk, BulkState.STOPPED)
                await tx.add_audit([audit])
            return Written((bulk, stops), [])

        bulk, stopped = await self._committer.transact(work)
        if not stopped and not await is_recorded(self._store, audit):
            raise Conflict(f"the bulk call is {bulk.state} already", status=str(bulk.state))
        return bulk

    # -- going on ---------------------------------------------------------------------------

    def notice(self) -> None:
        """Look soon: there are calls that go on, perhaps without their manager."""
        self._noticed.set()

    async def look(self) -> None:
        """Go on with the calls of this manager, and of managers that are gone."""
        self._noticed.clear()
        seen_since = self._store.clock() - self._lease_seconds
        for bulk_id in await self._store.open_bulks(self._manager_id, seen_since):
            if bulk_id not in self._runs:
                taken = await self._take(bulk_id, seen_since)
                if taken is not None:
                    self._go_on(taken)

    async def _take(self, bulk_id: str, seen_since: float) -> StoredBulk | None:
        """Take a call over. None: it has ended, or its manager is up."""

        async def work(tx: Transaction) -> Written[StoredBulk | None]:
            bulk = await tx.lock_bulk(bulk_id)
            if bulk is None or not bulk.running:
                return Written(None, [])
            if bulk.manager_id != self._manager_id:
                if not await tx.bulk_is_free(bulk, seen_since):
                    return Written(None, [])
                bulk.manager_id = self._manager_id
                bulk.epoch += 1
                await tx.save_bulk(bulk)
            return Written(bulk, [])

        return await self._committer.transact(work)

    def _go_on(self, bulk: StoredBulk) -> None:
        if bulk.id in self._runs:
            return
        run = BulkRun(
            bulk, self._store, self._committer, self._auth, self._tools, self._turns, self._rows
        )
        work = asyncio.create_task(run.run())
        self._runs[bulk.id] = (run, work)
        work.add_done_callback(lambda _: self._runs.pop(bulk.id, None))


def _asked(bulk: StoredBulk) -> tuple[object, ...]:
    """What is the same in each repetition of a call."""
    return bulk.method, bulk.user_id, bulk.order.conditions, bulk.order.args
