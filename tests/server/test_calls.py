"""What a create over HTTP costs the manager, in calls of functions: a regression is seen without a
clock."""

import asyncio
import json
from cProfile import Profile
from pathlib import Path

import pytest

import kaiju_tasks
from kaiju_tasks.rights import Kind
from kaiju_tasks.settings import load_settings
from tests.server.conftest import open_site
from tests.server.test_tokens import token_of

CREATES = 100
ROUNDS = 3
"""The least counts: on a busy machine, more runs in the background meanwhile."""
OWN = str(Path(kaiju_tasks.__file__).parent)
CREATE = {"data": {"app_name": "n", "commands": [{"method": "work"}]}}
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tasks.create", "params": CREATE}).encode()
REQUEST = b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n%b"


def own_calls(profile: Profile) -> int:
    """The number of calls of functions of kaiju_tasks, and of its coroutines that were resumed."""
    return sum(
        entry.callcount
        for entry in profile.getstats()
        if not isinstance(entry.code, str) and entry.code.co_filename.startswith(OWN)
    )


@pytest.mark.parametrize(("with_token", "most"), [(False, 370), (True, 400)])
async def test_a_create_is_few_calls(with_token: bool, most: int) -> None:
    async with open_site(load_settings(environ={})) as site:
        header = b""
        if with_token:
            token = await token_of(site.manager, "ann", Kind.USER)
            header = f"Authorization: Bearer {token}\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)

        async def create(times: int) -> None:
            for _ in range(times):
                writer.write(REQUEST % (len(BODY), header, BODY))
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                answer = json.loads(await reader.readexactly(size))
                assert answer["result"]["created"]

        await create(20)
        found = []
        for _ in range(ROUNDS):
            profile = Profile()
            profile.enable()
            await create(CREATES)
            profile.disable()
            found.append(own_calls(profile) / CREATES)
        writer.close()
        await writer.wait_closed()
    assert min(found) <= most
