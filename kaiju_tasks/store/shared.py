"""Implements the methods that both stores share: each runs one statement of the store's dialect."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from msgspec.structs import astuple, replace

from kaiju_tasks.lifecycle import Definition, InboxMessage, Row, Situation, Wait
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store import log_query, run_query
from kaiju_tasks.store import query as queries
from kaiju_tasks.store.base import (
    COUNT_LIMIT,
    Child,
    Condition,
    Counted,
    PageQuery,
    Pruned,
    RunPage,
    StatRow,
    StreamCount,
    TaskView,
)
from kaiju_tasks.store.bulk_columns import bulk_of, bulk_values, changed_values
from kaiju_tasks.store.bulks import BulkPage, StoredBulk
from kaiju_tasks.store.columns import (
    audit_of,
    child_of,
    found_run_of,
    is_cut,
    message_of,
    notification_of,
    place_values,
    run_of,
    stage_record_of,
    storable,
    storable_ids,
    version_of,
)
from kaiju_tasks.store.credential_columns import (
    principal_of,
    principal_values,
    token_of,
    token_values,
    used_token_of,
)
from kaiju_tasks.store.credentials import StoredPrincipal, StoredToken, TokenUse
from kaiju_tasks.store.logs import Attempt, LogPart, LogQuery
from kaiju_tasks.store.pause_bodies import pause_text
from kaiju_tasks.store.sql import Statements
from kaiju_tasks.times import iso_moment
from kaiju_tasks.types import AuditRecord, Mark, Notification, Pause, Run, StageRecord


class SharedStore(ABC):
    """The methods of a store that only run one statement."""

    _dialect: ClassVar[queries.Dialect]
    _sql: ClassVar[Statements]

    @abstractmethod
    async def _select(
        self, statement: tuple[str, Sequence[Any]], *, asked: bool = False
    ) -> list[Any]:
        """Run a statement and return its rows.

        :param asked: whether a client has asked for them: such a read has a budget of time, and
            never keeps the manager's own reads and writes waiting
        :raises TooLarge: it has spent its budget
        """

    @abstractmethod
    async def _change(self, name: str, *values: Any) -> int:
        """Run a statement and return the number of changed rows."""

    @abstractmethod
    async def _prune(self, rows: str, before: float, limit: int, after: float) -> Pruned:
        """Look at the next old rows after a time, and delete those that need not stay."""

    @abstractmethod
    async def tasks(
        self, ids: Sequence[str], sight: Sight, *, results: bool = True
    ) -> dict[str, TaskView]:
        """See `kaiju_tasks.store.base.Store`."""

    async def _sees_notification(self, id: str, sight: Sight) -> bool:
        query = PageQuery([Condition("id", "eq", id)], limit=1)
        return sight.everything or bool((await self.notifications(query, sight))[0])

    async def _read(self, name: str, *values: Any, asked: bool = False) -> list[Any]:
        return await self._select((self._sql[name], values), asked=asked)

    async def _asked_scalar(self, statement: tuple[str, Sequence[Any]]) -> Any:
        return (await self._select(statement, asked=True))[0][0]

    # tasks

    async def count(self, conditions: Sequence[Condition], sight: Sight) -> int:
        seen = [*conditions, *queries.sight_conditions(sight)]
        return int(await self._asked_scalar(queries.count(self._dialect, seen)))

    async def situations(
        self, conditions: Sequence[Condition], sight: Sight
    ) -> list[tuple[Situation, int]]:
        seen = [*conditions, *queries.sight_conditions(sight)]
        found = await self._select(queries.situations(self._dialect, seen), asked=True)
        return [
            (Situation(status, bool(run_open), exit_code, last, bool(held)), count)
            for status, run_open, exit_code, last, held, count in found
        ]

    async def matching(
        self, conditions: Sequence[Condition], limit: int, after: str | None
    ) -> list[tuple[str, int, int]]:
        statement = queries.next_ids(self._dialect, conditions, after, limit)
        return [tuple(values) for values in await self._select(statement, asked=True)]

    async def ids(
        self, conditions: Sequence[Condition], sight: Sight, batch: int
    ) -> AsyncIterator[list[str]]:
        last: str | None = None
        seen = [*conditions, *queries.sight_conditions(sight)]
        while True:
            found = await self._select(
                queries.next_ids(self._dialect, seen, last, batch), asked=True
            )
            if not found:
                return
            last = found[-1][0]
            yield [id for id, _, _ in found]
            if len(found) < batch:
                return

    async def runs(self, task_id: str, sight: Sight, limit: int = 1000) -> list[Run]:
        if not sight.everything and not await self.tasks([task_id], sight, results=False):
            return []
        most = queries.READ_BYTES_MAX
        found = [
            await self._read("runs", id, limit, most, asked=True) for id in storable_ids([task_id])
        ]
        return [run_of(values) for rows in found for values in rows]

    async def versions(
        self, task_id: str, sight: Sight, *, before: int, limit: int
    ) -> list[Definition]:
        if not await self.tasks([task_id], sight, results=False):
            return []
        most, seen = queries.READ_BYTES_MAX, list[Definition]()
        while not seen and before > 1:  # those of a stream that is not seen are left out
            found = await self._read("versions", task_id, before, limit, most, asked=True)
            if not found:
                break
            versions = [version_of(task_id, version, body) for version, body in found]
            before = versions[-1].version
            seen = [one for one in versions if sight.sees(one.user_id, one.app_name)]
        return seen

    async def find_runs(self, query: PageQuery, sight: Sight) -> RunPage:
        seen = [*query.conditions, *queries.sight_conditions(sight)]
        count = run_query.bounded_count(self._dialect, seen)
        total = int(await self._asked_scalar(count))
        rare = run_query.is_rare(seen, total)
        page = run_query.page(self._dialect, replace(query, conditions=seen), rare=rare)
        found = await self._select(page, asked=True)
        runs = [found_run_of(values[:-1]) for values in found]
        return RunPage(runs, min(total, COUNT_LIMIT), total > COUNT_LIMIT, is_cut(found))

    async def stage_records(self, job_id: str, sight: Sight) -> list[StageRecord]:
        ids, seen = storable_ids([job_id]), queries.sight_conditions(sight)
        columns = self._sql.fragments["stage_columns"]
        statements = (queries.stage_records(self._dialect, columns, id, seen) for id in ids)
        found = [values for one in statements for values in await self._select(one, asked=True)]
        if is_cut(found):
            raise queries.too_large()
        return [stage_record_of(values[:-1]) for values in found]

    async def log_parts(self, query: LogQuery, sight: Sight, limit: int) -> list[LogPart]:
        if not storable_ids([query.job_id]):
            return []
        seen = queries.sight_conditions(sight)
        statement = log_query.chunks(self._dialect, query, seen, limit)
        found = await self._select(statement, asked=True)
        return [LogPart(Attempt(*values[:4]), *values[4:]) for values in map(tuple, found)]

    async def inbox(self, task_id: str, sight: Sight) -> list[InboxMessage]:
        if not await self.tasks([task_id], sight, results=False):
            return []
        most = queries.READ_BYTES_MAX
        found = await self._read("inbox", task_id, most, asked=True)
        return [message_of(values) for values in found]

    async def children(self, wait: Wait) -> list[Child]:
        return [child_of(v) for v in await self._read("children", wait.job_id, wait.stage)]

    async def ahead(self, row: Row) -> int:
        name = "ahead" if row.gate is None else "ahead_at_gate"
        ((count,),) = await self._read(name, *place_values(row, COUNT_LIMIT))
        return int(count)

    async def slot_used(self, key: str) -> int:
        found = await self._read("slot_used", key)
        return int(found[0][0]) if found else 0

    async def streams(self, sight: Sight) -> list[StreamCount]:
        found = [StreamCount(*values) for values in await self._read("streams", asked=True)]
        return [one for one in found if sight.sees_stream(one.app_name)]

    async def recent_waits(self, since: float, limit: int, sight: Sight) -> list[tuple[str, float]]:
        found = await self._read("recent_waits", since, limit, asked=True)
        return [(app_name, wait) for app_name, wait in found if sight.sees_stream(app_name)]

    async def add_mark(self, mark: Mark) -> None:
        await self._change(
            "add_mark", mark.id, mark.at, storable(mark.label), mark.app_name, mark.user_id
        )

    async def marks(self, start: float, end: float, limit: int, sight: Sight) -> list[Mark]:
        statement = queries.marks(self._dialect, start, end, limit, sight)
        return [Mark(*values) for values in await self._select(statement, asked=True)]

    async def prune_marks(self, before: float, limit: int) -> int:
        return await self._change("prune_marks", before, limit)

    async def add_stats(self, manager_id: str, counts: Sequence[Counted]) -> None:
        rows = json.dumps([astuple(one) for one in counts])
        await self._change("add_stats", rows, manager_id)

    async def stat_durations(self, name: str, since: int) -> list[tuple[str, int, int]]:
        return [tuple(row) for row in await self._read("stat_durations", name, since, asked=True)]

    async def stats(
        self,
        step: int,
        start: int,
        end: int,
        interval: int,
        names: Sequence[str],
        app_names: Sequence[str] | None,
    ) -> list[StatRow]:
        streams = None if app_names is None else json.dumps(app_names)
        values = (step, start, end, interval, json.dumps(names), streams)
        return [StatRow(*found) for found in await self._read("stats", *values, asked=True)]

    async def stat_streams(self, step: int, start: int, end: int) -> list[str]:
        found = await self._read("stat_streams", step, start, end, asked=True)
        return [app_name for (app_name,) in found]

    async def prune_stats(self, step: int, before: float, limit: int) -> int:
        return await self._change("prune_stats", step, int(before), limit)

    async def status_counts(self, sight: Sight) -> dict[tuple[str, str], int]:
        return {
            (app_name, status): count
            for app_name, status, count in await self._read("status_counts", asked=True)
            if sight.sees_stream(app_name)
        }

    async def open_tasks(self) -> dict[str, int]:
        return dict(await self._read("open_tasks", asked=True))

    # principals and tokens

    async def principals(self) -> list[StoredPrincipal]:
        return [principal_of(values) for values in await self._read("principals")]

    async def tokens(self) -> list[tuple[StoredToken, TokenUse | None]]:
        return [used_token_of(values) for values in await self._read("tokens")]

    @abstractmethod
    async def pauses(self) -> list[Pause]: ...

    # notifications and audit

    async def notifications(
        self, query: PageQuery, sight: Sight
    ) -> tuple[list[Notification], int, bool]:
        found, total = await self._page(queries.NOTIFICATIONS, query, sight)
        return [notification_of(values[:-1]) for values in found], total, is_cut(found)

    async def audit(self, query: PageQuery, sight: Sight) -> tuple[list[AuditRecord], int]:
        found, total = await self._page(queries.AUDIT, query, sight)
        return [audit_of(values[:-1]) for values in found], total

    async def _page(
        self, table: queries.Table, query: PageQuery, sight: Sight
    ) -> tuple[list[Any], int]:
        query = replace(query, conditions=[*query.conditions, *queries.sight_conditions(sight)])
        found = await self._select(queries.rows(self._dialect, table, query), asked=True)
        total = await self._asked_scalar(queries.row_count(self._dialect, table, query.conditions))
        return found, int(total)

    # bulk calls

    async def bulk(self, bulk_id: str) -> StoredBulk | None:
        found = [v for id in storable_ids([bulk_id]) for v in await self._read("bulk", id)]
        return bulk_of(found[0]) if found else None

    async def bulks(self, query: PageQuery) -> BulkPage:
        found, total = await self._page(queries.BULKS, query, ALL_SIGHT)
        return BulkPage([bulk_of(values) for values in found], total, is_cut(found))

    async def open_bulks(self, manager_id: str, seen_since: float) -> list[str]:
        return [id for (id,) in await self._read("open_bulks", manager_id, seen_since)]

    # retention

    async def prune_progress(self, limit: int) -> int:
        return await self._change("prune_progress", limit)

    async def prune_bulks(self, before: float, limit: int) -> int:
        return await self._change("prune_bulks", before, limit)

    async def forget_executors(self, before: float) -> int:
        return await self._change("forget_executors", before)

    async def forget_managers(self, before: float) -> int:
        return await self._change("forget_managers", before)

    async def prune_runs(self, before: float, limit: int, after: float = -1.0) -> Pruned:
        return await self._prune("runs", before, limit, after)

    async def prune_versions(self, before: float, limit: int, after: float = -1.0) -> Pruned:
        return await self._prune("versions", before, limit, after)

    async def prune_received(self, before: float, limit: int, after: float = -1.0) -> Pruned:
        return await self._prune("received", before, limit, after)

    async def forget_slots(self) -> None:
        await self._change("forget_slots")

    async def prune_pauses(self, before: float) -> int:
        over = [one for one in await self.pauses() if one.until is not None and one.until <= before]
        return sum([await self._change("prune_pause", one.id, pause_text(one)) for one in over])

    async def prune_families(self, before: float) -> int:
        return await self._change("prune_families", before)

    async def prune_notifications(self, before: float, limit: int) -> int:
        return await self._change("prune_notifications", iso_moment(before), limit)

    async def prune_audit(self, before: float, limit: int) -> int:
        return await self._change("prune_audit", before, limit)


class SharedTransaction(ABC):
    """The methods of a transaction that only run one statement."""

    @abstractmethod
    async def _fetch(self, name: str, *values: Any) -> list[Any]:
        """Run a statement and return its rows."""

    async def principal(self, principal_id: str) -> StoredPrincipal | None:
        ids = storable_ids([principal_id])
        found = [values for id in ids for values in await self._fetch("principal", id)]
        return principal_of(found[0]) if found else None

    async def token(self, token_id: str) -> StoredToken | None:
        ids = storable_ids([token_id])
        found = [values for id in ids for values in await self._fetch("token", id)]
        return token_of(found[0]) if found else None

    async def put_principal(self, principal: StoredPrincipal) -> None:
        await self._fetch("put_principal", *principal_values(principal))

    async def put_token(self, token: StoredToken) -> None:
        await self._fetch("put_token", *token_values(token))

    async def lock_bulks(self) -> None:
        await self._fetch("lock_bulks")

    async def running_bulks(self, user_id: str | None) -> int:
        ((count,),) = await self._fetch("running_bulks", user_id)
        return int(count)

    async def lock_bulk(self, bulk_id: str) -> StoredBulk | None:
        found = [v for id in storable_ids([bulk_id]) for v in await self._fetch("lock_bulk", id)]
        return bulk_of(found[0]) if found else None

    async def bulk_is_free(self, bulk: StoredBulk, seen_since: float) -> bool:
        ((free,),) = await self._fetch("bulk_is_free", bulk.manager_id, seen_since)
        return bool(free)

    async def add_bulk(self, bulk: StoredBulk) -> None:
        await self._fetch("add_bulk", *bulk_values(bulk))

    async def save_bulk(self, bulk: StoredBulk) -> None:
        await self._fetch("save_bulk", *changed_values(bulk))
