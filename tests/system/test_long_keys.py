"""What is indexed fits PostgreSQL's indexes, however long in UTF-8 it is."""

import random

import pytest

from kaiju_tasks.errors import InvalidParams
from tests.system.fleet import PATIENT, Fleet, Json, command, ended, task

DICE = random.Random(7)


def incompressible(characters: int) -> str:
    """Text of four bytes a character."""
    return "".join(chr(DICE.randrange(0x10000, 0x1F000)) for _ in range(characters))


@pytest.fixture
async def longest(fleet: Fleet) -> Json:
    """A task whose names are as long as they may be."""
    return {"app_name": incompressible(255), "commands": [command("x")]}


async def test_keys_of_any_script_may_be_as_long_as_their_templates_fill_them(
    fleet: Fleet, longest: Json
) -> None:
    fleet.settings = PATIENT
    client = fleet.client(await fleet.manager())
    key = incompressible(1000)
    keyed = {
        **longest,
        "kws": {"key": key},
        "unique": {"key": "[kws.key]"},
        "concurrency": {"key": "[kws.key]", "limit": 1},
    }
    first = await client.tasks.create({**keyed, "id": incompressible(255)})
    again = await client.tasks.create({**keyed, "id": incompressible(255)})
    assert (again["id"], again["created"]) == (first["id"], False)
    other = await client.tasks.create({**keyed, "kws": {"key": key[:-1]}})
    assert other["created"] is True


async def test_waiters_of_a_long_key_wait_and_go_on(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    client = fleet.client(manager)
    await fleet.executor(manager)
    fields: Json = {
        "kws": {"key": incompressible(1000)},
        "concurrency": {"key": "[kws.key]", "limit": 1},
    }
    ids = [incompressible(255) for _ in range(5)]
    await client.tasks.m_create([task(id, command("echo"), **fields) for id in ids])
    for id in ids:
        assert (await ended(client, id))["status"] == "FINISHED"


async def test_what_the_longest_pause_holds_can_be_held(fleet: Fleet, longest: Json) -> None:
    fleet.settings = PATIENT
    client = fleet.client(await fleet.manager())
    app_name = longest["app_name"]
    with pytest.raises(InvalidParams) as caught:
        await client.pauses.add(reason="long", app_name=app_name, id=incompressible(255))
    assert caught.value.data["field"] == "id"
    await client.pauses.add(reason="long", app_name=app_name, id=incompressible(125))
    held = await client.tasks.create({**longest, "id": incompressible(255)})
    assert held["status_reason"] == "paused"


async def test_a_run_with_a_webhook_to_a_long_host_can_end(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    client = fleet.client(manager)
    await fleet.executor(manager)
    url = f"http://{incompressible(900)}/"
    with pytest.raises(InvalidParams) as caught:
        await client.tasks.create(task("no", command("echo"), webhook={"url": url}))
    assert caught.value.data["field"] == "data.webhook.url"
    url = f"http://{incompressible(253)}/"
    await client.tasks.create(task("yes", command("echo"), webhook={"url": url}))
    assert (await ended(client, "yes"))["status"] == "FINISHED"
