"""Executors that stand still for longer than their leases."""

from tests.system.fleet import Fleet, command, ended, has_status, history, outcomes, task

FROZEN = ("plain", "next", "limited")


async def test_what_waits_in_the_socket_of_a_frozen_executor_never_begins_after_its_lease(
    fleet: Fleet,
) -> None:
    fleet.settings = {"ping_interval": 0.3, "suspend_after_pings": 8, "reconnect_grace": 0.5}
    manager = await fleet.manager()
    executor = await fleet.executor(manager)
    client = fleet.client(manager)
    traces = {id: fleet.file(id) for id in FROZEN}
    executor.process.pause()
    for id in FROZEN:
        limit = {"concurrency": {"key": "one", "limit": 1}} if id == "limited" else {}
        note = command("note_in_thread", file=traces[id])
        await client.tasks.create(task(id, note, note, **limit))
        await has_status(client, id, "EXECUTED")
    for id in FROZEN:
        await has_status(client, id, "QUEUED")  # the executor was expelled
    executor.process.resume()
    for id in FROZEN:
        done = await ended(client, id)
        assert done["status"] == "FINISHED", done
        assert outcomes(await history(client, done), stage=0) == ["LOST", "FINISHED"]
        assert traces[id].lines == [f"{done['job_id']}/0", f"{done['job_id']}/1"]
