"""Takes no work while a service is away, and begins again with one task."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from random import Random

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.executor.offer import Offer
from kaiju_tasks.executor.rpc_failures import ServiceAway

__all__ = ["Availability"]

logger = logging.getLogger("kaiju_tasks.executor")

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 30.0
TRIAL_SECONDS = 5.0
"""After that, work is taken although no task has shown that the service answers: perhaps there is
none."""


class Availability:
    """Whether a service can be called.

    While it is away, the executor takes no work. It asks the service, after waits that grow, or
    when the service wants to be asked. If the service is there, the executor takes one task, and
    more when the service has answered a call.

    :param name: of the service, for the log
    :param probe: asks the service; raises ServiceAway
    :param offer: its ceiling is set
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[None]],
        offer: Offer,
        random: Random,
        *,
        first: float = FIRST_SECONDS,
    ) -> None:
        self._name = name
        self._probe = probe
        self._offer = offer
        self._backoff = Backoff(random, first=first, most=LONGEST_SECONDS)
        self._lost = asyncio.Event()
        self._answered = asyncio.Event()
        self._retry_after = 0.0
        self._calls = 0

    @property
    def away(self) -> bool:
        """Whether the service is away, so that no call is made."""
        return self._lost.is_set()

    def lost(self, error: Exception) -> None:
        """A call has found no service, or has lost it."""
        if isinstance(error, ServiceAway):
            self._retry_after = max(self._retry_after, error.retry_after or 0.0)
        if not self._lost.is_set():
            logger.warning("%s is away: %s; no work is taken until it answers", self._name, error)
            self._lost.set()
        self._offer.limit(0)

    def answered(self) -> None:
        """The service has answered a call."""
        self._answered.set()
        if not self.away and self._offer.ceiling is None:
            self._backoff.reset()

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """A call is under way."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def watch(self) -> None:
        """Look after the service until this is cancelled."""
        while True:
            await self._lost.wait()
            await self._until_back()
            logger.info("%s answers again", self._name)
            self._lost.clear()
            self._answered.clear()
            self._offer.limit(self._calls + 1)
            await self._trial()
            if not self.away:
                if self._answered.is_set():
                    self._backoff.reset()
                self._offer.limit(None)

    async def _until_back(self) -> None:
        while True:
            seconds = max(self._backoff.next(), self._retry_after)
            self._retry_after = 0.0
            await asyncio.sleep(seconds)
            try:
                await self._probe()
                return
            except ServiceAway as away:
                self._retry_after = away.retry_after or 0.0

    async def _trial(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._lost, self._answered)]
        try:
            await asyncio.wait(waits, timeout=TRIAL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
