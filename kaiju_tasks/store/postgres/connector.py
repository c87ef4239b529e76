"""Opens connections to PostgreSQL and lets both ends notice when the other one is gone."""

import contextlib
import itertools
import secrets
import socket
from typing import Any

import asyncpg

from kaiju_tasks.store.postgres.address import Address
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.errors import translated

KEEPALIVE_SECONDS = 5
INTERVAL_SECONDS = 2
UNANSWERED_PROBES = 3
UNACKNOWLEDGED_SECONDS = 10

_CLIENT = {
    "TCP_KEEPIDLE": KEEPALIVE_SECONDS,
    "TCP_KEEPALIVE": KEEPALIVE_SECONDS,
    "TCP_KEEPINTVL": INTERVAL_SECONDS,
    "TCP_KEEPCNT": UNANSWERED_PROBES,
    "TCP_USER_TIMEOUT": UNACKNOWLEDGED_SECONDS * 1000,
}
"""Options of the socket. TCP_KEEPALIVE is the name of TCP_KEEPIDLE on macOS."""

_SERVER = f"""
SELECT set_config(setting.name, wanted.value, false)
FROM (VALUES
    ('tcp_keepalives_idle', '{KEEPALIVE_SECONDS * 3}'),
    ('tcp_keepalives_interval', '{INTERVAL_SECONDS}'),
    ('tcp_keepalives_count', '{UNANSWERED_PROBES}'),
    ('tcp_user_timeout', '{UNACKNOWLEDGED_SECONDS * 1000}')
) AS wanted (name, value)
JOIN pg_settings AS setting ON setting.name = wanted.name
"""
"""They are set after connecting, because poolers refuse parameters that they do not know."""


class Connector:
    """Opens connections of one store, each with its own name."""

    def __init__(self, address: Address, bounds: Bounds) -> None:
        self._address = address
        self._bounds = bounds
        self._prefix = f"kaiju_tasks {secrets.token_hex(4)}"
        self._numbers = itertools.count(1)

    async def open(self, **options: Any) -> tuple[Any, str]:
        """Open a connection of asyncpg.

        :param options: of `asyncpg.connect`
        :returns: the connection and its name
        :raises StoreError: it cannot be opened
        """
        name = f"{self._prefix}-{next(self._numbers)}"
        with translated():
            raw = await asyncpg.connect(
                **self._address.connect_options(name, self._bounds), **options
            )
            try:
                _keep_alive(raw)
                with contextlib.suppress(asyncpg.PostgresError):  # it works without them
                    await raw.execute(_SERVER, timeout=self._bounds.probe_seconds)
            except BaseException:
                raw.terminate()
                raise
        return raw, name


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
