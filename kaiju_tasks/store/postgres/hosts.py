"""Chooses one of several hosts of a database: one that can be written to."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kaiju_tasks.errors import reason_of
from kaiju_tasks.store.base import StoreUnavailable
from kaiju_tasks.store.postgres.address import Address
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.errors import translation

log = logging.getLogger(__name__)

Open = Callable[[Mapping[str, Any]], Awaitable[Any]]

_WRITABLE = """
SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'
"""
READ_ONLY = "it is read-only"


class Hosts:
    """The hosts of one database, tried in turn from the one that was used last."""

    def __init__(self, address: Address, bounds: Bounds) -> None:
        self._address = address
        self._bounds = bounds
        self._last = 0

    async def connect(self, open_session: Open) -> Any:
        """Open a connection. With several hosts, this takes no longer than with one.

        :param open_session: opens a connection with the given options of `asyncpg.connect`
        :raises StoreUnavailable: no host can be written to, or reached
        """
        dsns = self._address.hosts
        if not dsns:
            return await open_session({})
        seconds = self._bounds.connect_seconds / len(dsns)
        failures: dict[str, str] = {}
        for number in range(len(dsns)):
            at = (self._last + number) % len(dsns)
            host = urlsplit(dsns[at]).netloc.rpartition("@")[2]
            try:
                raw = await open_session({"dsn": dsns[at], "timeout": seconds})
            except Exception as error:
                if not isinstance(translation(error, opens=True), StoreUnavailable):
                    raise  # a wrong password, for example: it is wrong for all of them
                failures[host] = reason_of(error)
                continue
            if await self._may_be_used(raw, seconds):
                if at != self._last:
                    log.warning("the database is used at the host %s now", host)
                self._last = at
                return raw
            failures[host] = READ_ONLY
        raise _none(failures)

    async def _may_be_used(self, raw: Any, seconds: float) -> bool:
        if self._address.chosen:  # asyncpg has looked at it
            return True
        try:
            async with raw.transaction():  # a pooler would use two sessions otherwise
                writable = bool(await raw.fetchval(_WRITABLE, timeout=seconds))
        except BaseException:
            raw.terminate()
            raise
        if not writable:
            raw.terminate()
        return writable


def _none(failures: Mapping[str, str]) -> StoreUnavailable:
    listed = "; ".join(f"{host}: {reason}" for host, reason in failures.items())
    brief = "the database cannot be reached"
    if READ_ONLY in failures.values():
        brief = "no host of the database can be written to"
    return StoreUnavailable(f"No host of the database can be used ({listed}).", brief=brief)
