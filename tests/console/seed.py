"""What the console of the tests shows."""

from typing import Any

from kaiju_tasks import Client

HOSTILE = '<img src=x onerror="window.hacked=1">'
HOSTILE_ID = f"{HOSTILE}/?#%..\u202e\u05d0"
LARGEST = 2**64 - 1
LONG_ERROR = "cannot connect to mail.example.com:587: " + "connection refused; " * 100
FAILING = 3


def invoice(number: int, *, fails: bool = False) -> dict[str, Any]:
    """A task of two stages."""
    send = {"method": "do.fail", "params": {"message": LONG_ERROR}}
    echo = {"method": "do.echo", "params": {"data": "[render.number]"}}
    return {
        "id": f"invoice-2026-{number:05d}-customer-{'abcdef'[number % 6] * 40}",
        "description": f"Render and send invoice {number}",
        "group": "invoices",
        "commands": [
            {"method": "do.echo", "params": {"data": {"number": number}}, "name": "render"},
            {**(send if fails else echo), "name": "send"},
        ],
    }


APPROVAL = {
    "id": "approval",
    "description": "Approve the payment of order 1182",
    "commands": [
        {"method": "do.echo", "params": {"data": {"amount": LARGEST}}, "name": "order"},
        {"method": "_MESSAGE_", "params": {"name": "approve"}},
        {"method": "do.echo", "params": {"data": "[1]"}, "name": "pay"},
    ],
}
HOSTILE_TASK = {
    "id": HOSTILE_ID,
    "description": HOSTILE,
    "group": HOSTILE,
    "group_id": HOSTILE,
    "kws": {HOSTILE: HOSTILE},
    "meta": {"largest": LARGEST, "text": HOSTILE},
    "notify": True,
    "commands": [
        {"method": "do.echo", "params": {"data": HOSTILE}},
        {"method": "do.fail", "params": {"message": HOSTILE}},
    ],
}


async def seed(client: Client) -> None:
    """Create tasks of every kind, and wait until those have ended that do."""
    invoices = [invoice(number, fails=number < FAILING) for number in range(90)]
    await client.tasks.m_create(invoices)
    await client.tasks.create(APPROVAL)
    await client.tasks.create(HOSTILE_TASK)
    nightly = {"id": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    await client.tasks.create({**nightly, "commands": [{"method": "do.echo"}]})
    hourly = {"id": "hourly", "every": 3600, "commands": [{"method": "do.echo"}]}
    await client.tasks.create(hourly)
    other = {"id": "held", "app_name": "billing", "commands": [{"method": "bill.send"}]}
    await client.tasks.create(other)
    await client.tasks.m_suspend({"app_name": "billing"}, reason=f"The provider is away {HOSTILE}")
    await client.pauses.add(reason=f"The provider is away {HOSTILE}", method="mail.*", author="ann")
    for ended in (HOSTILE_ID, *(one["id"] for one in invoices)):
        await ends(client, ended)


async def ends(client: Client, id: str) -> dict[str, Any]:
    """Wait until the run of a task has ended."""
    task: dict[str, Any] = {"status": None}
    while task["status"] not in ("FINISHED", "FAILED"):
        task = await client.tasks.wait(id, timeout=60)
    return task
