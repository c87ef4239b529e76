"""Opens connections to PostgreSQL and lets both ends notice when the other one is gone."""

import itertools
import logging
import secrets
import socket
from functools import partial
from typing import Any

import asyncpg

from kaiju_tasks.store.postgres.address import CUSTOM_PLANS, PLANNING, Address
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.errors import translated
from kaiju_tasks.store.postgres.hedged import hedged
from kaiju_tasks.store.postgres.hosts import Hosts

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 5
INTERVAL_SECONDS = 2
UNANSWERED_PROBES = 3
UNACKNOWLEDGED_SECONDS = 10
OURS = "kaiju_tasks"
"""The beginning of the `application_name` of all connections."""

_CLIENT = {
    "TCP_KEEPIDLE": KEEPALIVE_SECONDS,
    "TCP_KEEPALIVE": KEEPALIVE_SECONDS,
    "TCP_KEEPINTVL": INTERVAL_SECONDS,
    "TCP_KEEPCNT": UNANSWERED_PROBES,
    "TCP_USER_TIMEOUT": UNACKNOWLEDGED_SECONDS * 1000,
}
"""Options of the socket. TCP_KEEPALIVE is the name of TCP_KEEPIDLE on macOS."""

_SERVER = f"""
SELECT set_config(wanted.name, wanted.value, false), current_setting('{PLANNING}')
FROM (VALUES
    ('tcp_keepalives_idle', '{KEEPALIVE_SECONDS * 3}'),
    ('tcp_keepalives_interval', '{INTERVAL_SECONDS}'),
    ('tcp_keepalives_count', '{UNANSWERED_PROBES}'),
    ('tcp_user_timeout', '{UNACKNOWLEDGED_SECONDS * 1000}')
) AS wanted (name, value)
WHERE current_setting(wanted.name, true) IS NOT NULL
"""
"""They are set after connecting, because poolers refuse parameters that they do not know. Asking
`pg_settings` which of them exist would take a third of the time of opening a connection."""


class Connector:
    """Opens connections of one store, each with its own name.

    :ivar pooled: whether a pooler such as PgBouncer is between. It shows by refusing parameters of
        a session, or by dropping them.
    """

    def __init__(self, address: Address, bounds: Bounds) -> None:
        self._address = address
        self._bounds = bounds
        self._prefix = f"{OURS} {secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._hosts = Hosts(address, bounds)
        self.pooled = False

    @property
    def local_settings(self) -> str:
        """Statements that each transaction needs at its begin; "" if its session has them."""
        return self._address.local_settings(self._bounds) if self.pooled else ""

    async def open(self, **options: Any) -> tuple[Any, str]:
        """Open a connection of asyncpg. If it falls silent meanwhile, another one is opened.

        :param options: of `asyncpg.connect`
        :returns: the connection and its name
        :raises StoreError: it cannot be opened
        """
        attempt = partial(self._open, options)
        return await hedged(attempt, self._bounds.doubt_seconds, lambda one: one[0].terminate())

    async def _open(self, options: dict[str, Any]) -> tuple[Any, str]:
        name = f"{self._prefix}-{next(self._numbers)}"
        with translated(opens=True):
            raw = await self._hosts.connect(lambda host: self._session(name, {**options, **host}))
            try:
                _keep_alive(raw)
                if not self.pooled and not await self._prepare(raw):
                    self._found_pooler()
                    raw.terminate()
                    return await self._open(options)
            except BaseException:
                raw.terminate()
                raise
        return raw, name

    async def _session(self, name: str, options: dict[str, Any]) -> Any:
        try:
            return await self._connect(name, options)
        except asyncpg.ProtocolViolationError as error:
            if self.pooled or "startup parameter" not in str(error):
                raise
        self._found_pooler()
        return await self._connect(name, options)

    async def _connect(self, name: str, options: dict[str, Any]) -> Any:
        ours = self._address.connect_options(name, self._bounds, pooled=self.pooled)
        return await asyncpg.connect(**{**ours, **options})

    async def _prepare(self, raw: Any) -> bool:
        """Set what poolers do not know. Returns whether the session has its parameters."""
        try:
            async with raw.transaction():  # a pooler would use two sessions otherwise
                found = await raw.fetch(_SERVER, timeout=self._bounds.probe_seconds)
        except asyncpg.PostgresError:  # it works without them
            return True
        return all(planning == CUSTOM_PLANS for _, planning in found)

    def _found_pooler(self) -> None:
        self.pooled = True
        log.warning(
            "the database is reached through a connection pooler: each statement takes longer, and "
            "if the pooler works in transaction mode, LISTEN does not work: a manager learns of "
            "the changes of other managers when it polls, and passes on no events of them"
        )


def _keep_alive(raw: Any) -> None:
    transport = raw._transport
    used = None if transport is None else transport.get_extra_info("socket")
    if used is None or used.family not in (socket.AF_INET, socket.AF_INET6):
        return
    used.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _CLIENT.items():
        number = getattr(socket, option, None)
        if number is not None:
            used.setsockopt(socket.IPPROTO_TCP, number, value)
