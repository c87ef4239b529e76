"""Writes what a bulk call has done, in the transactions that do it."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kaiju_tasks.errors import Conflict, KaijuError
from kaiju_tasks.lifecycle import Step
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.store.base import Condition, Transaction
from kaiju_tasks.store.bulks import StoredBulk
from kaiju_tasks.types import AuditRecord, BulkState, Refusal

AUDITED_BYTES = 4096
"""Bytes of conditions beyond which only their columns are shown."""


class NoLongerMatches(Conflict):
    """A task has changed since it was selected."""


class Reselect(Conflict):
    """The definitions of selected tasks have changed since, and the conditions on them are costly:
    the database must decide again which tasks match."""


class Slice:
    """The record of one slice, as part of the transaction that handles its tasks. It acts only if
    this manager still goes on with the call, and no earlier attempt has handled these tasks.

    :param bulk: the call as it was read before the slice
    :param ids: the tasks, in order
    """

    def __init__(self, bulk: StoredBulk, ids: Sequence[str]) -> None:
        self._known = bulk
        self._ids = ids
        self._locked: StoredBulk | None = None

    async def begin(self, tx: Transaction) -> bool:
        self._locked = await lock_own(tx, self._known)
        return self._locked is not None

    async def end(self, tx: Transaction, outcomes: Sequence[Step | BaseException]) -> None:
        bulk = self._locked
        assert bulk is not None
        progress = bulk.progress
        for task_id, outcome in zip(self._ids, outcomes, strict=True):
            if isinstance(outcome, Reselect):
                raise outcome
            progress.saw(task_id)
            refusal = refusal_of(task_id, outcome)
            if refusal is not None:
                progress.refuse(refusal)
            else:
                progress.done += 1
                progress.changed += isinstance(outcome, Step) and outcome.changed
        bulk.cursor = self._ids[-1]
        await tx.save_bulk(bulk)


async def lock_own(tx: Transaction, known: StoredBulk) -> StoredBulk | None:
    """Lock a call. None: it has ended, it has got further, or another manager goes on with it."""
    bulk = await tx.lock_bulk(known.id)
    if bulk is None or not bulk.running:
        return None
    return bulk if (bulk.epoch, bulk.cursor) == (known.epoch, known.cursor) else None


async def end_call(
    committer: Committer, known: StoredBulk, state: BulkState, failure: str | None = None
) -> bool:
    """End a call, and complete its audit record.

    :returns: False if somebody else has ended it or goes on with it
    :raises Unavailable: the database cannot be reached
    """

    async def work(tx: Transaction) -> Written[bool]:
        bulk = await lock_own(tx, known)
        if bulk is None:
            return Written(False, [])
        await save_end(tx, bulk, state, failure)
        return Written(True, [])

    return await committer.transact(work)


async def save_end(
    tx: Transaction, bulk: StoredBulk, state: BulkState, failure: str | None = None
) -> None:
    """End a locked call, and complete its audit record."""
    await tx.lock([])
    bulk.end(state, tx.now, failure)
    await tx.save_bulk(bulk)
    await tx.add_audit([audit_of_call(bulk)])


def audit_of_call(bulk: StoredBulk) -> AuditRecord:
    """The audit record of a call, with what it has done if it has ended."""
    order, progress = bulk.order, bulk.progress
    data: dict[str, Any] = {
        "bulk_id": bulk.id,
        "conditions": brief(shown_conditions(order.conditions)),
        **shown_args(bulk),
    }
    for name, value in (("rate", order.rate), ("reason", order.reason)):
        if value is not None:
            data[name] = value
    if not bulk.running:
        data |= {"done": progress.done, "refused": progress.refused, "state": str(bulk.state)}
    return AuditRecord(
        id=order.audit_id,
        user_id=bulk.user_id,
        remote=order.remote,
        action=bulk.method,
        target=None,
        data=data,
    )


def refusal_of(task_id: str, outcome: Step | BaseException) -> Refusal | None:
    """Why a task was refused; None if it was not."""
    if isinstance(outcome, Step):
        receipt = outcome.receipt
        if receipt is None or receipt.accepted:
            return None
        message = receipt.reason or "the run does not take the message"
        return Refusal(task_id, str(outcome.row.status), message, "rejected")
    if not isinstance(outcome, KaijuError):
        message = "internal error of the manager; see its log"
        return Refusal(task_id, None, message, "internal_error")
    reason = outcome.type
    if isinstance(outcome, Conflict):
        reason = "changed" if isinstance(outcome, NoLongerMatches) else "status"
    status = outcome.data.get("status")
    return Refusal(task_id, None if status is None else str(status), outcome.message, reason)


_BY_OPERATOR: dict[str, Callable[[Any], Any]] = {"eq": lambda value: value, "in": list}


def shown_conditions(conditions: Sequence[Condition]) -> dict[str, Any]:
    """Conditions as a caller writes them."""
    shown: dict[str, Any] = {}
    for one in conditions:
        if one.op in _BY_OPERATOR:
            shown[one.column] = _BY_OPERATOR[one.op](one.value)
        else:
            shown.setdefault(one.column, {})[one.op] = one.value
    return shown


def shown_args(bulk: StoredBulk) -> dict[str, Any]:
    """The parameters beside the conditions, without the data of a message."""
    args = msgspec.structs.asdict(bulk.order.args)
    return {name: value for name, value in args.items() if name != "data" and value is not None}


def brief(conditions: dict[str, Any]) -> dict[str, Any]:
    """Conditions, or only their columns if they are long."""
    if len(msgspec.json.encode(conditions)) <= AUDITED_BYTES:
        return conditions
    return dict.fromkeys(conditions, "…")
