"""Measures how long the work of an executor takes that gets a SIGKILL.

`python -m tests.benchmarks.recovery` starts a manager with the default settings for each kill, so
that it is younger than a lease, and two executors. The first one is killed while it runs a stage,
and the second one runs the stage again. Printed are the seconds from the SIGKILL to the end of the
task.
"""

import argparse
import asyncio
import random
import socket
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from tests.support.postgres import PostgresServer
from tests.support.processes import Processes
from tests.system.fleet import Fleet, command, ended, has_status, task

BODY_SECONDS = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.recovery", description=__doc__
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--db", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--address",
        action="store_true",
        help="connect through this machine's address, as executors of other machines do: the "
        "manager does not look at their processes",
    )
    asyncio.run(measure(parser.parse_args()))


async def measure(options: argparse.Namespace) -> None:
    dice = random.Random(options.seed)
    seconds: list[float] = []
    with PostgresServer() if options.db == "postgres" else nullcontext() as server:
        for number in range(options.kills):
            with tempfile.TemporaryDirectory(prefix="kaiju-recovery-") as folder:
                db = f"sqlite:///{folder}/tasks.db"
                if server is not None:
                    db = server.create_database(f"kill{number}")
                seconds.append(await kill(Path(folder), db, dice, address=options.address))
            print(f"{number + 1}: {seconds[-1]:.2f} s", flush=True)
    seconds.sort()
    shares = {f"p{share}": _quantile(seconds, share / 100) for share in (50, 95, 99)}
    print("  ".join(f"{name} {value:.2f} s" for name, value in shares.items()))


async def kill(folder: Path, db: str, dice: random.Random, *, address: bool) -> float:
    """The seconds from a SIGKILL to the end of the work."""
    fleet = Fleet(Processes(folder), db, folder)
    fleet.settings = {"host": "0.0.0.0", "allow_insecure_host": True} if address else {}
    fleet.address = _address() if address else "127.0.0.1"
    try:
        manager = await fleet.manager()
        first = await fleet.executor(manager)
        client = fleet.client(manager)
        await client.tasks.create(task("t", command("sleep", seconds=BODY_SECONDS)))
        await has_status(client, "t", "EXECUTED")
        await fleet.executor(manager)
        await asyncio.sleep(dice.uniform(0.0, 0.2) * BODY_SECONDS)
        first.process.kill()
        began = time.monotonic()
        done = await ended(client, "t")
        assert done["status"] == "FINISHED", done
        return time.monotonic() - began
    finally:
        await fleet.close()


def _address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


def _quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    main()
