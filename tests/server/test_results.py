"""What every method answers fits the schema that the document has for it."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import jsonschema
import pytest

from tests.server.conftest import Site

LATER = {"delay": 3600}
WORK = {"method": "do.work", "params": {"x": "[kws.x:1]"}, "max_timeout": 5, "name": "work"}
ASK = {"method": "_MESSAGE_", "params": {"name": "go"}, "condition": {"kws.x": 1}}


class Checked:
    """Calls over a WebSocket, each result held against the schema of its method."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, document: dict[str, Any]) -> None:
        self._socket = socket
        self._document = document
        self._schemas = {m["name"]: m["result"]["schema"] for m in document["methods"]}
        self.left = set(self._schemas)
        self.runs: list[dict[str, Any]] = []

    async def __call__(self, method: str, /, **params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
        await self._socket.send_json(request)
        while (answer := await self._receive()).get("id") != method:
            pass
        assert "result" in answer, answer
        schema = {**self._schemas[method], "components": self._document["components"]}
        jsonschema.Draft7Validator(schema, format_checker=FORMATS).validate(answer["result"])
        self.left.discard(method)
        return answer["result"]

    def over(self, socket: aiohttp.ClientWebSocketResponse) -> "Checked":
        """The same over another WebSocket."""
        other = Checked(socket, self._document)
        other.left = self.left
        return other

    async def run(self) -> dict[str, Any]:
        """The next task that the manager pushes."""
        while not self.runs:
            await self._receive()
        return self.runs.pop(0)

    async def _receive(self) -> dict[str, Any]:
        message = json.loads(await self._socket.receive_str(timeout=20))
        if message.get("method") == "executor.run":
            self.runs += message["params"]["tasks"]
        return dict(message)

    async def report(self, task: dict[str, Any], state: str, **more: Any) -> None:
        lease = {name: task[name] for name in ("id", "job_id", "epoch", "nonce", "stage")}
        report = {**lease, "state": state, **more}
        (ack,) = (await self("manager.write_stage", reports=[report]))["acks"]
        assert ack["state"] != "stale_lease"


FORMATS = jsonschema.FormatChecker(())


@FORMATS.checks("date-time")
def _is_moment(value: object) -> bool:
    return datetime.fromisoformat(str(value)).tzinfo is not None


@pytest.fixture
async def call(site: Site) -> AsyncIterator[Checked]:
    response = await site.session.get(f"{site.url}/openrpc.json")
    document = await response.json()
    async with site.socket() as socket:
        yield Checked(socket, document)


async def test_the_results_of_all_methods_fit_their_schemas(call: Checked, site: Site) -> None:
    document = await call("rpc.discover")
    await executors(call)
    await a_run(call)
    await a_failed_run(call)
    await the_rest(call)
    await tokens(call, site)
    assert document["openrpc"] == "1.3.2"
    assert call.left - {"test.crash"} == set()


async def executors(call: Checked) -> None:
    command = {"method": "do.work", "params": {"type": "object"}, "doc": "Work."}
    await call("manager.connect", id="e", app_names=["default"], commands=[command], capacity=4)
    await call("manager.ping", id="e", capacity=8)
    nightly = {"id": "nightly", "cron": "@daily", "commands": [WORK]}
    await call("manager.declare", schedules=[{"task": nightly, "version": "1"}, {"task": {}}])
    await call("tasks.delete", id="nightly")
    for method in ("list_active_executors", "execute_stage", "wait_for_timer", "wait_for_message"):
        await call(f"manager.{method}")
    await call("executors.list")
    await call("executors.get", id="e")
    await call("executors.commands")


async def a_run(call: Checked) -> None:
    subscription = (await call("events.subscribe", conditions={"app_name": "default"}))[
        "subscription"
    ]
    task = {
        "id": "a",
        "commands": [WORK, ASK],
        "kws": {"x": 1},
        "notify": True,
        "concurrency": {"key": "k", "limit": 1},
        "unique": {"key": "[kws.x]"},
        "group": 1,
        "meta": {"who": None},
        "max_retries": 1,
    }
    await call("tasks.validate", data=task)
    await call("tasks.create", data=task)
    await call("tasks.explain", id="a")
    run = await call.run()
    lease = {name: run[name] for name in ("id", "job_id", "epoch", "nonce", "stage")}
    get = {"method": "tasks.get", "params": {"id": "a"}, "call_id": "1"}
    assert (await call("manager.call", **lease, **get))["id"] == "a"
    lines = [{"n": 1, "message": "a", "fields": {"b": [1]}}, {"n": 2, "message": "c"}]
    assert (await call("manager.write_logs", logs=[{**lease, "lines": lines}]))["lines"] == 2
    assert len((await call("logs.list", job_id=run["job_id"]))["data"]) == 2
    await call.report(run, "finished", result={"any": [1]})
    await call("tasks.wait", id="a", timeout=0)
    await call("tasks.explain", id="a")
    await call("tasks.message", id="a", data=[1], name="go")
    ended = await call("tasks.wait", id="a")
    assert ended["status"] == "FINISHED"
    await call("tasks.runs", id="a")
    await call("tasks.stages", job_id=ended["job_id"])
    (notification,) = (await call("notifications.list"))["data"]
    await call("notifications.get", id=notification["id"])
    await call("notifications.update", id=notification["id"], data={"enabled": False})
    await call("notifications.delete", id=notification["id"])
    await call("events.unsubscribe", subscription=subscription)


async def a_failed_run(call: Checked) -> None:
    many = [{"id": "f", "commands": [WORK]}, {"id": "g", "commands": [WORK], **LATER}]
    await call("tasks.m_create", data=many)
    run = await call.run()
    await call.report(
        run, "failed", error={"type": "execution_error", "message": "no", "data": {"a": 1}}
    )
    failed = await call("tasks.wait", id="f")
    assert failed["error"]["message"] == "no"
    await call("tasks.runs", id="f")
    await call("runs.list")
    await call("runs.get", job_id=failed["job_id"])
    await call("tasks.m_explain", ids=["f", "g", "nope"])
    await call("tasks.family", id="f")
    await call("tasks.inbox", id="a")
    await call("tasks.versions", id="a")
    await call("streams.list")
    await call("schedules.upcoming")
    await call("marks.add", label="v2")
    await call("marks.list")
    names = ["runs.failed", "stages.seconds"]
    await call("stats.series", names=names, start=0, end=1e10, step=7_776_000)
    (attempt,) = await call("tasks.stages", job_id=failed["job_id"])
    assert attempt["error"]["message"] == "no"
    assert (await call("tasks.write_message", id="f", data=1))["state"] == "rejected"
    await call("tasks.list", sort=["-created"], columns=sorted(failed))
    await call("tasks.list", conditions={"status": ["FAILED"]}, limit=1)


async def the_rest(call: Checked) -> None:
    await call("tasks.update", id="g", data={"priority": 2, "cron": "@daily", "timezone": "UTC"})
    await call("tasks.m_update", ids=["g"], data={"group_id": 7})
    for method in ("suspend", "resume", "run_now", "cancel", "reset"):
        await call(f"tasks.{method}", id="g")
    await call("tasks.restart_from", id="a", stage=0)
    for method in ("get", "exists"):
        await call(f"tasks.{method}", id="g")
    for method in ("m_get", "m_exists", "m_delete"):
        await call(f"tasks.{method}", ids=["g", "nope"])
    await call("tasks.count", conditions={"group": [1, None]})
    await bulk_calls(call)
    await call("tasks.delete", id="a")
    await call("tasks.delete_old_tasks", interval_days=0)
    pause = await call("pauses.add", reason="r", method="x.*", condition={"kws.x": 1}, until=9e9)
    window = {"cron": "0 0 * * *", "duration": 60, "id": "nightly"}
    await call("pauses.add", reason="r", app_name="other", **window)
    await call("pauses.list")
    await call("pauses.remove", id=pause["id"])
    await call("system.info")
    await call("cron.preview", cron="@daily", n=2)
    await call("audit.list", conditions={"action": {"like": "tasks.%"}}, limit=2)
    for method in ("suspend", "resume", "drain"):
        await call(f"executors.{method}", id="e")
    await call("manager.suspend_executor", id="e")


async def bulk_calls(call: Checked) -> None:
    for method, more in (
        ("m_suspend", {}),
        ("m_resume", {}),
        ("m_run_now", {}),
        ("m_message", {"data": 1}),
        ("m_cancel", {}),
        ("m_restart_from", {"stage": "failed"}),
        ("m_reset", {}),
        ("m_delete", {}),
    ):
        await call(f"tasks.{method}", conditions={"status": {"like": "%"}}, dry_run=True, **more)
        found = {"app_name": "default", "id": {"like": "%" if method != "m_delete" else "no"}}
        await call(f"tasks.{method}", conditions=found, reason="r", **more)
    await call("tasks.create", data={"id": "slow", "commands": [WORK], **LATER})
    await call("tasks.create", data={"id": "slower", "commands": [WORK], **LATER})
    later = {"id": ["slow", "slower"]}
    begun = await call("tasks.m_suspend", conditions=later, rate=0.1, wait=0)
    await call("bulk.get", id=begun["bulk_id"])
    await call("bulk.list", conditions={"state": "RUNNING"})
    await call("bulk.stop", id=begun["bulk_id"])


async def tokens(call: Checked, site: Site) -> None:
    """The first token ends the connection of the anonymous caller that has created it."""
    await call("system.whoami")
    root = await call("tokens.create", data={"principal": "root", "kind": "admin"})
    headers = {"Authorization": f"Bearer {root['token']}"}
    async with site.socket(headers=headers) as socket:
        admin = call.over(socket)
        await admin("system.whoami")
        scope = {"streams": ["a.*"], "verbs": ["read"], "capacity": 3, "see_data": True}
        data = {"principal": "ann", "kind": "viewer", "scope": scope, "note": "n", "lifetime": 60}
        ann = await admin("tokens.create", data=data)
        await admin("tokens.rotate", id=ann["id"], overlap=5)
        await admin("tokens.revoke", id=ann["id"])
        await admin("tokens.list")
        await admin("principals.update", id="ann", data={"disabled": True})
        await admin("principals.list")
