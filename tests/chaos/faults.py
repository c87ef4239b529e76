"""The faults. Each strikes a world, and has healed when it returns."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Literal

import asyncpg

from tests.chaos.cluster import NOBODY, Strike
from tests.chaos.wire import Cut
from tests.chaos.world import LEASE_SECONDS, World

__all__ = ["ALONE", "FAULTS", "OFTEN", "ON_EXECUTORS", "SELDOM", "Fault", "faults_of"]

Fault = Callable[[World, Random], Awaitable[None]]
STALL_SECONDS = 1.2


async def executor_killed(world: World, random: Random) -> None:
    await world.kill_executor(random.randrange(len(world.executors)), "executor_killed")


async def young_killed(world: World, random: Random) -> None:
    """All managers are killed, and an executor that has come back to the new ones. They are left
    alone until they have noticed it: no manager that is younger than a lease notices those of
    which it did not see a connection."""
    managers, left = range(len(world.managers)), await world.manager_ids()
    await asyncio.gather(*(world.restart_manager(at, kill=True) for at in managers))
    await world.executors_back(left)
    await world.probe()
    at = random.randrange(len(world.executors))
    dead = world.executors[at].id
    await world.kill_executor(at, "young_killed")
    await world.executor_gone(dead)


async def executor_stopped(world: World, random: Random) -> None:
    await world.stop_executor(random.randrange(len(world.executors)))


async def link_cut(world: World, random: Random) -> None:
    """A connection between an executor and a manager breaks."""
    random.choice(world.links).cut_one(random)


async def link_silent(world: World, random: Random) -> None:
    """What an executor and its manager send no longer arrives, and neither end is informed."""
    random.choice(world.links).silence_one(random)


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
    await world.cluster.terminate()


async def backend_terminated(world: World, random: Random) -> None:
    await world.cluster.terminate(1)


async def connections_exhausted(world: World, random: Random) -> None:
    """End the managers' connections, and take all that the server has for a second."""
    taken: list[asyncpg.Connection] = []
    async with world.cluster.changing:
        await backends_terminated(world, random)
        try:
            with contextlib.suppress(asyncpg.TooManyConnectionsError):
                while True:
                    taken.append(await world.cluster.connect())
            await asyncio.sleep(1.0)
        finally:
            for connection in taken:
                await connection.close(timeout=10)


async def wire_cut(world: World, random: Random) -> None:
    world.cluster.wire.cut()


async def connection_cut(world: World, random: Random) -> None:
    world.cluster.wire.cut_one(random)


async def commit_cut_before(world: World, random: Random) -> None:
    await _cut_commits(world, random, "before")


async def commit_cut_after(world: World, random: Random) -> None:
    await _cut_commits(world, random, "after")


async def _cut_commits(world: World, random: Random, when: Cut) -> None:
    wire = world.cluster.wire
    for _ in range(random.randint(1, 5)):
        async with wire.cutting, asyncio.timeout(30):
            before = wire.commits_cut
            wire.cut_next_commit(when)
            try:
                while wire.commits_cut == before:
                    await asyncio.sleep(0.002)
            finally:
                wire.cut_next_commit(None)


async def commits_delayed(world: World, random: Random) -> None:
    wire = world.cluster.wire
    wire.delay_commits(random.choice([0.05, 0.5]))
    await asyncio.sleep(2.0)
    wire.delay_commits(0.0)


async def connection_silent(world: World, random: Random) -> None:
    world.cluster.wire.silence_one(random)


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
    "link_cut": link_cut,
    "link_silent": link_silent,
    "manager_killed": manager_killed,
    "manager_stopped": manager_stopped,
    "manager_frozen": manager_frozen,
    "young_killed": young_killed,
    "clock_set": clock_set,
    "disk_full": disk_full,
}
OF_POSTGRES: dict[str, Fault] = {
    "rolling_restart": rolling_restart,
    "database_killed": database_killed,
    "database_restarted": database_restarted,
    "failover": failover,
    "backend_terminated": backend_terminated,
    "backends_terminated": backends_terminated,
    "connections_exhausted": connections_exhausted,
    "wire_cut": wire_cut,
    "commit_cut_before": commit_cut_before,
    "commit_cut_after": commit_cut_after,
    "commits_delayed": commits_delayed,
    "connection_cut": connection_cut,
    "connection_silent": connection_silent,
    "connections_silent": connections_silent,
    "standby_stalled": standby_stalled,
    "read_only": read_only,
}
FAULTS = {**OF_PROCESSES, **OF_POSTGRES}
ALONE = frozenset({"clock_set", "young_killed"})
"""Nothing accompanies these: a clock that is set while no manager is up is not noticed."""
ON_EXECUTORS = frozenset(
    {"executor_killed", "executor_stopped", "executor_frozen", "link_cut", "link_silent"}
)
"""Faults that can strike several executors at a time."""
OFTEN: Mapping[str, float] = {
    "backend_terminated": 40.0,
    "connection_cut": 40.0,
    "link_cut": 40.0,
    "executor_frozen": 30.0,
    "commit_cut_before": 20.0,
    "commit_cut_after": 20.0,
    "executor_killed": 20.0,
    "link_silent": 8.0,
    "connection_silent": 4.0,
    "backends_terminated": 4.0,
    "executor_stopped": 4.0,
    "wire_cut": 4.0,
    "manager_killed": 2.0,
    "manager_frozen": 2.0,
}
SELDOM = 0.6
"""How much more often than others some faults strike among others. While the whole database or all
managers are away, nothing else happens: that is seldom."""


def faults_of(world: World) -> dict[str, Fault]:
    """The faults that can strike this world, by name."""
    possible = dict(FAULTS if world.is_postgres else OF_PROCESSES)
    if world.is_postgres and not world.cluster.can_fail_over:
        del possible["failover"]
    if world.disk is None:
        del possible["disk_full"]
    return possible
