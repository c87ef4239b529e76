"""What tests ask of an embedded manager."""

from typing import Any

from kaiju_tasks.embedded import Embedded
from kaiju_tasks.manager import Manager
from tests.support.wait import PATIENCE_SECONDS, wait_until

Json = dict[str, Any]
SECONDS = PATIENCE_SECONDS


class Inside:
    """Creates tasks of the stream `manager` and waits for them."""

    def __init__(self, inside: Embedded) -> None:
        self.call = inside.call
        self.manager: Manager = inside.manager

    async def create(self, *commands: Json, **fields: Any) -> Json:
        data = {"app_name": "manager", "commands": list(commands), **fields}
        task: Json = await self.call("tasks.create", data=data)
        return task

    async def run(self, *commands: Json, **fields: Any) -> Json:
        """Create a task and wait until its run has ended."""
        return await self.ended((await self.create(*commands, **fields))["id"])

    async def ended(self, id: str) -> Json:
        task: Json = await self.call("tasks.wait", id=id, timeout=SECONDS)
        assert task["status"] in ("FINISHED", "FAILED"), task
        return task

    async def get(self, id: str) -> Json:
        task: Json = await self.call("tasks.get", id=id)
        return task

    async def status(self, id: str, status: str) -> Json:
        """Wait until a task has a status."""

        async def there() -> Json:
            task = await self.get(id)
            return task if task["status"] == status else {}

        return await wait_until(there, f"{id} is {status}", SECONDS)


def command(method: str, **params: Any) -> Json:
    return {"method": method, "params": params}
