"""Audit records of actions that take many transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import AuditRecord


@asynccontextmanager
async def audited(committer: Committer, record: AuditRecord) -> AsyncIterator[None]:
    """Record an action before it begins, so that one that breaks off is there too, and complete
    the record's `data` when it ends, well or not.

    :raises Unavailable: the database cannot be reached
    """
    await _write(committer, record)
    try:
        yield
    finally:
        await _write(committer, record)


async def _write(committer: Committer, record: AuditRecord) -> None:
    async def work(tx: Transaction) -> Written[None]:
        await tx.lock([])
        await tx.add_audit([record])
        return Written(None, [])

    await committer.transact(work)
