"""Webhooks, delivered to a real receiver."""

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from typing import Any

import pytest

from kaiju_tasks.embedded import embedded
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.writing import webhooks
from kaiju_tasks.samples import executor
from kaiju_tasks.settings import Settings
from kaiju_tasks.testing import running
from tests.support.doubt import in_doubt
from tests.support.wait import wait_until
from tests.system_executor.inprocess import SECONDS, Inside, command
from tests.system_executor.receiver import Call, Receiver, receiving

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
TIMER = {"method": "_TIMER_", "params": {"timer": 0}}


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "RETRY_BACKOFF", 1.0)


def delivery_of(task: dict[str, Any]) -> str:
    return f"webhook:{task['job_id']}"


async def test_a_finished_run_is_told_with_its_results(inside: Inside, receiver: Receiver) -> None:
    task = await inside.run(
        command("cron.preview", cron="@daily", n=1, after=0),
        TIMER,
        id="work",
        webhook={"url": receiver.url},
        meta={"order": 17},
        group="orders",
        group_id="17",
        labels={"team": "mail"},
    )
    delivery = await inside.ended(delivery_of(task))
    assert (delivery["status"], delivery["result"][0]["status"]) == ("FINISHED", 200)
    assert (delivery["group"], delivery["group_id"]) == ("webhooks", "work")
    (call,) = receiver.calls
    (run,) = await inside.call("tasks.runs", id="work")
    assert call.headers["content-type"] == "application/json"
    assert (call.id, "webhook-signature" in call.headers) == (delivery["id"], False)
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    assert call.json == {
        "event": "task.finished",
        "task_id": "work",
        "job_id": task["job_id"],
        "app_name": "manager",
        "status": "FINISHED",
        "exit_code": 0,
        "error": None,
        "result": [[86_400.0], None],
        "scheduled_at": None,
        "started_at": run["started_at"],
        "ended_at": run["ended_at"],
        "retries": 0,
        "meta": {"order": 17},
        "group": "orders",
        "group_id": "17",
        "labels": {"team": "mail"},
    }


async def test_failed_and_aborted_runs_are_told(inside: Inside, receiver: Receiver) -> None:
    hook = {"url": receiver.url}
    failed = await inside.run(command("tasks.get", id="nobody"), webhook=hook, max_retries=1)
    parked = await inside.create({"method": "_MESSAGE_"}, webhook=hook)
    aborted = await inside.call("tasks.cancel", id=parked["id"])
    for task in (failed, aborted):
        await inside.ended(delivery_of(task))
    received = {call.json["job_id"]: call.json for call in receiver.calls}
    assert len(receiver.calls) == len(received) == 2
    first, second = received[failed["job_id"]], received[aborted["job_id"]]
    assert (first["event"], first["exit_code"], first["retries"]) == ("task.failed", 1, 1)
    assert (first["result"], first["error"]) == ([], failed["error"])
    assert (second["event"], second["exit_code"]) == ("task.failed", 130)
    assert second["error"]["type"] == "cancelled"


@pytest.mark.parametrize(
    ("secret", "key"), [(SECRET, b"0123456789abcdef01234567"), ("plaîn", "plaîn".encode())]
)
async def test_calls_are_signed(
    inside: Inside, receiver: Receiver, secret: str, key: bytes
) -> None:
    task = await inside.run(TIMER, webhook={"url": receiver.url, "secret": secret})
    await inside.ended(delivery_of(task))
    (call,) = receiver.calls
    assert is_signed(call, key)
    assert not is_signed(Call(call.headers, call.body + b" "), key)


def is_signed(call: Call, key: bytes) -> bool:
    """As the Standard Webhooks specification says it."""
    content = f"{call.id}.{call.headers['webhook-timestamp']}.".encode() + call.body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(f"v1,{expected}", call.headers["webhook-signature"])


async def test_it_is_tried_again_until_the_receiver_takes_it(
    inside: Inside, receiver: Receiver
) -> None:
    receiver.answer = lambda n: 503 if n <= 3 else 204
    task = await inside.run(TIMER, webhook={"url": receiver.url, "secret": SECRET})
    delivery = await inside.ended(delivery_of(task))
    assert (delivery["status"], delivery["retries"]) == ("FINISHED", 3)
    assert [status for _, status in receiver.answered] == [503, 503, 503, 204]
    assert {call.id for call in receiver.calls} == {delivery["id"]}
    assert len({call.body for call in receiver.calls}) == 1
    failed = (await inside.call("tasks.stages", job_id=delivery["job_id"]))[0]
    assert failed["error"]["data"].keys() == {"status", "seconds"}
    assert failed["error"]["data"]["status"] == 503


async def test_a_receiver_that_takes_nothing_is_given_up(
    inside: Inside, receiver: Receiver
) -> None:
    receiver.answer = lambda n: 500
    task = await inside.run(TIMER, webhook={"url": receiver.url})
    delivery = await inside.ended(delivery_of(task))
    assert (delivery["status"], len(receiver.calls)) == ("FAILED", 11)
    assert not await inside.call("tasks.exists", id=delivery_of(delivery))


async def test_a_password_in_its_url_is_not_in_the_error(inside: Inside) -> None:
    task = await inside.run(TIMER, webhook={"url": "http://user:kanarienvogel@x\u00adn--/"})
    delivery = await inside.ended(delivery_of(task))
    attempts = await inside.call("tasks.stages", job_id=delivery["job_id"])
    assert "//***@x" in attempts[0]["error"]["message"]
    assert "kanarienvogel" not in str([delivery["error"], attempts])


async def test_410_ends_the_tries(inside: Inside, receiver: Receiver) -> None:
    receiver.answer = lambda n: 410
    task = await inside.run(TIMER, webhook={"url": receiver.url})
    delivery = await inside.ended(delivery_of(task))
    assert (delivery["status"], delivery["error"]["type"]) == ("FAILED", "abort")
    assert len(receiver.calls) == 1


async def test_a_redirect_is_not_followed(inside: Inside, receiver: Receiver) -> None:
    async with receiving() as elsewhere:
        receiver.headers = {"Location": elsewhere.url}
        receiver.answer = lambda n: 307 if n == 1 else 200
        task = await inside.run(TIMER, webhook={"url": receiver.url})
        await inside.ended(delivery_of(task))
        assert (len(receiver.calls), elsewhere.calls) == (2, [])


async def test_a_receiver_that_hangs_blocks_nothing_and_is_tried_again(
    store_url: str, receiver: Receiver
) -> None:
    settings = Settings(db=store_url, poll_interval=0.2, webhook_timeout=0.5)
    receiver.gate.clear()
    async with embedded(settings) as made, receiving() as healthy:
        inside = Inside(made)
        slow = [await inside.create(TIMER, webhook={"url": receiver.url}) for _ in range(40)]
        await wait_until(lambda: len(receiver.calls) >= 16, "the slow one is called")
        quick = await inside.run(TIMER, webhook={"url": healthy.url})
        assert (await inside.ended(delivery_of(quick)))["status"] == "FINISHED"
        assert (await inside.run(command("system.info")))["status"] == "FINISHED"
        assert receiver.answered == []

        def again() -> str | None:
            ids = [call.id for call in receiver.calls]
            return next((id for id in ids if ids.count(id) > 1), None)

        twice = await wait_until(again, "one is tried again")
        assert twice is not None
        receiver.gate.set()
        for task in slow:
            delivery = await inside.ended(delivery_of(task))
            assert delivery["status"] == "FINISHED", delivery["error"]
        assert set(receiver.accepted) == {delivery_of(task) for task in slow}
        job_id = (await inside.get(twice))["job_id"]
        first = (await inside.call("tasks.stages", job_id=job_id))[0]
        assert "0.5 seconds" in first["error"]["message"]


async def test_at_most_sixteen_calls_are_open_to_one_host(
    store_url: str, receiver: Receiver
) -> None:
    receiver.gate.clear()
    async with embedded(Settings(db=store_url, poll_interval=0.2)) as made:
        inside = Inside(made)
        tasks = [await inside.create(TIMER, webhook={"url": receiver.url}) for _ in range(20)]
        for task in tasks:
            assert await inside.call("tasks.exists", id=delivery_of(task))
        await wait_until(lambda: len(receiver.calls) == 16, "sixteen calls are open")
        assert (await inside.call("tasks.count", conditions={"status": "EXECUTED"}))["count"] == 16
        receiver.gate.set()
        for task in tasks:
            await inside.ended(delivery_of(task))
        assert sorted(receiver.accepted) == sorted(delivery_of(task) for task in tasks)


async def test_what_a_receiver_answers_is_not_kept(inside: Inside, receiver: Receiver) -> None:
    receiver.text = "x" * 10_000_000
    task = await inside.run(TIMER, webhook={"url": receiver.url})
    delivery = await inside.ended(delivery_of(task))
    assert delivery["result"][0].keys() == {"status", "seconds"}


async def test_a_receiver_that_is_not_there_is_tried_again(
    inside: Inside, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    task = await inside.run(TIMER, webhook={"url": url})
    delivery = await inside.ended(delivery_of(task))
    assert (delivery["status"], delivery["retries"]) == ("FAILED", 10)
    assert "cannot be called" in delivery["error"]["message"]


async def test_the_secret_is_never_shown(
    inside: Inside, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda n: 200 if n > 1 else 500
    masked = {"url": receiver.url, "secret": "***"}
    task = await inside.create(
        TIMER, {"method": "_MESSAGE_"}, webhook={"url": receiver.url, "secret": SECRET}, id="x"
    )
    assert task["webhook"] == masked
    listed = await inside.call("tasks.list", conditions={"id": "x"}, columns=["webhook"])
    assert listed["data"] == [{"webhook": masked}]
    updated = await inside.call("tasks.update", id="x", data={"webhook": masked, "priority": 1})
    assert updated["webhook"] == masked
    await inside.status("x", "WAITING")
    await inside.call("tasks.message", id="x", data=1)
    await inside.ended(delivery_of(task))
    assert is_signed(receiver.calls[-1], b"0123456789abcdef01234567"), "an update kept the secret"
    everything = [
        await inside.call("tasks.get", id=delivery_of(task)),
        await inside.call("tasks.runs", id=delivery_of(task)),
        await inside.call("tasks.list", columns=["webhook", "kws", "commands", "result", "meta"]),
        caplog.text,
    ]
    assert SECRET not in str(everything)
    assert SECRET.removeprefix("whsec_") not in str(everything)


@pytest.mark.parametrize(
    ("webhook", "field"),
    [
        ({"url": "ftp://h/"}, "data.webhook.url"),
        ({"url": "http://"}, "data.webhook.url"),
        ({"url": "http://[::1/"}, "data.webhook.url"),
        ({"url": "http://h:99999/"}, "data.webhook.url"),
        ({"url": "http://h/", "secret": ""}, "data.webhook.secret"),
        ({"url": "http://h/", "secret": "***"}, "data.webhook.secret"),
        ({"url": "http://h/", "secret": "whsec_no base64"}, "data.webhook.secret"),
        ({"url": "http://h/", "secret": "whsec_"}, "data.webhook.secret"),
    ],
)
async def test_a_webhook_that_cannot_work_is_refused(
    inside: Inside, webhook: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        await inside.create(TIMER, webhook=webhook)
    assert refused.value.field == field


async def test_nobody_else_delivers(inside: Inside) -> None:
    deliver = {"app_name": "manager", "commands": [{"method": "webhook.deliver"}]}
    for commands in (
        {"method": "webhook.deliver"},
        command("_TASKS_", create=[deliver]),
        command("_TASKS_", foreach="[kws.all]", task=deliver),
    ):
        with pytest.raises(InvalidParams, match=r"webhook\.deliver"):
            await inside.create(commands)


async def test_a_deleted_tasks_end_is_told_without_its_results(
    store_url: str, receiver: Receiver
) -> None:
    receiver.gate.clear()
    receiver.answer = lambda n: 500 if n == 1 else 200
    async with embedded(Settings(db=store_url, poll_interval=0.2)) as made:
        inside = Inside(made)
        hook = {"url": receiver.url, "secret": SECRET}
        task = await inside.run(TIMER, TIMER, webhook=hook, meta={"a": 1})
        await wait_until(lambda: receiver.calls, "the first try is under way")
        await inside.call("tasks.delete", id=task["id"])
        receiver.gate.set()
        await inside.ended(delivery_of(task))
    first, second = (call.json for call in receiver.calls)
    assert (first["result"], first["meta"]) == ([None, None], {"a": 1})
    assert (second["result"], second["meta"]) == (None, None)
    assert (second["task_id"], second["exit_code"]) == (task["id"], 0)
    assert is_signed(receiver.calls[1], b"0123456789abcdef01234567")


async def test_results_that_are_too_large_are_left_out(store_url: str, receiver: Receiver) -> None:
    settings = Settings(db=store_url, poll_interval=0.2, max_result_bytes=1000)
    async with embedded(settings) as made:
        inside = Inside(made)
        preview = command("cron.preview", cron="@daily", n=50)
        task = await inside.run(preview, preview, webhook={"url": receiver.url})
        await inside.ended(delivery_of(task))
    (call,) = receiver.calls
    assert (call.json["result"], call.json["truncated"]) == (None, True)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_run_whose_end_was_committed_in_doubt_is_told_once(
    inside: Inside, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    parked = await inside.create({"method": "_MESSAGE_"}, webhook={"url": receiver.url})
    await inside.status(parked["id"], "WAITING")
    in_doubt(inside.manager, monkeypatch, committed=committed)
    await inside.call("tasks.cancel", id=parked["id"])
    delivery = await inside.ended(delivery_of(parked))
    assert (delivery["status"], receiver.accepted) == ("FINISHED", [delivery["id"]])
    assert (await inside.call("tasks.count"))["count"] == 2


async def test_each_run_of_a_schedule_is_told_once(receiver: Receiver) -> None:
    async with running(executor) as kaiju:
        await kaiju.create(
            {
                "id": "hourly",
                "cron": "0 * * * *",
                "commands": [{"method": "do.echo", "params": {"data": "hi"}}],
                "webhook": {"url": receiver.url},
            }
        )
        await kaiju.move(3 * 3600)
        runs = await kaiju.call("tasks.runs", id="hourly")
        async with asyncio.timeout(SECONDS):
            for run in runs:
                await kaiju.wait(f"webhook:{run['job_id']}")
        assert len(runs) == 3
    assert sorted(receiver.accepted) == sorted(f"webhook:{run['job_id']}" for run in runs)
    assert {call.json["scheduled_at"] for call in receiver.calls} == {
        run["scheduled_at"] for run in runs
    }


async def test_deliveries_are_cleaned_like_other_tasks(receiver: Receiver) -> None:
    async with running(executor) as kaiju:
        task = await kaiju.run({"commands": [TIMER], "webhook": {"url": receiver.url}})
        await kaiju.wait(delivery_of(task))
        await kaiju.move(86_400 * 2)
        assert await kaiju.call("tasks.delete_old_tasks", interval_days=1) == {"deleted": 2}
