"""The health addresses of an executor, over real HTTP; and results that are JSON already."""

import aiohttp
import msgspec
import pytest

from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.health import health_server
from tests.executor.fakes import Rig, assignment, command, result_of


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_health_tells_alive_from_ready(ready, status):
    async with health_server(0, lambda: ready) as port, aiohttp.ClientSession() as http:
        for path, expected in (("/healthz", 200), ("/readyz", status)):
            async with http.get(f"http://127.0.0.1:{port}{path}") as response:
                assert response.status == expected


async def test_a_raw_result_is_checked_as_any_other():
    executor = Executor("app")

    @executor.command("raw")
    async def raw(text: str) -> msgspec.Raw:
        return msgspec.Raw(text.encode())

    async with Rig(executor) as rig:
        (good,) = await rig.do(assignment(command("raw", params={"text": "1.5"})))
        (bad,) = await rig.do(assignment(command("raw", params={"text": "1.5.5"})))
        (long,) = await rig.do(assignment(command("raw", params={"text": '"' + "x" * 2000 + '"'})))
    assert result_of(good) == 1.5
    assert bad.error is not None
    assert bad.error.type == "execution_error"
    assert long.error is not None
    assert long.error.type == "result_too_large"
