"""Repeating calls while the manager does not answer."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.client.transport import Unsent
from kaiju_tasks.errors import InvalidParams, KaijuError, NotAManager, Unavailable

__all__ = ["RETRY_SECONDS", "Outage", "always"]

RETRY_SECONDS = 60.0

logger = logging.getLogger("kaiju_tasks.client")
T = TypeVar("T")


def always(error: Unavailable) -> bool:
    """Allow a repeat after every error."""
    return True


class Outage:
    """Tracks whether the manager answers, and repeats calls while it does not.

    :param url: URL of the manager, for the log
    :param seconds: how long to repeat a call, 0 or more; `math.inf` repeats forever
    :param probe: makes a short call; a long poll would not return when the manager is back
    :ivar answered: whether the manager has ever answered
    :raises InvalidParams: `seconds` is not a number from 0
    """

    def __init__(self, url: str, seconds: float, probe: Callable[[], Awaitable[object]]) -> None:
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not seconds >= 0:
            raise InvalidParams(
                f"`retry_seconds` must be a number of seconds, 0 or more, not {seconds!r:.100}",
                field="retry_seconds",
            )
        self.seconds = float(seconds)
        self.answered = False
        self._url = url
        self._probe = probe
        self._away = False

    async def outlast(
        self,
        ask: Callable[[], Awaitable[T]],
        may_repeat: Callable[[Unavailable], bool],
        *,
        until: float = math.inf,
    ) -> T:
        """Make a call, and repeat it while the manager does not answer.

        If the manager has never answered, the call is not repeated: the URL is probably wrong.

        :param ask: makes the call once
        :param may_repeat: returns whether the call can be repeated after this error
        :param until: time of the loop's clock after which the call is not repeated
        :raises Unavailable: the last error, if the time is over or the call cannot be repeated
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff(Random())
        give_up: float | None = None
        while True:
            try:
                if self._away:
                    await self._look()
                result = await ask()
            except NotAManager:
                raise
            except Unavailable as error:
                now = loop.time()
                give_up = min(until, now + self.seconds) if give_up is None else give_up
                if not self.answered or not may_repeat(error) or now >= give_up:
                    raise
                self._gone(error)
                await asyncio.sleep(min(backoff.next(), give_up - now))
            except KaijuError:
                self._back()
                raise
            else:
                self._back()
                return result

    async def _look(self) -> None:
        try:
            await self._probe()
        except Unavailable as error:
            raise Unsent(error.message) from error  # the call itself was not sent
        except KaijuError:
            pass  # the manager answers
        self._back()

    def _gone(self, error: Unavailable) -> None:
        if not self._away:
            self._away = True
            logger.warning("The manager at %s does not answer; retrying.", self._url)
            logger.debug("%s", error)

    def _back(self) -> None:
        self.answered = True
        if self._away:
            self._away = False
            logger.warning("The manager at %s answers again.", self._url)
