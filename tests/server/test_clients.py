"""JSON-RPC clients of other people, as they come from the package index."""

from typing import Any

import jsonrpcclient
import pytest
from pjrpc.client.backend.aiohttp import Client as Pjrpc
from pjrpc.client.exceptions import JsonRpcError

from tests.server.conftest import Site

DATA: Any = {"id": "a", "commands": [{"method": "do.echo"}]}


async def test_pjrpc_calls_notifies_and_sends_batches(site: Site) -> None:
    async with Pjrpc(f"{site.url}/rpc") as client:
        created: Any = await client("tasks.create", data=DATA)
        assert created["id"] == "a"
        await client.notify("tasks.cancel", id="a")
        cancelled: Any = await client("tasks.get", id="a")
        assert cancelled["status"] == "FAILED"
        async with client.batch() as batch:
            batch("tasks.exists", id="a")
            batch("tasks.exists", id="b")
        assert list(batch.get_results()) == [True, False]


async def test_pjrpc_raises_our_errors_with_their_data(site: Site) -> None:
    async with Pjrpc(f"{site.url}/rpc") as client:
        with pytest.raises(JsonRpcError) as error:
            await client("tasks.get", id="nope")
    assert error.value.code == 404
    data: Any = error.value.data
    assert data["type"] == "not_found"


async def test_jsonrpcclient_parses_our_answers(site: Site) -> None:
    async def parsed(request: Any) -> Any:
        return jsonrpcclient.parse(await (await site.post(request)).json())

    created = await parsed(jsonrpcclient.request("tasks.create", params={"data": DATA}))
    assert isinstance(created, jsonrpcclient.Ok)
    missing = await parsed(jsonrpcclient.request("tasks.get", params={"id": "nope"}))
    assert isinstance(missing, jsonrpcclient.Error)
    assert missing.code == 404
    calls = [jsonrpcclient.request("tasks.exists", params={"id": name}) for name in ("a", "b")]
    assert [answer.result for answer in await parsed(calls)] == [True, False]
    named = await parsed(jsonrpcclient.request_uuid("tasks.exists", params={"id": "a"}))
    assert named.result is True


async def test_jsonrpcclient_notifies(site: Site) -> None:
    response = await site.post(jsonrpcclient.notification("system.info"))
    assert response.status == 204
