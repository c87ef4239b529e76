"""The same pipelines end the same way, with the same history, on both stores."""

import json
from pathlib import Path
from typing import Any

from kaiju_tasks.errors import KaijuError
from tests.support.processes import Processes
from tests.system.fleet import APP, PATIENT, Fleet, Json, ended, has_status, history

PIPELINES = Path(__file__).with_name("pipelines.json")
MOMENTS = {
    "created",
    "queued_at",
    "started_at",
    "ended_at",
    "status_change",
    "since",
    "next_run",
    "exec_deadline",
    "wait_deadline",
}


async def test_pipelines_give_the_same_results_and_history_on_both_stores(
    processes: Processes, postgres_dsn: str, tmp_path: Path
) -> None:
    sqlite = await everything(Fleet(processes, f"sqlite:///{tmp_path}/tasks.db", tmp_path))
    postgres = await everything(Fleet(processes, postgres_dsn, tmp_path))
    assert sqlite == postgres
    ends = {id: (one["task"]["status"], one["task"]["exit_code"]) for id, one in sqlite.items()}
    assert ends == {one["id"]: tuple(one["ends"]) for one in pipelines()}


def pipelines() -> list[Json]:
    """The pipelines, each with what is said to it and how it ends."""
    read: list[Json] = json.loads(PIPELINES.read_text())
    return read


async def everything(fleet: Fleet) -> dict[str, Json]:
    """Run all pipelines on a fleet and return all that can be read about them."""
    fleet.settings = PATIENT
    try:
        manager = await fleet.manager()
        executor = await fleet.executor(manager)
        client = fleet.client(manager)
        for one in pipelines():
            await client.tasks.create({"app_name": APP, "id": one["id"], **one["task"]})
        for one in pipelines():
            for message in one.get("messages", ()):
                if message.pop("when_waiting", False):
                    await has_status(client, one["id"], "WAITING")
                await client.tasks.message(one["id"], **message)
        found = {}
        for one in pipelines():
            done = await ended(client, one["id"])
            read = {
                "task": done,
                "runs": await client.tasks.runs(one["id"]),
                "stages": await history(client, done),
                "messages": await refusal(client.tasks.message(one["id"], data=1)),
                "cancel": await refusal(client.tasks.cancel(one["id"])),
            }
            known = {done["job_id"]: "<job>", executor.id: "<executor>"}
            found[one["id"]] = normal(read, known)
        return found
    finally:
        await fleet.close()


async def refusal(call: Any) -> Any:
    """What a call says that does not fit the task any more."""
    try:
        answer = await call
    except KaijuError as error:
        return {"code": error.code, "message": str(error), "data": error.data}
    answer.pop("message_id", None)
    return answer


def normal(value: Any, known: dict[str, str]) -> Any:
    """Without what differs from run to run: moments and made-up ids."""
    if isinstance(value, dict):
        return {
            key: "<moment>" if key in MOMENTS and item is not None else normal(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [normal(item, known) for item in value]
    if isinstance(value, str):
        for name, shown in known.items():
            value = value.replace(name, shown)
    return value
