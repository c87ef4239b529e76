"""Sends and receives wake-ups and messages between managers, with NOTIFY and LISTEN."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.store.base import StoreError, ignore
from kaiju_tasks.store.postgres.bounds import DEFAULT_BOUNDS
from kaiju_tasks.store.postgres.errors import translated

log = logging.getLogger(__name__)

PAYLOAD_BYTES = 7900
"""PostgreSQL's limit is 7999."""
RETRY_SECONDS = 0.2
RETRY_SECONDS_MAX = 5.0
EVERYTHING: frozenset[str] = frozenset()

Heard = Callable[[frozenset[str]], None]
Received = Callable[[bytes], None]
NO_MESSAGE = b"null"


class Wake(Struct):
    """The payload of a NOTIFY: a message, or topics. Empty topics mean all topics."""

    sender: str
    topics: list[str]
    message: Raw = Raw(NO_MESSAGE)


_decode = msgspec.json.Decoder(Wake).decode


def channel_of(schema: str) -> str:
    """The channel of a schema, cut to the 63 bytes of an identifier."""
    return f"kaiju_{schema}".encode()[:63].decode(errors="ignore")


class Wakes:
    """Encodes and receives the wake-ups and messages of one manager.

    :param connect: opens the listening connection, whose statements are bounded
    :param probe_seconds: the time between two probes of the connection
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        probe_seconds: float = DEFAULT_BOUNDS.probe_seconds,
    ) -> None:
        self._connect = connect
        self._probe_seconds = probe_seconds
        self._sender = secrets.token_hex(8)
        self.channel = channel_of("")

    def payload(self, topics: Iterable[str]) -> str:
        """Encode topics as one payload. Topics that are too long for it become all topics."""
        listed = sorted(set(topics))
        payload = msgspec.json.encode(Wake(self._sender, listed))
        if len(payload) > PAYLOAD_BYTES:
            payload = msgspec.json.encode(Wake(self._sender, []))
        return payload.decode()

    def message(self, message: bytes) -> str:
        """Encode a message as a payload."""
        return msgspec.json.encode(Wake(self._sender, [], Raw(message))).decode()

    @contextlib.asynccontextmanager
    async def listen(self, heard: Heard, received: Received = ignore) -> Any:
        """Listen in the background until the end of the block."""
        first_try = asyncio.Event()
        listening = self._listen(heard, received, first_try)
        task = asyncio.create_task(listening, name="kaiju-listen")
        try:
            await first_try.wait()
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _listen(self, heard: Heard, received: Received, first_try: asyncio.Event) -> None:
        """Listen and reconnect. Each reconnect begins with a wake-up for all topics."""
        delay, missed = RETRY_SECONDS, False
        while True:
            try:
                with translated():
                    connection = await self._connect()
                try:
                    with translated():
                        callback = self._callback(heard, received)
                        await connection.add_listener(self.channel, callback)
                        if missed:
                            heard(EVERYTHING)
                        first_try.set()
                        delay = RETRY_SECONDS
                        await self._until_broken(connection)
                finally:
                    connection.terminate()
            except StoreError as error:
                level = logging.DEBUG if missed else logging.WARNING
                log.log(level, "the connection that listens for wake-ups was lost: %s", error)
                missed = True
            first_try.set()
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_SECONDS_MAX)

    async def _until_broken(self, connection: Any) -> None:
        """Wait until the connection fails. The function never returns: it raises the error."""
        broken = asyncio.Event()
        connection.add_termination_listener(lambda _: broken.set())
        while True:
            try:
                async with asyncio.timeout(self._probe_seconds):
                    await broken.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
            else:
                raise ConnectionError("it was closed")

    def _callback(self, heard: Heard, received: Received) -> Callable[[Any, int, str, Any], None]:
        def on_notify(connection: Any, pid: int, channel: str, payload: Any) -> None:
            try:
                wake = _decode(payload)
            except msgspec.DecodeError:
                wake = Wake("", [])  # of another program or of a later version
            if wake.sender == self._sender:
                return
            message = bytes(wake.message)
            if message == NO_MESSAGE:
                heard(frozenset(wake.topics))
            else:
                received(message)

        return on_notify
