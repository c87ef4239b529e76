"""Answers to messages, over any transport."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.limits import limits_of
from kaiju_tasks.api.manager import write_stage_fast
from kaiju_tasks.api.torn_reports import loosely
from kaiju_tasks.errors import InternalError, KaijuError
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.frames import largest_frame
from kaiju_tasks.rpc import Limits, Registry, dispatch, encode_error, encode_result
from kaiju_tasks.settings import Settings

__all__ = ["Frames", "RpcConnection"]

logger = logging.getLogger(__name__)

REPORT = "manager.write_stage"
CONNECT = "manager.connect"
CALL = "manager.call"
PRESENCE = frozenset({CONNECT, "manager.ping", "manager.suspend_executor"})


class _Envelope(Struct):
    jsonrpc: str = ""
    method: str = ""
    id: int | float | str | UnsetType | None = UNSET
    params: Raw = Raw(b"{}")


class _TornEnvelope(_Envelope):
    params: Any = None


_decode = msgspec.json.Decoder(_Envelope).decode


class Frames:
    """Answers JSON-RPC messages.

    :param registry: the methods that can be called
    :ivar largest: the maximum size of a message in bytes
    """

    def __init__(self, manager: Manager, registry: Registry, settings: Settings) -> None:
        self._manager = manager
        self._registry = registry
        self.limits = limits_of(settings)
        self.largest = largest_frame(settings)
        self.executor_limits = msgspec.structs.replace(self.limits, max_body_bytes=self.largest)

    def connection(self, caller: Caller) -> "RpcConnection":
        """Return a connection that answers the messages of a caller."""
        return RpcConnection(self._manager, self._registry, caller, self)

    def answer(self, body: bytes, caller: Caller) -> Coroutine[Any, Any, bytes | None]:
        """Answer one message of a caller; see `RpcConnection.answer`."""
        if caller.connection is None:
            return dispatch(self._registry, body, caller, self.limits)
        return self.connection(caller).answer(body)


class RpcConnection:
    """Answers the messages of one connection.

    An executor's calls to connect, ping and leave are answered in order. Other calls are answered
    concurrently.

    :ivar turns: limits how many messages are answered at once; None for no limit
    """

    def __init__(
        self, manager: Manager, registry: Registry, caller: Caller, frames: Frames
    ) -> None:
        self._manager = manager
        self._registry = registry
        self._caller = caller
        self._frames = frames
        self._presence = asyncio.Lock()
        self.turns: asyncio.Semaphore | None = None

    async def answer(self, body: bytes) -> bytes | None:
        """Answer a request or a batch. The result is None if there is nothing to answer.

        Errors in the body become error answers; only cancellations are raised.
        """
        if self._caller.session is None and not self._greets(body):
            return await self._dispatch(body, self._frames.limits)
        call = _envelope(body) if len(body) <= self._frames.largest else None
        # Most messages, and the largest ones, are reports of executors: their results stay bytes.
        if call is None:
            call = _torn_report(body)
        if call is None:
            return await self._dispatch(body, self._frames.limits)
        if call.method == REPORT and call.jsonrpc == "2.0":
            return await self._write_stage(call)
        if call.method in PRESENCE:
            async with self._presence:
                return await self._dispatch(body, self._frames.executor_limits)
        if call.method == CALL:
            async with self._aside():
                return await self._dispatch(body, self._frames.executor_limits)
        return await self._dispatch(body, self._frames.executor_limits)

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[None]:
        """Leave the turn of this message to others during the block, which may wait for long."""
        if self.turns is None:
            yield
            return
        self.turns.release()
        try:
            yield
        finally:
            await self.turns.acquire()

    def _greets(self, body: bytes) -> bool:
        """Return whether this is an executor's first message, which can list many leases."""
        if self._caller.connection is None or len(body) <= self._frames.limits.max_body_bytes:
            return False
        call = _envelope(body) if len(body) <= self._frames.largest else None
        return call is not None and call.method == CONNECT

    async def _dispatch(self, body: bytes, limits: Limits) -> bytes | None:
        return await dispatch(self._registry, body, self._caller, limits)

    async def _write_stage(self, call: _Envelope) -> bytes | None:
        answered = not isinstance(call.id, UnsetType)
        id_ = None if isinstance(call.id, UnsetType) else call.id
        try:
            result = await write_stage_fast(self._manager, self._caller, call.params)
        except KaijuError as error:
            return encode_error(id_, error) if answered else None
        except Exception:
            incident = token_hex(8)
            logger.exception("internal error in %s, incident %s", REPORT, incident)
            fault = InternalError("internal error", incident=incident)
            return encode_error(id_, fault) if answered else None
        return encode_result(id_, result) if answered else None


def _torn_report(body: bytes) -> _Envelope | None:
    """The envelope of reports of which one is not JSON."""
    value = loosely(body) if REPORT.encode() in body else None
    try:
        call = msgspec.convert(value, _TornEnvelope)
        params = Raw(json.dumps(call.params).encode())
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError):
        return None  # `dispatch` answers with the error
    if isinstance(call.id, str) and not _is_text(call.id):
        return None  # an answer cannot contain it
    return _Envelope(call.jsonrpc, call.method, call.id, params)


def _envelope(body: bytes) -> _Envelope | None:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None  # `dispatch` answers with the error


def _is_text(text: str) -> bool:
    """Whether a text that was decoded loosely has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
