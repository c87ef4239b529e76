"""Stores whose clock a test sets."""

import time
from collections.abc import Awaitable, Callable

import asyncpg

from kaiju_tasks.store import Store
from kaiju_tasks.store.clock import SteadyClock
from kaiju_tasks.store.open import make_store

SetClock = Callable[[float], Awaitable[None]]
"""Sets the clock forward (or back) by a number of seconds."""

_POSTGRES = """
CREATE TABLE test_clock (ahead float8 NOT NULL);
INSERT INTO test_clock VALUES (0);
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT pg_catalog.clock_timestamp() + make_interval(secs => ahead) FROM test_clock $$;
CREATE FUNCTION public.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT pg_catalog.statement_timestamp() + make_interval(secs => ahead) FROM test_clock $$;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
END $$
"""


async def stepped_store(url: str) -> tuple[Store, SetClock]:
    """A store, not yet open, and a way to set the clock that it follows."""
    if not url.startswith("sqlite"):
        return make_store(url), await stepped_database(url)
    ahead = 0.0

    async def set_clock(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    return make_store(url, clock=SteadyClock(lambda: time.time() + ahead)), set_clock


async def stepped_database(url: str) -> SetClock:
    """A way to set the clock of a PostgreSQL database, for connections that are opened later."""

    async def execute(sql: str, *values: float) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(sql, *values)
        finally:
            await connection.close()

    await execute(_POSTGRES)

    async def set_clock(seconds: float) -> None:
        await execute("UPDATE test_clock SET ahead = ahead + $1", seconds)

    return set_clock
