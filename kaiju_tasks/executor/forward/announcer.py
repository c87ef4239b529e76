"""Announces the methods of a service: those in a file, or those that it describes itself."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward.answer import Answer
from kaiju_tasks.executor.forward.dialects import DISCOVER, Dialect, JsonRpc
from kaiju_tasks.executor.forward.methods import MethodsError, read_document, read_file
from kaiju_tasks.executor.forward.service import Service
from kaiju_tasks.executor.offer import Offer
from kaiju_tasks.executor.rpc_failures import ServiceAway

__all__ = ["ANY", "Announcer"]

logger = logging.getLogger("kaiju_tasks.executor")

ANY = "any"
"""Announce no methods: the executor is given every command of the stream."""
LOOK_SECONDS = 60.0


class Announcer:
    """Keeps the announced methods up to date.

    :param source: a file; `any`; or None for the description of the service, where it has one
    :param offer: its commands are set
    :param secrets: texts that must not be logged
    :raises InvalidParams: the file does not describe methods
    """

    def __init__(
        self,
        source: Path | str | None,
        dialect: Dialect,
        offer: Offer,
        secrets: Callable[[], Iterable[str]],
    ) -> None:
        self._source = source
        self._dialect = dialect
        self._offer = offer
        self._secrets = secrets
        self._problem = ""
        if isinstance(source, Path):
            offer.announce(read_file(source))

    @property
    def exclusive(self) -> bool:
        """Whether the service must not be called for other methods than the announced ones."""
        return isinstance(self._source, Path)

    async def begin(self, service: Service) -> None:
        """Ask the service for the first time. If it is away, no work is taken."""
        try:
            self.take(await service.describe())
        except ServiceAway as error:
            service.availability.lost(error)

    async def watch(self, service: Service) -> None:
        """Look for changes until this is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if isinstance(self._source, Path):
                self._read_again(self._source)
            elif not service.availability.away:
                await self.begin(service)

    def take(self, answer: Answer | None) -> None:
        """Announce the methods in the answer to `rpc.discover`. An answer that has none changes
        nothing."""
        if self._source is not None or answer is None or not isinstance(self._dialect, JsonRpc):
            return
        try:
            document = self._dialect.result(answer, DISCOVER, self._secrets())
            if not isinstance(document, dict) or "openrpc" not in document:
                raise MethodsError("it is no OpenRPC document")
            commands = read_document(document)
        except Exception as error:  # a service need not describe itself
            logger.debug("the service %s does not describe itself: %s", self._dialect.url, error)
            return
        if tuple(commands) != self._offer.commands:
            logger.info("the service %s has %s methods", self._dialect.url, len(commands))
        self._offer.announce(commands)

    def _read_again(self, path: Path) -> None:
        try:
            self._offer.announce(read_file(path))
        except InvalidParams as error:
            if str(error) != self._problem:
                logger.warning("%s; the previous methods are still announced", error)
            self._problem = str(error)
