"""Writes the audit record of an action that takes several transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import AuditRecord


@asynccontextmanager
async def audited(committer: Committer, record: AuditRecord) -> AsyncIterator[None]:
    """Write the record before the action begins, and write it again with its final `data` when
    the action ends or fails. An interrupted action therefore also has a record.

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
