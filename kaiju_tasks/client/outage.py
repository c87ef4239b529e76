"""Asking again while a manager is away."""

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
    """Whatever went wrong, it may be asked again."""
    return True


class Outage:
    """Knows whether the manager answers, and asks again while it does not.

    :param url: the manager, for the log
    :param seconds: how long to go on asking, from 0; `math.inf` for ever
    :param probe: asks the manager something small: a long poll would not end when it is back
    :raises InvalidParams: `seconds` is no such number
    """

    def __init__(self, url: str, seconds: float, probe: Callable[[], Awaitable[object]]) -> None:
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not seconds >= 0:
            raise InvalidParams(
                f"`retry_seconds` must be a number of seconds from 0, not {seconds!r:.100}",
                field="retry_seconds",
            )
        self.seconds = float(seconds)
        self._url = url
        self._probe = probe
        self._answered = False
        self._away = False

    async def outlast(
        self,
        ask: Callable[[], Awaitable[T]],
        may_repeat: Callable[[Unavailable], bool],
        *,
        until: float = math.inf,
    ) -> T:
        """Ask, and ask again while no manager answers.

        A manager that has never answered is not waited for: its URL is probably wrong.

        :param ask: asks once
        :param may_repeat: whether it may be asked again after this error
        :param until: not after this moment of the loop's clock
        :raises Unavailable: the latest, when the time is over or it may not be asked again
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
                if not self._answered or not may_repeat(error) or now >= give_up:
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
            raise Unsent(error.message) from error  # of what is to be asked
        except KaijuError:
            pass  # it answers
        self._back()

    def _gone(self, error: Unavailable) -> None:
        if not self._away:
            self._away = True
            logger.warning("The manager at %s does not answer; retrying.", self._url)
            logger.debug("%s", error)

    def _back(self) -> None:
        self._answered = True
        if self._away:
            self._away = False
            logger.warning("The manager at %s answers again.", self._url)
