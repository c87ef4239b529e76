"""JSON-RPC over a WebSocket."""

import json
from typing import Any, NoReturn

import aiohttp
import pytest
from aiohttp import ClientConnectionResetError, WSMsgType, web

from kaiju_tasks.protocol import DEFAULT_FRAME_BYTES
from tests.server.conftest import Site
from tests.support.wait import PATIENCE_SECONDS, wait_until

INFO = {"jsonrpc": "2.0", "id": 1, "method": "system.info"}


def connect_call(executor_id: str = "e1", capacity: int = 1, **more: Any) -> dict[str, Any]:
    params = {"id": executor_id, "app_names": ["default"], "capacity": capacity, **more}
    return {"jsonrpc": "2.0", "id": "hello", "method": "manager.connect", "params": params}


def create_call(task_id: str) -> dict[str, Any]:
    data = {"id": task_id, "commands": [{"method": "do.echo"}]}
    return {"jsonrpc": "2.0", "id": task_id, "method": "tasks.create", "params": {"data": data}}


async def test_a_call_is_answered_in_a_text_frame(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_json(INFO)
        message = await socket.receive(timeout=PATIENCE_SECONDS)
        assert message.type is WSMsgType.TEXT
        assert json.loads(message.data)["id"] == 1


async def test_a_binary_frame_is_taken_too(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_bytes(json.dumps(INFO).encode())
        assert "result" in await socket.receive_json(timeout=PATIENCE_SECONDS)


async def test_a_slow_call_does_not_hold_up_a_quick_one(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_json(create_call("slow"))
        await socket.receive_json(timeout=PATIENCE_SECONDS)
        params = {"id": "slow", "timeout": 30}
        await socket.send_json(
            {"jsonrpc": "2.0", "id": 2, "method": "tasks.wait", "params": params}
        )
        await socket.send_json(INFO)
        assert (await socket.receive_json(timeout=PATIENCE_SECONDS))["id"] == 1


async def test_a_frame_over_the_limit_is_413_and_the_socket_stays_usable(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_str('"' + "x" * 100_000 + '"')
        assert (await socket.receive_json(timeout=PATIENCE_SECONDS))["error"]["code"] == 413
        await socket.send_json(INFO)
        assert "result" in await socket.receive_json(timeout=PATIENCE_SECONDS)


async def test_a_frame_over_every_limit_closes_the_socket(site: Site) -> None:
    async with site.socket() as socket:
        try:
            await socket.send_str("x" * (DEFAULT_FRAME_BYTES + 1))
        except ConnectionError:
            pass  # closed before all of it was sent
        message = await socket.receive(timeout=PATIENCE_SECONDS)
        assert message.type is not WSMsgType.TEXT
    assert "result" in await site.call("system.info")


@pytest.mark.parametrize(
    ("frame", "code"), [("", -32700), ("{", -32700), ("[]", -32600), ("7", -32600)]
)
async def test_a_malformed_frame_is_answered(site: Site, frame: str, code: int) -> None:
    async with site.socket() as socket:
        await socket.send_str(frame)
        assert (await socket.receive_json(timeout=PATIENCE_SECONDS))["error"]["code"] == code


async def test_a_frame_that_is_not_utf8_harms_nobody_else(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"\xff"}')
        assert (await socket.receive_json(timeout=PATIENCE_SECONDS))["error"]["code"] == -32700
        await socket.send_frame(b"\xff\xfe", WSMsgType.TEXT)
        assert (await socket.receive(timeout=PATIENCE_SECONDS)).type is WSMsgType.CLOSE
    assert "result" in await site.call("system.info")


async def test_too_many_open_calls_are_429_and_the_rest_goes_on(site: Site) -> None:
    wait = {"jsonrpc": "2.0", "id": 5, "method": "tasks.wait"}
    async with site.socket() as socket:
        await socket.send_json(create_call("never"))
        await socket.receive_json(timeout=PATIENCE_SECONDS)
        for _ in range(1_100):
            await socket.send_json({**wait, "params": {"id": "never", "timeout": 60}})
        assert (await socket.receive_json(timeout=PATIENCE_SECONDS))["error"]["code"] == 429
        await socket.close()
    assert "result" in await site.call("system.info")


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_a_foreign_page_opens_no_socket(site: Site, headers: dict[str, str]) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with site.socket(headers=headers):
            pass
    assert refused.value.status == 403


async def test_an_executor_is_pushed_tasks_and_reports_them(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_json(connect_call())
        assert "result" in await socket.receive_json(timeout=PATIENCE_SECONDS)
        await site.call("tasks.create", **create_call("a")["params"])
        run = await socket.receive_json(timeout=PATIENCE_SECONDS)
        assert run["method"] == "executor.run"
        await socket.send_json(report_call(run["params"]["tasks"][0], {"big": "x" * 50_000}))
        answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
        assert answer == {
            "jsonrpc": "2.0",
            "id": 7,
            "result": {"acks": [{"state": "released"}]},
        }
    task = (await site.call("tasks.get", id="a"))["result"]
    assert (task["status"], task["exit_code"]) == ("FINISHED", 0)


async def test_an_executor_may_come_back_with_much_that_it_holds(site: Site) -> None:
    lease = {"job_id": "j" * 32, "epoch": 1, "nonce": "n" * 16}
    holding = [{"id": str(number), **lease} for number in range(1_000)]
    async with site.socket() as socket:
        await socket.send_json(connect_call(holding=holding))
        answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
        assert len(answer["result"]["revoked"]) == 1_000


async def test_a_stale_report_is_answered_and_changes_nothing(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_json(connect_call())
        await socket.receive_json(timeout=PATIENCE_SECONDS)
        lease = {"id": "nope", "job_id": "j", "epoch": 1, "nonce": "n", "stage": 0}
        await socket.send_json(report_call(lease, 1))
        assert (await socket.receive_json(timeout=PATIENCE_SECONDS))["result"]["acks"] == [
            {"state": "stale_lease"}
        ]


@pytest.mark.parametrize(
    "params", [{}, {"reports": 1}, {"reports": [{"id": "x"}]}, [], {"reports": [{}] * 501}]
)
async def test_malformed_reports_are_refused_with_the_field(site: Site, params: Any) -> None:
    async with site.socket() as socket:
        await socket.send_json(connect_call())
        await socket.receive_json(timeout=PATIENCE_SECONDS)
        call = {"jsonrpc": "2.0", "id": 7, "method": "manager.write_stage", "params": params}
        await socket.send_json(call)
        answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
        assert answer["id"] == 7
        assert answer["error"]["code"] in (-32602, 413)


async def test_connect_wants_a_socket(site: Site) -> None:
    answer = await site.call("manager.connect", **connect_call()["params"])
    assert answer["error"]["code"] == -32600


async def test_a_closed_socket_gives_its_work_back_within_the_grace(site: Site) -> None:
    async with site.socket() as socket:
        await socket.send_json(connect_call())
        await socket.receive_json(timeout=PATIENCE_SECONDS)
        before = (await site.call("executors.get", id="e1"))["result"]["lease_until"]
    settings = site.manager.settings

    async def shortened() -> bool:
        lease_until = (await site.call("executors.get", id="e1"))["result"]["lease_until"]
        return bool(lease_until <= before - settings.lease_seconds + settings.reconnect_grace + 3)

    await wait_until(shortened, "the lease was shortened")
    assert len(site.manager.sessions) == 0


def report_call(assignment: dict[str, Any], result: Any) -> dict[str, Any]:
    lease = {name: assignment[name] for name in ("id", "job_id", "epoch", "nonce", "stage")}
    report = {**lease, "state": "finished", "result": result}
    params = {"reports": [report]}
    return {"jsonrpc": "2.0", "id": 7, "method": "manager.write_stage", "params": params}


async def test_a_client_that_is_gone_before_its_websocket_is_open_leaves_no_traceback(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(self: web.WebSocketResponse, request: web.BaseRequest) -> NoReturn:
        raise ClientConnectionResetError("Cannot write to closing transport")

    with monkeypatch.context() as patched:
        patched.setattr(web.WebSocketResponse, "prepare", gone)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await site.socket().__aenter__()
    assert "result" in await site.call("system.info")


@pytest.mark.parametrize(("size", "taken"), [(1_000, True), (300_000, False)])
async def test_only_small_frames_are_read_loosely(site: Site, size: int, taken: bool) -> None:
    """What takes long is refused, and the executor finds out which of its reports it was."""
    async with site.socket() as socket:
        await socket.send_json(connect_call())
        await socket.receive_json(timeout=PATIENCE_SECONDS)
        lease = {"id": "nope", "job_id": "j", "epoch": 1, "nonce": "n", "stage": 0}
        await socket.send_str(json.dumps(report_call(lease, ["x" * size, float("nan")])))
        answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
    if taken:
        assert answer["result"]["acks"] == [{"state": "stale_lease"}]
    else:
        assert (answer["id"], answer["error"]["code"]) in ((None, -32700), (None, 413))
