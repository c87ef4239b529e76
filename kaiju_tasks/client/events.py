"""A client's subscription to events."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.client.outage import Outage, always
from kaiju_tasks.client.transport import Answer, InDoubt, Transport, read_result
from kaiju_tasks.errors import TooSlow, Unavailable, reason_of
from kaiju_tasks.rpc.messages import encode_request

__all__ = ["Events"]

SUBSCRIBE_SECONDS = 10.0
CUT = "the connection to the manager was lost and opened again; read the tasks to catch up"

T = TypeVar("T")


class _Notification(msgspec.Struct):
    method: str
    params: dict[str, Any]


class Events:
    """The events of a manager's tasks, as plain data (docs/events.md).

    A lost connection is opened again. The event `events.lost` means that events may be missing,
    in the manager or on the connection: read the tasks to catch up.
    """

    def __init__(
        self, transport: Transport, outage: Outage, conditions: Mapping[str, Any] | None
    ) -> None:
        self._transport = transport
        self._outage = outage
        self._conditions = conditions
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._cut = False
        self._backoff = Backoff(Random())

    async def __aenter__(self) -> Self:
        """Subscribe.

        :raises InvalidParams: a condition is invalid
        :raises Unavailable: the manager does not answer
        """
        await self._outage.outlast(self._subscribe, always)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """Wait for the next event.

        :raises TooSlow: events arrived faster than they were read; the subscription has ended
        :raises Unavailable: the connection was lost, and the manager does not answer
        :raises NotAManager: the server sends messages that are not events
        """
        if self._cut:
            return await self._resubscribe()
        if self._socket is None:
            await self.__aenter__()
        try:
            received = await self._receive()
        except Unavailable:
            self._cut = True
            if not self._outage.seconds:
                raise
            return await self._resubscribe()
        self._backoff.reset()
        sent = await self._read(received, _Notification)
        event: dict[str, Any] = {"event": sent.method, **sent.params}
        event.pop("subscription", None)
        if sent.method == "events.dropped":
            await self.close()
            raise TooSlow(event["reason"])
        return event

    async def close(self) -> None:
        """End the subscription. Reading more events begins a new one."""
        self._cut = False
        await self._disconnect()

    async def _disconnect(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _resubscribe(self) -> dict[str, Any]:
        await asyncio.sleep(self._backoff.next())
        await self._outage.outlast(self._subscribe, always)
        self._cut = False
        return {"event": "events.lost", "reason": CUT}

    async def _subscribe(self) -> None:
        self._socket = socket = await self._transport.open_socket()
        try:
            params = {"conditions": self._conditions}
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await socket.send_str(encode_request(0, "events.subscribe", params).decode())
                answer = await self._receive()
            read_result(await self._read(answer, Answer))
        except (aiohttp.ClientError, OSError) as error:
            await self._disconnect()
            raise InDoubt(f"the manager does not answer: {reason_of(error)}") from error
        except BaseException:
            await self._disconnect()
            raise

    async def _read(self, received: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(received, type=kind)
        except msgspec.DecodeError as error:
            await self._disconnect()
            raise self._transport.not_a_manager(f"a message on its WebSocket: {error}") from error

    async def _receive(self) -> bytes:
        assert self._socket is not None
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            await self._disconnect()
            raise InDoubt("the connection to the manager was lost: no more events arrive")
        return str(message.data).encode()
