"""A manager fills commands for an executor exactly as the library does itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks import Executor
from kaiju_tasks.conformance.cases.templates import vectors
from kaiju_tasks.embedded import Embedded, embedded, link_executors
from kaiju_tasks.executor.params import Signature
from kaiju_tasks.protocol import AckState, Report, ReportState
from kaiju_tasks.settings import Settings
from tests.manager.hand import HandExecutor, pinging
from tests.support.examples import examples

DATA = vectors()["data"]


def echo(data: Any) -> Any:
    return data


def typed(n: int, tags: list[str] | None = None) -> Any:
    return [n, tags]


FUNCTIONS: dict[str, Callable[..., Any]] = {"echo": echo, "typed": typed}


class Node(HandExecutor):
    """Runs what it is sent, and fills nothing."""

    async def work(self) -> None:
        while True:
            task = await self.take()
            command, stage = task.commands[0], task.stage
            while True:
                params = msgspec.json.decode(command.params)
                result = FUNCTIONS[command.method](**params)
                report = Report(
                    id=task.id,
                    job_id=task.job_id,
                    epoch=task.epoch,
                    nonce=task.nonce,
                    stage=stage,
                    state=ReportState.FINISHED,
                    result=Raw(msgspec.json.encode(result)),
                )
                (ack,) = await self.report(report)
                if ack.command is None or ack.stage is None:
                    assert ack.state is not AckState.OK
                    break
                command, stage = ack.command, ack.stage


@pytest.fixture
async def inside(store_url: str) -> AsyncIterator[Embedded]:
    """A manager with the stream `library`, and the stream `node` of an executor that fills
    nothing."""
    library = Executor("library", data=DATA["executor"])
    for name, function in FUNCTIONS.items():
        library.command(name)(function)
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(embedded(Settings(db=store_url)))
        await stack.enter_async_context(link_executors(inside, [library]))
        node = Node(inside.manager, "node")
        commands = [
            {"method": name, "params": Signature(function).schema()}
            for name, function in FUNCTIONS.items()
        ]
        await node.connect(app="node", fill=True, commands=commands, data=DATA["executor"])
        await stack.enter_async_context(pinging(node))
        work = asyncio.create_task(node.work())
        stack.callback(work.cancel)
        yield inside


async def outcomes(inside: Embedded, app_name: str, tasks: list[Any]) -> list[Any]:
    """Run tasks on a stream. Returns how each has ended."""
    made = await inside.call(
        "tasks.m_create",
        data=[{**task, "app_name": app_name, "kws": DATA["kws"]} for task in tasks],
    )
    ended = []
    for one in made:
        task = await inside.call("tasks.wait", id=one["id"], timeout=60)
        stages = await inside.call("tasks.stages", job_id=task["job_id"])
        error = task["error"]
        if error is not None and error["type"] == "invalid_params":
            error = {"type": error["type"], "field": error["data"]["field"]}
        ended.append((task["status"], task["result"], error, [one["outcome"] for one in stages]))
    return ended


async def compare(inside: Embedded, tasks: list[Any]) -> list[Any]:
    """Run tasks on both streams, 50 at once.

    :returns: how they have ended on both
    :raises AssertionError: a task has ended in another way than with the library
    """
    both = []
    for start in range(0, len(tasks), 50):
        some = tasks[start : start + 50]
        library = await outcomes(inside, "library", some)
        filled = await outcomes(inside, "node", some)
        for task, one, other in zip(some, library, filled, strict=True):
            assert other == one, task
        both += filled
    return both


def after_the_data(*commands: Any) -> Any:
    """A task whose first stages give the results that the vectors read."""
    results = [{"method": "echo", "params": {"data": {"$raw": DATA[name]}}} for name in ("0", "1")]
    render = {"method": "echo", "params": {"data": {"$raw": DATA["render"]}}, "name": "render"}
    return {"commands": [*results, render, *commands]}


def runs(vector: Any) -> bool:
    """Whether a task can have it; the ids of two tasks differ."""
    text = msgspec.json.encode(vector).decode()
    at = vector.get("error", {}).get("at", "fill")
    return at == "fill" and "[id" not in text and "[job_id" not in text


async def test_every_vector_ends_in_the_same_way(inside: Embedded) -> None:
    tasks, expected = [], []
    for vector in filter(runs, vectors()["templates"]):
        tasks.append(after_the_data({"method": "echo", "params": {"data": vector["template"]}}))
        expected.append("FINISHED" if "output" in vector else "FAILED")
    for vector in filter(runs, vectors()["conditions"]):
        condition = {"method": "echo", "params": {"data": 1}, "condition": vector["condition"]}
        tasks.append(after_the_data(condition))
        expected.append("FINISHED" if "holds" in vector else "FAILED")
    ended = await compare(inside, tasks)
    assert [one[0] for one in ended] == expected


PARTS: list[Any] = [
    "[0.value]", "[1]", "[render.url]", "[kws.name] of [2]", "[kws.q:5]", "[kws.none]", "[9]",
    "[executor.region]", "[!x:len:[kws.list]]", "[!f:{kws-name}]", "[0.items.id]", 5, "plain",
    "[3]", "[4.a]", {"$raw": "[x"}, None, ["[kws.list]"], {"k": "[0.[kws.key]]"}, "[kws.n]",
]  # fmt: skip
CONDITIONS: list[Any] = [
    None, {"0.value": 7}, {"0.value": {"gt": 7}}, {"kws.none": 1}, {"1": "done"},
    {"3": {"has": "a"}}, [{"kws.n": 3}, {"kws.n": 4}],
]  # fmt: skip


def drawn(dice: Random) -> Any:
    """A task of stages that read each other."""
    commands: list[Any] = []
    for _ in range(dice.randrange(1, 7)):
        if dice.random() < 0.3:
            params: dict[str, Any] = {"n": dice.choice(PARTS)}
            if dice.random() < 0.3:
                params["tags"] = dice.choice([["a"], "[kws.list]", "[0.items]", ["[kws.name]"]])
            commands.append({"method": "typed", "params": params})
        else:
            data = [dice.choice(PARTS) for _ in range(dice.randrange(3))]
            commands.append({"method": "echo", "params": {"data": data}})
        commands[-1]["condition"] = dice.choice(CONDITIONS) if dice.random() < 0.4 else None
    return after_the_data(*commands)


async def test_any_pipeline_ends_in_the_same_way(inside: Embedded) -> None:
    dice = Random(11)
    ended = await compare(inside, [drawn(dice) for _ in range(examples(300))])
    states = {one[0] for one in ended}
    kinds = {one[2]["type"] for one in ended if one[2] is not None}
    assert states == {"FINISHED", "FAILED"}
    assert kinds == {"template_error", "invalid_params"}
    assert any("SKIPPED" in one[3] for one in ended)
