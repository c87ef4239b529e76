"""Delivers a webhook with one POST request, and interprets the response."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw

from kaiju_tasks.address import hide_password
from kaiju_tasks.define.webhook import secret_key, signature
from kaiju_tasks.errors import Abort, Unavailable, reason_of
from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.webhooks import Ended
from kaiju_tasks.protocol import ReportError
from kaiju_tasks.store.base import StoreError, Transaction
from kaiju_tasks.system_executor.egress import Egress, NotAllowed
from kaiju_tasks.types import ErrorType, Webhook
from kaiju_tasks.version import __version__

__all__ = ["deliver", "http_session", "message"]

ANSWER_BYTES = 64 * 1024
GONE = 410

Json = dict[str, Any]


@asynccontextmanager
async def http_session(egress: Egress) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the HTTP session of all deliveries.

    :param egress: decides to which addresses it connects
    """
    connector = aiohttp.TCPConnector(limit=0, socket_factory=egress.socket)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


async def deliver(
    manager: Manager,
    session: aiohttp.ClientSession,
    webhook: Webhook,
    delivery_id: str,
    body: bytes,
) -> Json:
    """Call a webhook once.

    :param delivery_id: the id of the delivery, the same for all retries
    :param body: the return value of `message`
    :returns: the status, and the duration in seconds. The body of the response is not kept: who
        may create tasks could read what only the manager reaches.
    :raises Abort: the receiver accepts no more calls (410), or must not be called
    :raises ReportedError: the receiver did not accept this call, which is to be retried
    """
    headers = _headers(delivery_id, webhook, body, int(manager.clock.now()))
    seconds = manager.settings.webhook_timeout
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            status = await _post(session, webhook.url, body, headers)
    except TimeoutError:
        raise _failed(f"the receiver has not answered within {seconds:g} seconds") from None
    except (OSError, aiohttp.ClientError, ValueError) as error:
        reason = hide_password(reason_of(error))
        cause = getattr(error, "os_error", None)
        if isinstance(cause, NotAllowed):
            raise Abort(f"the receiver must not be called: {cause}") from error
        raise _failed(f"the receiver cannot be called: {reason}") from error
    outcome = {"status": status, "seconds": round(time.monotonic() - started, 3)}
    if 200 <= status < 300:
        return outcome
    if status == GONE:
        raise Abort("the receiver answered with HTTP status 410: it accepts no more calls")
    raise _failed(f"the receiver answered with HTTP status {status}", outcome)


async def _post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]
) -> int:
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        left = ANSWER_BYTES  # read a short body, so that the connection can be used again
        while left > 0 and (chunk := await response.content.read(left)):
            left -= len(chunk)
        return response.status


def _headers(delivery_id: str, webhook: Webhook, body: bytes, timestamp: int) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"kaiju-tasks/{__version__}",
        "Webhook-Id": delivery_id,
        "Webhook-Timestamp": str(timestamp),
    }
    if webhook.secret is not None:
        key = secret_key(webhook.secret)
        headers["Webhook-Signature"] = signature(key, delivery_id, timestamp, body)
    return headers


async def message(manager: Manager, ended: Ended) -> bytes:
    """Build the body of a delivery. Results and `meta` are null if the task has been deleted.

    :returns: JSON
    :raises Unavailable: the database cannot be reached
    """
    try:
        async with manager.store.transaction() as tx:
            definitions = await tx.definitions([ended.task_id])
            result = await _result(tx, ended, manager.settings.max_result_bytes)
    except StoreError as exc:
        raise Unavailable(str(exc)) from exc
    stored = definitions.get(ended.task_id)
    return msgspec.json.encode(
        {
            "event": ended.event,
            "task_id": ended.task_id,
            "job_id": ended.job_id,
            "app_name": ended.app_name,
            "status": ended.status,
            "exit_code": ended.exit_code,
            "error": ended.error,
            **result,
            "scheduled_at": ended.scheduled_at,
            "started_at": ended.started_at,
            "ended_at": ended.ended_at,
            "retries": ended.retries,
            "meta": None if stored is None else stored.definition.meta,
            "group": ended.group,
            "group_id": ended.group_id,
            "labels": ended.labels,
        }
    )


async def _result(tx: Transaction, ended: Ended, max_bytes: int) -> Json:
    """The results by stage; null if the task has been deleted or the results are too large."""
    run = (ended.job_id, ended.cycle)
    sizes = await tx.result_sizes([run])
    if sizes.get(ended.job_id, 0) > max_bytes:
        return {"result": None, "truncated": True}
    if ended.stage == 0:
        return {"result": []}
    results = (await tx.run_results([run])).get(ended.job_id)
    if not results:
        return {"result": None}
    return {"result": [results.get(stage, Raw(b"null")) for stage in range(ended.stage)]}


def _failed(message: str, data: Any = None) -> ReportedError:
    return ReportedError(ReportError(ErrorType.EXECUTION, message, data))
