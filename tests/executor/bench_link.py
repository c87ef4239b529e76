"""How many tasks a second one executor process does: `python -m tests.executor.bench_link`.

A fake manager in a process of its own keeps CREDIT tasks at the executor over a real WebSocket
and sends the next stage's ack only when it has read the report, as a manager does.
"""

import asyncio
import itertools
import json
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection

import msgspec
from msgspec import Raw

from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.protocol import Ack, AckState, Assignment, Report, ReportState
from kaiju_tasks.samples import executor
from tests.executor.fakes import FakeManager, command
from tests.executor.server import serving

CREDIT = 1000


class BenchManager(FakeManager):
    """Sends a new task for every one that ends."""

    def __init__(self, total: int, stages: int) -> None:
        super().__init__()
        self.left = total
        self.done = 0
        self.total = total
        self.commands = [command("do.echo", params={"data": "[kws.n]"}) for _ in range(stages)]
        self.numbers = itertools.count()
        self.finished = asyncio.Event()

    def give(self, count: int) -> None:
        tasks = []
        for number in itertools.islice(self.numbers, min(count, self.left)):
            kws = Raw(b'{"n":%d}' % number)
            name = str(number)
            tasks.append(
                Assignment(
                    id=name,
                    job_id=name,
                    epoch=1,
                    nonce="n",
                    app_name="default",
                    stage=0,
                    stages=len(self.commands),
                    commands=self.commands,
                    exec_seconds=300.0,
                    kws=kws,
                )
            )
        self.left -= len(tasks)
        for start in range(0, len(tasks), 500):
            self.notify("executor.run", {"tasks": tasks[start : start + 500]})

    def take(self, frame: bytes | str) -> None:
        message = msgspec.json.decode(frame, type=Frame)
        if message.method != "manager.write_stage":
            super().take(frame)
            return
        reports = msgspec.json.decode(message.params, type=Reports).reports
        acks = [self.bench_ack(report) for report in reports]
        self.reply(message.id, result={"acks": acks})
        over = sum(ack.state is AckState.RELEASED for ack in acks)
        self.done += over
        self.give(over)
        if self.done >= self.total:
            self.finished.set()

    def bench_ack(self, report: Report) -> Ack:
        assert report.state is ReportState.FINISHED, report
        last = report.stage + 1 == len(self.commands)
        return Ack(AckState.RELEASED if last else AckState.OK)


class Frame(msgspec.Struct):
    id: int
    method: str
    params: Raw


class Reports(msgspec.Struct):
    reports: list[Report]


def manage(pipe: Connection, total: int, stages: int) -> None:
    asyncio.run(serve(pipe, total, stages))


async def serve(pipe: Connection, total: int, stages: int) -> None:
    manager = BenchManager(total, stages)
    async with serving(manager) as server:
        pipe.send_bytes(server.url.encode())
        while not manager.methods("manager.connect"):
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        manager.give(CREDIT)
        await manager.finished.wait()
        pipe.send_bytes(json.dumps(time.perf_counter() - began).encode())
        await asyncio.sleep(3)


def bench(total: int, stages: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=manage, args=(theirs, total, stages), daemon=True)
    process.start()
    url = ours.recv_bytes().decode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    asyncio.run(run_executor(executor, [url], concurrency=CREDIT, until_idle=True))
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    seconds = json.loads(ours.recv_bytes())
    process.terminate()
    print(
        f"{stages} stage(s): {total / seconds:,.0f} tasks/s, "
        f"{cpu / total * 1e6:.0f} µs of executor CPU a task"
    )


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    bench(30_000, 1)
    bench(10_000, 3)
