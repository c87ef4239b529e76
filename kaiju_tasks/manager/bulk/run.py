"""Goes on with one bulk call, slice by slice, until it has ended."""

import asyncio
import logging
from collections.abc import Sequence

from kaiju_tasks.errors import (
    Forbidden,
    InternalError,
    KaijuError,
    TooLarge,
    Unauthorized,
    Unavailable,
    reason_of,
)
from kaiju_tasks.lifecycle import Step, TaskState
from kaiju_tasks.manager.auth import Authenticator
from kaiju_tasks.manager.bulk.actions import ACTIONS, Tools
from kaiju_tasks.manager.bulk.ledger import NoLongerMatches, Reselect, Slice, end_call
from kaiju_tasks.manager.bulk.task_matcher import TaskMatcher
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.entries import Checked
from kaiju_tasks.manager.writing.run_rights import check_hold
from kaiju_tasks.rights import NOBODY, Kind, Principal, may_call, sight_of
from kaiju_tasks.store.base import Condition, Store, StoreError, Transaction
from kaiju_tasks.store.bulks import BrokenOrder, StoredBulk
from kaiju_tasks.store.query import sight_conditions
from kaiju_tasks.types import BulkState

log = logging.getLogger(__name__)

Selected = tuple[str, int, int]
"""Id, `rev` and `version` of a task."""

SLICE_ROWS = 200
SLICE_BYTES = 4 * 1024 * 1024
"""The most bytes of messages in a slice."""
PACE_SECONDS = 0.1
"""Seconds between two slices of a call with a rate, if the rate is high enough."""
LOOK_SECONDS = 1.0
"""The longest time in which a call does not look whether it may go on."""
RETRY_SECONDS = 1.0
MISSED_MAX = 5
"""After so many selections whose tasks have changed meanwhile, one is tested in the loop."""
LASTS_SECONDS_MAX = 36 * 3600.0
"""A call that takes longer fails: it must not surprise anybody days later."""


class BulkRun:
    """Goes on with one call on this manager.

    It handles tasks in the order of their ids. A slice is one transaction: its tasks, the counts
    and the cursor are written together, so that each task is handled once, whatever fails.

    :param bulk: the call as this manager has begun it or taken it over
    :param turns: lets one call of this manager act at a time, so that calls share it fairly
    :param rows: the most tasks in a slice
    :ivar failure: the error with which it has failed on this manager
    """

    def __init__(
        self,
        bulk: StoredBulk,
        store: Store,
        committer: Committer,
        auth: Authenticator,
        tools: Tools,
        turns: asyncio.Lock,
        rows: int,
    ) -> None:
        self._id = bulk.id
        self._epoch = bulk.epoch
        self._store = store
        self._committer = committer
        self._auth = auth
        self._tools = tools
        self._turns = turns
        self._most = max(1, min(SLICE_ROWS, rows))
        self._size = self._most
        self._missed = 0
        self._turn = 0.0
        self.failure: Exception | None = None

    async def run(self) -> None:
        """Return when it has ended, or when another manager goes on with it."""
        while True:
            try:
                bulk = await self._mine()
                if bulk is None or not await self._go_on(bulk):
                    return
            except (Unavailable, StoreError) as error:
                log.warning("bulk call %s will go on: %s", self._id, reason_of(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _mine(self) -> StoredBulk | None:
        """The call, if this manager goes on with it."""
        bulk = await self._store.bulk(self._id)
        if bulk is None or not bulk.running or bulk.epoch != self._epoch:
            return None
        return bulk

    async def _go_on(self, bulk: StoredBulk) -> bool:
        """Handle the next slice, or end the call.

        :returns: whether it goes on
        """
        try:
            return await self._next_slice(bulk)
        except (Unavailable, StoreError):
            raise
        except KaijuError as error:
            log.warning("bulk call %s has failed: %s", self._id, error)
            await self._fail(bulk, error)
        except Exception as error:
            log.exception("bulk call %s has failed", self._id)
            await self._fail(bulk, error)
        return False

    async def _fail(self, bulk: StoredBulk, error: Exception) -> None:
        known = isinstance(error, KaijuError)
        text = str(error) if known else "internal error of the manager; see its log"
        if await end_call(self._committer, bulk, BulkState.FAILED, text):
            self.failure = error

    async def _next_slice(self, bulk: StoredBulk) -> bool:
        if isinstance(bulk.order, BrokenOrder):
            raise InternalError(f"what was asked for cannot be read: {bulk.order.problem}")
        principal = await self._allowed(bulk)
        loop = asyncio.get_running_loop()
        if (left := self._turn - loop.time()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            return True
        if self._store.clock() - bulk.started > LASTS_SECONDS_MAX:
            hours = LASTS_SECONDS_MAX / 3600
            raise TooLarge(f"it has not ended within {hours:g} hours", limit=LASTS_SECONDS_MAX)
        sight = sight_of(principal, ACTIONS[bulk.method].access)
        conditions = [*bulk.order.conditions, *sight_conditions(sight)]
        selected = await self._select(bulk, conditions)
        if selected is None:
            return True
        if not selected:
            await end_call(self._committer, bulk, BulkState.FINISHED)
            return False
        async with self._turns:
            if bulk.order.rate is not None:
                self._turn = loop.time() + len(selected) / bulk.order.rate
            try:
                await self._handle(bulk, principal, selected, TaskMatcher(conditions))
            except Reselect:
                self._missed += 1
                self._size, self._turn = max(1, self._size // 2), 0.0
            else:
                self._missed, self._size = 0, min(self._most, 2 * self._size)
        return True

    async def _allowed(self, bulk: StoredBulk) -> Principal:
        """The rights that the caller has now.

        :raises Unauthorized: its token has ended, or its owner is disabled
        :raises Forbidden: it may not make such calls any more
        """
        needs = ACTIONS[bulk.method].access
        principal = await self._principal(bulk)
        if principal is NOBODY:
            raise Unauthorized("the rights of the caller have ended")
        if not may_call(principal, needs):
            raise Forbidden(f"the rights of the caller do not allow {bulk.method} any more")
        return principal

    async def _principal(self, bulk: StoredBulk) -> Principal:
        if bulk.order.cause is not None:  # the runs of tasks outlive tokens
            return await self._auth.of_run(bulk.user_id, bulk.order.token_id)
        return await self._auth.of_call(bulk.user_id, bulk.order.token_id)

    async def _select(
        self, bulk: StoredBulk, conditions: Sequence[Condition]
    ) -> list[Selected] | None:
        """The next tasks. None: they could not be read in time; the next slice is smaller.

        :raises TooLarge: a single one could not be read in time
        """
        size = self._size
        if (data := bulk.order.args.data) is not None:
            size = max(1, min(size, SLICE_BYTES // max(1, len(data))))
        if bulk.order.rate is not None:
            size = max(1, min(size, int(bulk.order.rate * PACE_SECONDS)))
        try:
            return await self._store.matching(conditions, size, bulk.cursor)
        except TooLarge:
            if size == 1:
                raise
            self._most = self._size = size // 2
            return None

    async def _handle(
        self,
        bulk: StoredBulk,
        principal: Principal,
        selected: Sequence[Selected],
        matcher: TaskMatcher,
    ) -> None:
        """Handle tasks in one transaction, or in several if they cannot be written together."""
        action = ACTIONS[bulk.method]
        event = action.event(bulk, principal, self._tools)
        versions = {task_id: (rev, version) for task_id, rev, version in selected}
        ids = list(versions)
        decides = self._missed >= MISSED_MAX and len(ids) == 1

        def check(state: TaskState) -> None:
            if action.lifts:
                check_hold(principal, state)
            row, (rev, version) = state.row, versions[state.row.id]
            if (row.rev, row.version) == (rev, version):
                return
            if row.rev != rev and matcher.costly and not decides:
                raise Reselect("the task has changed since it was selected")
            if not matcher.matches(state, same_definition=row.rev == rev):
                status = row.status
                raise NoLongerMatches("the task has changed and no longer matches", status=status)

        checked = Checked(event, check, limited=principal.kind is Kind.USER)
        pairs = [(task_id, checked) for task_id in ids]
        try:
            await self._committer.apply_recorded(pairs, Slice(bulk, ids))
        except (Unavailable, StoreError, Reselect):
            raise
        except Exception as error:
            if len(ids) == 1:
                await self._record(bulk, ids, error)
                return
            middle = len(ids) // 2
            await self._handle(bulk, principal, selected[:middle], matcher)
            moved = await self._mine()
            if moved is not None and moved.cursor == ids[middle - 1]:
                await self._handle(moved, principal, selected[middle:], matcher)

    async def _record(self, bulk: StoredBulk, ids: Sequence[str], error: Exception) -> None:
        """Record a task that could not be written."""
        if not isinstance(error, KaijuError):
            log.error("bulk call %s: writing task %s failed", bulk.id, ids[0], exc_info=error)
        record = Slice(bulk, ids)
        outcomes: list[Step | BaseException] = [error]

        async def work(tx: Transaction) -> Written[None]:
            if await record.begin(tx):
                await record.end(tx, outcomes)
            return Written(None, [])

        await self._committer.transact(work)
