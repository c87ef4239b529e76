"""Moves the times in PostgreSQL with the database's clock."""

from kaiju_tasks.store.clock_step import fires_after_step
from kaiju_tasks.store.columns import ROW_WIDTH, delayed_ids, row_of, stored_definition
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.saving import SQL


async def apply_step(connection: Connection, step: float, now: float) -> None:
    """Apply a step of the clock, in a transaction that has locked the times.

    :param now: the clock after the step
    """
    delayed = delayed_ids(await connection.fetch(SQL["perhaps_delayed"]))
    await connection.execute(SQL["shift_tasks"], step, delayed)
    await connection.execute(SQL["shift_executors"], step, now)
    await connection.execute(SQL["shift_managers"], step)
    await connection.execute(SQL["raise_clock"])
    if step > 0:
        found = await connection.fetch(SQL["jumped"], now)
        jumped = [
            (row_of(one), stored_definition(one["id"], *one[ROW_WIDTH:]).definition)
            for one in found
        ]
        await connection.executemany(SQL["set_fire"], fires_after_step(jumped, now))
