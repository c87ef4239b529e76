"""The whole executor: a real WebSocket, real processes, real signals."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.process import EXIT_ORPHANED, EXIT_REFUSED, run_executor
from tests.executor.commands import executor as commands
from tests.executor.fakes import FakeManager, assignment, command, result_of
from tests.executor.server import Server, serving
from tests.support.wait import PATIENCE_SECONDS, wait_until

Embed = Callable[..., Coroutine[Any, Any, "asyncio.Task[int]"]]
Spawn = Callable[..., Coroutine[Any, Any, asyncio.subprocess.Process]]


@pytest.fixture
def manager() -> FakeManager:
    manager = FakeManager()
    manager.max_result_bytes = 1024 * 1024
    return manager


@pytest.fixture
async def server(manager: FakeManager) -> AsyncIterator[Server]:
    async with serving(manager) as server:
        yield server


@pytest.fixture
async def embed(manager: FakeManager, server: Server) -> AsyncIterator[Embed]:
    """Run an executor in this process, connected."""
    tasks: list[asyncio.Task[int]] = []

    async def start(executor: Executor = commands, **options: Any) -> "asyncio.Task[int]":
        options.setdefault("restart", lambda: None)
        run = run_executor(executor, [server.url], handle_signals=False, **options)
        tasks.append(asyncio.create_task(run))
        await wait_until(lambda: manager.methods("manager.connect"), "the executor connects")
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def spawn(manager: FakeManager, server: Server) -> AsyncIterator[Spawn]:
    """Run an executor in a child process, connected."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> asyncio.subprocess.Process:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.executor.child", server.url, json.dumps(options)
            )
            stack.push_async_callback(end, child)
            await wait_until(lambda: manager.methods("manager.connect"), "the child connects")
            return child

        yield start


async def end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()
    await child.wait()


def outcomes(manager: FakeManager, count: int) -> Callable[[], bool]:
    return lambda: len(manager.outcomes()) >= count


async def test_it_serves_over_a_real_websocket(manager, embed):
    await embed()
    manager.run(assignment(command("echo", params={"data": "ü"}), command("echo")))
    await wait_until(outcomes(manager, 2), "both stages end")
    assert result_of(manager.reports[0]) == "ü"


async def test_what_is_too_large_to_announce_does_not_keep_it_from_connecting(
    manager, embed, caplog
):
    large = Executor("app")
    for number in range(200):

        def one(value: str) -> None:
            """Take a value."""

        values = tuple(f"{number:03}-{value:060}" for value in range(600))
        one.__annotations__["value"] = Literal.__getitem__(values)
        large.command(f"m{number}")(one)
    await embed(large)
    [connect] = manager.methods("manager.connect")
    announced = connect["commands"]
    assert [one["method"] for one in announced] == [f"m{number}" for number in range(200)]
    assert {one["doc"] for one in announced} == {"Take a value."}
    assert 0 < sum("params" in one for one in announced) < 200
    assert len(json.dumps(announced)) < 5 * 1024 * 1024
    assert "the schemas of parameters of " in caplog.text
    assert " commands (m0, m1, m2, …)" in caplog.text


async def test_it_survives_a_cut_connection(manager, server, embed):
    await embed()
    manager.silent.add("manager.write_stage")
    manager.run(assignment(command("echo")))
    await wait_until(outcomes(manager, 1), "the stage is reported")
    manager.silent.clear()
    await server.cut()
    await wait_until(outcomes(manager, 2), "it is reported again")
    assert len(manager.methods("manager.connect")[1]["holding"]) == 1


async def test_the_token_is_a_header(manager):
    async with serving(manager, token="secret") as server:
        code = await run_executor(
            commands, [server.url], token="secret", until_idle=True, handle_signals=False
        )
        assert code == 0
        assert server.tokens == ["Bearer secret"]


async def test_a_wrong_token_ends_with_its_own_code(manager):
    async with serving(manager, token="secret") as server:
        code = await run_executor(commands, [server.url], token="wrong", handle_signals=False)
    assert code == EXIT_REFUSED


async def test_until_idle_ends_when_nothing_is_left(manager, embed):
    running = await embed(until_idle=True)
    manager.run(assignment(command("echo")))
    assert await running == 0
    assert manager.outcomes() == [(0, "finished")]
    assert manager.methods("manager.suspend_executor")


async def test_after_max_tasks_it_starts_anew(manager, embed):
    restarts = []
    running = await embed(max_tasks=2, restart=lambda: restarts.append(1))
    manager.run(*(assignment(command("echo")) for _ in range(3)))
    assert await running == 0
    assert sorted(state for _, state in manager.outcomes()) == ["finished", "finished", "released"]
    assert restarts == [1]


async def test_one_cut_off_for_too_long_starts_anew(manager, server, embed, tmp_path):
    manager.orphan_seconds = 0.3
    restarts = []
    running = await embed(restart=lambda: restarts.append(1))
    manager.run(assignment(command("sleep", params={"seconds": 60, "folder": str(tmp_path)})))
    await wait_until((tmp_path / "began").exists, "the stage runs, so that it is connected")
    manager.errors["manager.connect"] = (503, "away")
    await server.cut()
    assert await running == EXIT_ORPHANED
    assert restarts == [1]


async def test_the_lifespan_is_held_while_it_serves(manager, embed):
    events = []

    @asynccontextmanager
    async def lifespan(executor: Executor) -> AsyncIterator[str]:
        events.append(executor.app_name)
        yield "a pool"
        events.append("closed")

    executor = Executor("app", lifespan=lifespan)

    @executor.command("state")
    def state(ctx: Context) -> Any:
        return ctx.state

    running = await embed(executor, until_idle=True)
    manager.run(assignment(command("state")))
    await running
    assert result_of(manager.reports[0]) == "a pool"
    assert events == ["app", "closed"]


async def test_sigterm_lets_the_running_stage_end_and_exits_with_0(manager, spawn, tmp_path):
    child = await spawn()
    manager.run(
        assignment(
            command("sleep", params={"seconds": 0.5, "folder": str(tmp_path)}), command("echo")
        )
    )
    await wait_until((tmp_path / "began").exists, "the stage runs")
    child.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(child.wait(), PATIENCE_SECONDS) == 0
    assert manager.outcomes() == [(0, "finished"), (1, "released")]
    assert manager.methods("manager.suspend_executor")


async def test_sigterm_gives_back_what_outlasts_the_grace(manager, spawn, tmp_path):
    child = await spawn(shutdown_grace=0.3)
    manager.run(assignment(command("sleep", params={"seconds": 60, "folder": str(tmp_path)})))
    await wait_until((tmp_path / "began").exists, "the stage runs")
    child.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(child.wait(), PATIENCE_SECONDS) == 0
    assert manager.outcomes() == [(0, "released")]


async def test_sigterm_ends_it_although_a_thread_never_does(manager, spawn, tmp_path):
    child = await spawn(shutdown_grace=0.1)
    manager.run(assignment(command("stuck", params={"folder": str(tmp_path)})))
    await wait_until((tmp_path / "stuck").exists, "the stage runs")
    child.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(child.wait(), PATIENCE_SECONDS) == 0
    assert manager.outcomes() == [(0, "released")]


async def test_a_second_sigint_ends_it_at_once(manager, spawn, tmp_path):
    child = await spawn(shutdown_grace=60)
    manager.run(assignment(command("sleep", params={"seconds": 60, "folder": str(tmp_path)})))
    await wait_until((tmp_path / "began").exists, "the stage runs")
    child.send_signal(signal.SIGINT)
    capacities = manager.methods
    await wait_until(
        lambda: capacities("manager.ping")[-1:] and capacities("manager.ping")[-1]["capacity"] == 0,
        "it takes no more",
    )
    child.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(child.wait(), PATIENCE_SECONDS) == 0
    assert manager.outcomes() == [(0, "released")]


async def test_a_stuck_thread_makes_the_process_give_back_and_start_anew(manager, spawn, tmp_path):
    child = await spawn(kill_grace=0.2)
    other = assignment(command("sleep", params={"seconds": 60, "folder": str(tmp_path)}))
    stuck = assignment(command("stuck", params={"folder": str(tmp_path)}, max_timeout=0.3))
    manager.run(other, stuck)
    connects = manager.methods
    await wait_until(lambda: len(connects("manager.connect")) == 2, "it starts again")
    assert manager.outcomes(stuck.id) == [(0, "failed")]
    assert manager.outcomes(other.id) == [(0, "released")]
    first, second = connects("manager.connect")
    assert first["id"] != second["id"]
    assert first["pid"] == second["pid"] == child.pid
    assert second.get("holding", []) == []


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_a_concurrency_below_1_is_refused(concurrency):
    with pytest.raises(ValueError, match="`concurrency` must be at least 1"):
        await run_executor(commands, ["http://127.0.0.1:1"], concurrency=concurrency)


def test_importing_the_library_does_not_import_aiohttp():
    code = "import sys, kaiju_tasks.executor; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.cwd()).returncode == 0
