"""Issues tokens in a database without a manager: who can write it is an administrator."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kaiju_tasks.manager.auth.issuer import Issuer
from kaiju_tasks.manager.auth.views import token_info
from kaiju_tasks.rights import EVERYTHING
from kaiju_tasks.store.base import Store, Transaction, TransactionConflict
from kaiju_tasks.types import AuditRecord, TokenInfo

T = TypeVar("T")

REMOTE = "database"
"""Where an action comes from, in the audit."""
CONFLICTS_MAX = 20
PAUSE_SECONDS = 0.05


def database_issuer(store: Store, reason: str | None = None) -> Issuer:
    """An issuer that works on an open store.

    :param reason: why it is used, for the audit
    """

    async def transact(work: Callable[[Transaction], Awaitable[T]], /) -> T:
        conflicts = 0
        while True:
            try:
                async with store.transaction() as tx:
                    return await work(tx)
            except TransactionConflict:
                conflicts += 1
                if conflicts > CONFLICTS_MAX:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    def record(action: str, target: str | None = None, /, **data: object) -> AuditRecord:
        if reason is not None:
            data["reason"] = reason
        return AuditRecord(
            id=uuid.uuid4().hex,
            user_id=None,
            remote=REMOTE,
            action=action,
            target=target,
            data=data,
        )

    return Issuer(transact, os.urandom, EVERYTHING, record)


async def list_tokens(store: Store) -> list[TokenInfo]:
    """All tokens of an open store, in the order in which they were created."""
    kinds = {principal.id: principal.kind for principal in await store.principals()}
    return [token_info(one, kinds[one.principal_id], use) for one, use in await store.tokens()]
