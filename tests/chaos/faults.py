"""The faults. Each strikes a world, and has healed when it returns."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random

import asyncpg

from tests.chaos.world import LEASE_SECONDS, World

__all__ = ["FAULTS", "Fault", "faults_of"]

Fault = Callable[[World, Random], Awaitable[None]]
STALL_SECONDS = 1.2


async def executor_killed(world: World, random: Random) -> None:
    await world.restart_executor(random.randrange(len(world.executors)), kill=True)


async def executor_stopped(world: World, random: Random) -> None:
    await world.restart_executor(random.randrange(len(world.executors)), kill=False)


async def executor_frozen(world: World, random: Random) -> None:
    seconds = random.choice([0.3, LEASE_SECONDS * 0.9, LEASE_SECONDS * 1.3])
    await world.freeze_executor(random.randrange(len(world.executors)), seconds)


async def manager_killed(world: World, random: Random) -> None:
    await world.restart_manager(random.randrange(len(world.managers)), kill=True)


async def manager_stopped(world: World, random: Random) -> None:
    await world.restart_manager(random.randrange(len(world.managers)), kill=False)


async def manager_frozen(world: World, random: Random) -> None:
    seconds = random.choice([0.3, LEASE_SECONDS * 1.3])
    await world.freeze_manager(random.randrange(len(world.managers)), seconds)


async def rolling_restart(world: World, random: Random) -> None:
    for at in range(len(world.managers)):
        await world.restart_manager(at, kill=False)


async def database_killed(world: World, random: Random) -> None:
    assert world.server is not None
    await asyncio.to_thread(world.server.kill)
    await asyncio.sleep(random.choice([0.0, 1.0]))
    await asyncio.to_thread(world.server.start)


async def database_restarted(world: World, random: Random) -> None:
    assert world.server is not None
    await asyncio.to_thread(world.server.restart, random.choice(["fast", "immediate"]))


async def backends_terminated(world: World, random: Random) -> None:
    await world.administer(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def connections_exhausted(world: World, random: Random) -> None:
    """End the managers' connections, and take all that the server has for a second."""
    assert world.server is not None
    taken: list[asyncpg.Connection] = []
    await backends_terminated(world, random)
    try:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(world.server.dsn("tasks"), timeout=10))
        await asyncio.sleep(1.0)
    finally:
        for connection in taken:
            await connection.close(timeout=10)


async def wire_cut(world: World, random: Random) -> None:
    assert world.wire is not None
    world.wire.cut()


async def commit_cut_before(world: World, random: Random) -> None:
    await _cut_commits(world, random, "before")


async def commit_cut_after(world: World, random: Random) -> None:
    await _cut_commits(world, random, "after")


async def _cut_commits(world: World, random: Random, when: str) -> None:
    assert world.wire is not None
    for _ in range(random.randint(1, 5)):
        before = world.wire.commits_cut
        world.wire.cut_next_commit(when)  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            while world.wire.commits_cut == before:
                await asyncio.sleep(0.002)


async def commits_delayed(world: World, random: Random) -> None:
    assert world.wire is not None
    world.wire.delay_commits(random.choice([0.05, 0.5]))
    await asyncio.sleep(2.0)
    world.wire.delay_commits(0.0)


async def connections_silent(world: World, random: Random) -> None:
    assert world.wire is not None
    world.wire.silence()


async def standby_stalled(world: World, random: Random) -> None:
    """Commits wait for a standby that does not answer; their connections are cut meanwhile."""
    assert world.wire is not None
    await world.administer(
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"
    )
    try:
        await asyncio.sleep(STALL_SECONDS / 2)
        world.wire.cut()
        await asyncio.sleep(STALL_SECONDS / 2)
    finally:
        await world.administer(
            "SET synchronous_commit = off",
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        )


async def read_only(world: World, random: Random) -> None:
    """The database accepts no writes, as after a failover to a standby."""
    await world.administer(
        "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
    )
    try:
        await asyncio.sleep(2.0)
    finally:
        await world.administer(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )


OF_PROCESSES: dict[str, Fault] = {
    "executor_killed": executor_killed,
    "executor_stopped": executor_stopped,
    "executor_frozen": executor_frozen,
    "manager_killed": manager_killed,
    "manager_stopped": manager_stopped,
    "manager_frozen": manager_frozen,
}
OF_POSTGRES: dict[str, Fault] = {
    "rolling_restart": rolling_restart,
    "database_killed": database_killed,
    "database_restarted": database_restarted,
    "backends_terminated": backends_terminated,
    "connections_exhausted": connections_exhausted,
    "wire_cut": wire_cut,
    "commit_cut_before": commit_cut_before,
    "commit_cut_after": commit_cut_after,
    "commits_delayed": commits_delayed,
    "connections_silent": connections_silent,
    "standby_stalled": standby_stalled,
    "read_only": read_only,
}
FAULTS = {**OF_PROCESSES, **OF_POSTGRES}


def faults_of(world: World) -> dict[str, Fault]:
    """The faults that can strike this world, by name."""
    return OF_PROCESSES if world.server is None else FAULTS
