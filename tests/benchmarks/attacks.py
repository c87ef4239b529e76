"""Measures what is left for honest clients while one principal attacks the manager.

`python -m tests.benchmarks.attacks` starts a manager with the default settings and tokens, an
honest executor and an honest creator of tasks that together keep it busy, and, from a process of
its own, one attack after another (`--attack NAME` for one). Printed are the honest tasks per
second as a share of those without an attack, the same for each second of CPU time of the manager,
which other work on the machine changes less, the longest time of `/healthz`, and by how much the
resident memory of the manager grew, during the attack and 10 seconds after its end. The exit code
is 1 if a bound of docs/security.md is exceeded.

All processes share the cores of this machine. The attacker has the lowest priority, so that it
takes only what the others leave.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import aiohttp
from msgspec import Struct

from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import Kind, Scope
from kaiju_tasks.store.open import make_store
from tests.benchmarks.attackers import ATTACKS, STREAM, prepare
from tests.benchmarks.honest import Honest
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes, RunningProcess
from tests.system.fleet import Fleet

MIB = 1024 * 1024
LEAST_SHARE = 0.8
MOST_HEALTH_SECONDS = 1.0
MOST_MIB = 300
MOST_MIB_AFTERWARDS = 100
REST_SECONDS = 10.0
PROBE_SECONDS = 0.05


class Tokens(Struct):
    """The tokens of all that take part."""

    creator: str
    executor: str
    user: str
    other_executor: str


class Figures(Struct):
    """What was measured during an attack, or without one.

    :param rate: honest tasks per second
    :param yielded: honest tasks per second of CPU time of the manager
    :param health: the longest answer of `/healthz`, seconds
    :param peak: the most resident memory of the manager, bytes
    """

    rate: float
    yielded: float
    health: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.attacks", description=__doc__)
    parser.add_argument("--db", choices=["postgres", "sqlite"], default="sqlite")
    parser.add_argument("--attack", choices=sorted(ATTACKS), action="append")
    parser.add_argument("--seconds", type=float, default=15.0, help="the length of each attack")
    options = parser.parse_args()
    sys.exit(asyncio.run(measure(options)))


async def measure(options: argparse.Namespace) -> int:
    """Measure all attacks. Returns the number of those that exceed a bound, 0 or 1."""
    exceeded = []
    print(
        f"{'attack':<18} {'honest':>8} {'by CPU':>8} {'healthz':>9} {'memory':>9} {'after':>9}",
        flush=True,
    )
    with PostgresServer() if options.db == "postgres" else nullcontext() as server:
        for number, name in enumerate(options.attack or ATTACKS):
            with tempfile.TemporaryDirectory(prefix="kaiju-attacks-") as folder:
                db = f"sqlite:///{folder}/tasks.db"
                if server is not None:
                    db = server.create_database(f"attack{number}")
                if not await attack(name, Path(folder), db, options.seconds):
                    exceeded.append(name)
    if exceeded:
        print(f"bounds exceeded: {', '.join(exceeded)}")
    return 1 if exceeded else 0


async def attack(name: str, folder: Path, db: str, seconds: float) -> bool:
    """Measure one attack. Returns whether all bounds hold."""
    tokens = await make_tokens(db)
    processes = Processes(folder)
    fleet = Fleet(processes, db, folder)
    fleet.settings = {}
    try:
        manager = await fleet.manager()
        await prepare(manager.url, tokens.user, tokens.other_executor)
        async with Honest(manager.url, tokens.creator, tokens.executor) as honest:
            await observe(manager.process, manager.url, honest, min(seconds, 5.0))
            before = resident(manager.process)
            calm = await observe(manager.process, manager.url, honest, seconds)
            arguments = [name, manager.url, tokens.user, tokens.other_executor]
            attacker = processes.start(
                [sys.executable, "-m", "tests.benchmarks.attackers", *arguments], name
            )
            await attacker.logged("^attacking$")
            found = await observe(manager.process, manager.url, honest, seconds)
            died = attacker.exit_code is not None
            attacker.close()
            await observe(manager.process, manager.url, honest, REST_SECONDS)
            after = resident(manager.process)
        if died:
            raise RuntimeError(f"the attacker ended early:\n{attacker.log_end}")
    finally:
        await fleet.close()
    by_cpu = found.yielded / calm.yielded
    share, grown = found.rate / calm.rate, (found.peak - before) / MIB
    left = (after - before) / MIB
    print(
        f"{name:<18} {share:>7.0%} {by_cpu:>8.0%} {found.health:>7.2f} s "
        f"{grown:>+5.0f} MiB {left:>+5.0f} MiB   ({calm.rate:.0f} -> {found.rate:.0f} tasks/s)",
        flush=True,
    )
    return (
        share >= LEAST_SHARE
        and found.health <= MOST_HEALTH_SECONDS
        and grown <= MOST_MIB
        and left <= MOST_MIB_AFTERWARDS
    )


async def observe(manager: RunningProcess, url: str, honest: Honest, seconds: float) -> Figures:
    """Measure for some time."""
    began, done = time.monotonic(), honest.done
    used, health, peak = cpu_seconds(manager), 0.0, 0
    async with probing(url) as probe:
        while time.monotonic() < began + seconds:
            asked = time.monotonic()
            await probe()
            health = max(health, time.monotonic() - asked)
            peak = max(peak, resident(manager))
            await asyncio.sleep(PROBE_SECONDS)
    tasks = honest.done - done
    yielded = tasks / (cpu_seconds(manager) - used)
    return Figures(tasks / (time.monotonic() - began), yielded, health, peak)


@asynccontextmanager
async def probing(url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A function that asks for the health, over a new connection each time."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def probe() -> None:
            async with session.get(f"{url}/healthz") as response:
                assert response.status == 200

        yield probe


def cpu_seconds(process: RunningProcess) -> float:
    """The CPU time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: RunningProcess) -> int:
    """The resident memory of a process, bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def make_tokens(db: str) -> Tokens:
    """Tokens of honest principals and of an attacker, who may do everything in a stream."""
    store = make_store(db)
    await store.open()
    try:
        issuer = database_issuer(store)

        async def token(name: str, kind: Kind, stream: str) -> str:
            order = TokenOrder(principal=name, kind=kind, scope=Scope(streams=(stream,)))
            return (await issuer.create(order)).token

        return Tokens(
            creator=await token("creator", Kind.USER, "default"),
            executor=await token("executor", Kind.EXECUTOR, "default"),
            user=await token("mallory", Kind.USER, STREAM),
            other_executor=await token("mallory-executor", Kind.EXECUTOR, STREAM),
        )
    finally:
        await store.close()


if __name__ == "__main__":
    main()
