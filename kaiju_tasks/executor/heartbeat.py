"""Keeps the leases of an executor whose event loop is blocked, from a thread of its own.

A command that blocks the event loop (`time.sleep` in an `async def`, a long computation) would let
the leases of all commands end, because nobody pings. This thread notices it, names what blocks, and
pings over a connection of its own until the loop runs again. New work is declined meanwhile.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from kaiju_tasks.address import TokenSource
from kaiju_tasks.errors import reason_of
from kaiju_tasks.executor import calls
from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.link import Link
from kaiju_tasks.executor.messages import Incoming, Request, RpcError, decode_frame, encode
from kaiju_tasks.executor.runner import Runner
from kaiju_tasks.executor.start_gate import Moment
from kaiju_tasks.executor.transport import Connection, ConnectionClosed
from kaiju_tasks.executor.websocket import WebSocketTransport
from kaiju_tasks.protocol import PingParams, SuspendExecutorParams

__all__ = ["Heartbeat"]

logger = logging.getLogger("kaiju_tasks.executor")

LOOKS_PER_STALL = 4
STEP_SECONDS = 0.05
STACK_FRAMES = 8
MANAGER_GRACE_SECONDS = 3.0
"""A manager ends a stage whose executor is silent one ping after its deadline, or 2 seconds."""
IDLE_SECONDS = 0.2
"""Between two looks while no manager has said how long a lease is."""


class Heartbeat:
    """A thread that watches the event loop in which it is made.

    :param executor_id: whose leases are kept
    :param kill_grace: seconds after its deadline that a stage which blocks may take at least
    :param give_up: called in the thread after that, when the tasks were given back; None if nothing
        can be done
    """

    def __init__(
        self,
        link: Link,
        runner: Runner,
        clock: Clock,
        token: TokenSource,
        executor_id: str,
        *,
        kill_grace: float,
        give_up: Callable[[], None] | None,
    ) -> None:
        self._link = link
        self._runner = runner
        self._clock = clock
        self._token = token
        self._id = executor_id
        self._kill_grace = kill_grace
        self._give_up = give_up
        self._gate = runner.runtime.gate
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kaiju-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread soon."""
        self._stop.set()

    def _run(self) -> None:
        while True:
            seconds = self._gate.stall_seconds / LOOKS_PER_STALL or IDLE_SECONDS
            began = self._clock.time()
            if self._stop.wait(seconds):
                return
            stood_still = self._clock.time() - began > 2 * seconds + 1  # the whole process did
            if self._link.connected and self._blocked() and not stood_still:
                self._keep_alive()

    def _still(self) -> float:
        return self._clock.time() - self._gate.beat_at

    def _blocked(self) -> bool:
        return 0 < self._gate.stall_seconds < self._still() and not self._stop.is_set()

    def _keep_alive(self) -> None:
        began = self._gate.beat_at
        logger.warning(
            "the event loop has been blocked for %.1f seconds; another thread pings meanwhile. "
            "Use `def` or process=True for code that does not await. It stands at:\n%s",
            self._still(),
            self._stack(),
        )
        try:
            asyncio.run(self._beat())
        except (ConnectionClosed, msgspec.DecodeError, TimeoutError) as error:
            logger.warning("the leases of a blocked executor end: %s", reason_of(error))
        while self._blocked():
            if self._stop.wait(STEP_SECONDS):
                return
        logger.warning("the event loop was blocked for %.1f seconds", self._clock.time() - began)

    async def _beat(self) -> None:
        transport = WebSocketTransport(self._token)
        try:
            connection = await transport.connect(self._link.url, self._link.ping_seconds)
            try:
                number = 0
                while self._blocked():
                    number += 1
                    asked = self._gate.moment()
                    await self._ask(connection, number, "manager.ping", PingParams(self._id, 0))
                    self._call(self._link.kept_alive, asked)
                    if self._is_overdue():
                        await self._leave(connection, number + 1)
                        return
                    await self._pause()
            finally:
                await connection.close()
        finally:
            await transport.close()

    async def _pause(self) -> None:
        """Wait until the next ping, or until the loop runs."""
        until = self._clock.time() + self._link.ping_seconds
        while self._blocked() and self._clock.time() < until:  # noqa: ASYNC110 - of another loop
            await asyncio.sleep(STEP_SECONDS)

    async def _ask(self, connection: Connection, number: int, method: str, params: Any) -> None:
        await connection.send(encode(Request(number, method, params)))
        async with asyncio.timeout(2 * self._link.ping_seconds):
            answer: Incoming = decode_frame(await connection.receive())
        if isinstance(answer.error, RpcError):
            raise ConnectionClosed(answer.error.message)

    def _is_overdue(self) -> bool:
        """Whether the stage that blocks is past its deadline, so that it has failed already."""
        task = asyncio.current_task(self._loop)
        left = None if task is None else self._runner.seconds_left(task)
        if left is None:
            return self._still() > self._link.orphan_seconds
        # Only when the manager has ended it by itself: otherwise it would be given back, too.
        grace = max(self._kill_grace, MANAGER_GRACE_SECONDS, 2 * self._link.ping_seconds)
        return left < -grace

    async def _leave(self, connection: Connection, number: int) -> None:
        logger.error("a stage past its deadline blocks the event loop: all tasks are given back")
        params = SuspendExecutorParams(self._id, "the event loop is blocked")
        await self._ask(connection, number, "manager.suspend_executor", params)
        if self._give_up is not None:
            self._give_up()

    def _call(self, method: Callable[[Moment], None], asked: Moment) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(method, asked)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return "an unknown place"
        frames: list[traceback.FrameSummary] = traceback.extract_stack(frame)
        own = [number for number, one in enumerate(frames) if one.filename == calls.__file__]
        frames = frames[own[-1] + 1 :] if own else frames
        return "".join(traceback.format_list(frames[-STACK_FRAMES:])).rstrip()
