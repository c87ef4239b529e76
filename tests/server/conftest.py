"""A manager on a real socket, in the test's own loop."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest

from kaiju_tasks.api import method_registry
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights.access import SIGNED_IN
from kaiju_tasks.rpc import NoParams
from kaiju_tasks.server import app
from kaiju_tasks.server.traffic import Traffic
from kaiju_tasks.settings import Settings, load_settings
from kaiju_tasks.store.open import make_store
from tests.support.served import listening


class Site:
    """A manager that listens.

    :ivar port: on 127.0.0.1
    """

    def __init__(self, manager: Manager, port: int, session: aiohttp.ClientSession) -> None:
        self.manager = manager
        self.port = port
        self.session = session
        self.url = f"http://127.0.0.1:{port}"

    async def post(self, body: Any, **options: Any) -> aiohttp.ClientResponse:
        """POST to /rpc: bytes as they are, anything else as JSON."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        key = "data" if isinstance(body, bytes) else "json"
        return await self.session.post(f"{self.url}/rpc", **{key: body}, headers=headers, **options)

    async def call(self, method: str, **params: Any) -> Any:
        """The answer to a call, decoded."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = await self.post(request)
        assert response.status == 200
        return await response.json()

    def socket(self, **options: Any) -> Any:
        """Open a WebSocket, as a context manager."""
        return self.session.ws_connect(f"{self.url}/rpc", **options)


@asynccontextmanager
async def open_site(
    settings: Settings, methods: Mapping[str, Any] = MappingProxyType({})
) -> AsyncIterator[Site]:
    """Run a manager on a free port, its database in memory.

    :param methods: further methods without parameters, by name
    """
    store = make_store("sqlite://:memory:")
    await store.open()
    manager = Manager(store, settings)
    async with manager.running(), aiohttp.ClientSession() as session:
        registry = method_registry(manager)

        async def crash(caller: Any, params: NoParams) -> None:
            raise RuntimeError("the secret reason")

        for name, method in {"test.crash": crash, **methods}.items():
            registry.add(name, method, doc="For a test.", access=SIGNED_IN)
        async with listening(manager, registry, settings) as port:
            yield Site(manager, port, session)
    await store.close()


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> list[Traffic]:
    """What the clients of each manager occupy that begins to listen afterwards."""
    made: list[Traffic] = []

    class Seen(Traffic):
        def __init__(self, largest: int) -> None:
            super().__init__(largest)
            made.append(self)

    monkeypatch.setattr(app, "Traffic", Seen)
    return made


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A manager with small limits."""
    settings = load_settings(
        environ={}, overrides={"max_body_bytes": 10_000, "max_batch": 5, "max_json_depth": 16}
    )
    async with open_site(settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_traceback(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Bad input leaves no traceback in the log; only a crash of ours does."""
    caplog.set_level("INFO")
    yield
    if "crash" not in request.node.name:
        records = [*caplog.get_records("setup"), *caplog.get_records("call")]
        assert [record.getMessage() for record in records if record.exc_info] == []
