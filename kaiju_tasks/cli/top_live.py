"""The manager on a screen, which follows it until a key ends it."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kaiju_tasks.cli.screen import Screen
from kaiju_tasks.cli.snapshot import read_snapshot
from kaiju_tasks.cli.text import cut, one_line
from kaiju_tasks.cli.top_view import View, age
from kaiju_tasks.errors import KaijuError, NotAManager, TooLarge, TooManyRequests, Unavailable
from kaiju_tasks.times import show_time

if TYPE_CHECKING:
    from kaiju_tasks.client import Client

__all__ = ["LiveTop"]

LEAST_SECONDS = 1.0
"""The least time between two reads."""
BACK_SECONDS = 60.0
"""How long an outage is still mentioned after its end."""
HINTS = {
    "event": ["task.queued", "task.started", "task.waiting", "task.suspended", "task.finished",
              "task.failed"]
}  # fmt: skip
KEYS = "q: leave"
LEAVE = ("q", "Q", "\x04")
SIGNALLED = 128


class LiveTop:
    """Reads snapshots and draws them.

    :param interval: seconds between two reads while no event arrives, from 1
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._snapshot: dict[str, Any] = {}
        self._trouble = ""
        self._away: float | None = None
        self._back_at = 0.0
        self._outage = ""

    async def run(self, client: "Client") -> int:
        """Follow the manager until the user leaves.

        :param client: one that repeats no calls
        :returns: the exit code: 0, or 128 and the number of the signal that ended it
        :raises KaijuError: the manager refuses the calls; or it does not answer the first ones
        """
        self._snapshot = await read_snapshot(client)
        left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def leave(code: int) -> None:
            if not left.done():
                left.set_result(code)

        screen = Screen(
            pressed=lambda key: leave(0) if key in LEAVE else None,
            resized=lambda: self._draw(screen),
            ended=lambda number: leave(SIGNALLED + number),
        )
        with screen:
            followed = asyncio.create_task(self._follow(client, screen))
            try:
                await asyncio.wait({followed, left}, return_when=asyncio.FIRST_COMPLETED)
                return left.result() if left.done() else await followed
            finally:
                await _cancelled(followed)

    async def _follow(self, client: "Client", screen: Screen) -> int:
        while True:
            hint = asyncio.create_task(self._hint(client))
            try:
                while not hint.done():
                    self._draw(screen)
                    await asyncio.sleep(LEAST_SECONDS)
                    await asyncio.wait({hint}, timeout=self._interval - LEAST_SECONDS)
                    await self._read(client)
            finally:
                await _cancelled(hint)

    async def _hint(self, client: "Client") -> None:
        """Wait until something has changed. The subscription ends with its first event: on a busy
        manager, thousands would follow until the next read."""
        try:
            async with client.events(HINTS) as events:
                await anext(events)
        except KaijuError:
            # Without events there is the interval; what else is wrong, the next read meets too.
            await asyncio.sleep(self._interval)

    async def _read(self, client: "Client") -> None:
        try:
            self._snapshot = await read_snapshot(client)
        except NotAManager:
            raise
        except Unavailable:
            self._away = self._away or time.time()
            self._trouble = (
                f"The manager does not answer since {show_time(self._away)}; trying again."
            )
        except (TooManyRequests, TooLarge) as error:
            self._trouble = one_line(error.message)
        else:
            self._trouble = ""
            if self._away is not None:
                gone = age(time.time() - self._away)
                self._outage = f"The manager answers again; it did not for {gone}."
                self._away, self._back_at = None, time.monotonic()

    def _draw(self, screen: Screen) -> None:
        cells, rows = screen.size
        screen.show(View(self._snapshot).lines(cells, rows - 1), cut(self._note(), cells))

    def _note(self) -> str:
        if self._trouble:
            return self._trouble
        is_back = self._outage and time.monotonic() - self._back_at < BACK_SECONDS
        return self._outage if is_back else KEYS


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    """End a task that nobody needs any more; its error, if it has one, is raised by its result."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
