"""The faults. Each strikes a world, and has healed when it returns."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Literal

import asyncpg

from tests.chaos.cluster import DATABASE, NOBODY, Strike
from tests.chaos.wire import Cut
from tests.chaos.world import LEASE_SECONDS, World

__all__ = ["ALONE", "FAULTS", "Fault", "faults_of"]

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
    async with world.cluster.changing:
        await asyncio.to_thread(world.cluster.primary.kill)
        await asyncio.sleep(random.choice([0.0, 1.0]))
        await asyncio.to_thread(world.cluster.primary.start)


async def database_restarted(world: World, random: Random) -> None:
    mode: Literal["fast", "immediate"] = random.choice(["fast", "immediate"])
    async with world.cluster.changing:
        await asyncio.to_thread(world.cluster.primary.restart, mode)


async def failover(world: World, random: Random) -> None:
    """The primary goes, and its synchronous standby takes its place. Managers know both hosts."""
    how: Strike = random.choice(["killed", "stopped", "late"])
    async with world.cluster.changing:
        await world.cluster.fail_over(how)


async def backends_terminated(world: World, random: Random) -> None:
    await world.cluster.administer(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def connections_exhausted(world: World, random: Random) -> None:
    """End the managers' connections, and take all that the server has for a second."""
    taken: list[asyncpg.Connection] = []
    await backends_terminated(world, random)
    try:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(world.cluster.primary.dsn(DATABASE), timeout=10))
        await asyncio.sleep(1.0)
    finally:
        for connection in taken:
            await connection.close(timeout=10)


async def wire_cut(world: World, random: Random) -> None:
    world.cluster.wire.cut()


async def commit_cut_before(world: World, random: Random) -> None:
    await _cut_commits(world, random, "before")


async def commit_cut_after(world: World, random: Random) -> None:
    await _cut_commits(world, random, "after")


async def _cut_commits(world: World, random: Random, when: Cut) -> None:
    wire = world.cluster.wire
    for _ in range(random.randint(1, 5)):
        before = wire.commits_cut
        wire.cut_next_commit(when)
        async with asyncio.timeout(30):
            while wire.commits_cut == before:
                await asyncio.sleep(0.002)


async def commits_delayed(world: World, random: Random) -> None:
    wire = world.cluster.wire
    wire.delay_commits(random.choice([0.05, 0.5]))
    await asyncio.sleep(2.0)
    wire.delay_commits(0.0)


async def connections_silent(world: World, random: Random) -> None:
    world.cluster.wire.silence()


async def standby_stalled(world: World, random: Random) -> None:
    """Commits wait for a standby that does not answer; their connections are cut meanwhile."""
    async with world.cluster.changing:
        await world.cluster.wait_for_standby(NOBODY)
        try:
            await asyncio.sleep(STALL_SECONDS / 2)
            world.cluster.wire.cut()
            await asyncio.sleep(STALL_SECONDS / 2)
        finally:
            await world.cluster.wait_for_standby(None)


async def read_only(world: World, random: Random) -> None:
    """The database accepts no writes, as after a failover to a standby."""
    async with world.cluster.changing:
        await world.cluster.administer(
            "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
        )
        try:
            await asyncio.sleep(2.0)
        finally:
            await world.cluster.administer(
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            )


async def clock_set(world: World, random: Random) -> None:
    """All wall clocks are set, that of the database among them. Small steps are followed."""
    steps = [0.4, LEASE_SECONDS * 1.3, 3600.0]
    await world.set_clock(random.choice([1, -1]) * random.choice(steps))


async def disk_full(world: World, random: Random) -> None:
    """The disk of the database has no space left. PostgreSQL may end, and is started then."""
    assert world.disk is not None
    async with world.cluster.changing if world.is_postgres else contextlib.nullcontext():
        try:
            for _ in range(random.choice([1, 40])):
                await asyncio.to_thread(world.disk.fill)  # somebody may have given some back
                await asyncio.sleep(0.1)
        finally:
            world.disk.free()
            if world.is_postgres:
                await world.cluster.revive()


OF_PROCESSES: dict[str, Fault] = {
    "executor_killed": executor_killed,
    "executor_stopped": executor_stopped,
    "executor_frozen": executor_frozen,
    "manager_killed": manager_killed,
    "manager_stopped": manager_stopped,
    "manager_frozen": manager_frozen,
    "clock_set": clock_set,
    "disk_full": disk_full,
}
OF_POSTGRES: dict[str, Fault] = {
    "rolling_restart": rolling_restart,
    "database_killed": database_killed,
    "database_restarted": database_restarted,
    "failover": failover,
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
ALONE = frozenset({"clock_set"})
"""Faults that strike alone: a clock that is set while no manager is up is not noticed."""


def faults_of(world: World) -> dict[str, Fault]:
    """The faults that can strike this world, by name."""
    possible = dict(FAULTS if world.is_postgres else OF_PROCESSES)
    if world.is_postgres and not world.cluster.can_fail_over:
        del possible["failover"]
    if world.disk is None:
        del possible["disk_full"]
    return possible
