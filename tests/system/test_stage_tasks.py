"""Commands that call the manager by `ctx.tasks`, with processes and sockets."""

from tests.system.fleet import PATIENT, Fleet, command, ended, task

MANY = 150
"""More stages wait than a manager answers messages of one connection at once."""


async def test_commands_create_children_and_wait_for_them(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    await client.tasks.m_create(
        [
            task("a", command("parent", id="child-a")),
            task("b", command("parent_in_thread", id="child-b")),
        ]
    )
    assert (await ended(client, "a"))["result"] == [["a", "FINISHED", ["child-a"]]]
    assert (await ended(client, "b"))["result"] == [["b", "FINISHED", ["child-b"]]]


async def test_many_waiting_stages_hold_up_no_report_and_no_lease(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager, concurrency=MANY + 10)
    client = fleet.client(manager)
    await client.tasks.create(task("gate", {"method": "_MESSAGE_"}))
    waiting = [f"w{n}" for n in range(MANY)]
    await client.tasks.m_create([task(id, command("wait_for", id="gate")) for id in waiting[:100]])
    await client.tasks.m_create([task(id, command("wait_for", id="gate")) for id in waiting[100:]])
    await client.tasks.create(task("other", command("echo", data=1), command("echo", data=2)))
    assert (await ended(client, "other"))["result"] == [1, 2]
    for id in waiting:
        assert (await client.tasks.get(id))["status"] == "EXECUTED"
    await client.tasks.message("gate", None)
    for id in waiting:
        done = await ended(client, id)
        assert (done["result"], done["retries"]) == (["FINISHED"], 0)


async def test_a_call_goes_on_over_a_restart_of_the_manager(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    await client.tasks.create(task("gate", {"method": "_MESSAGE_"}))
    trace = fleet.file("begun")
    await client.tasks.create(
        task("w", command("note", file=trace), command("wait_for", id="gate"))
    )
    await trace.has(1)
    manager.process.kill()
    again = await fleet.again(manager)
    client = fleet.client(again)
    await client.tasks.message("gate", None)
    done = await ended(client, "w")
    assert (done["result"][1], done["retries"]) == ("FINISHED", 0)
