"""Tokens over HTTP and WebSockets: who gets in, who is let out, and what is logged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kaiju_tasks.api import method_registry
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import Admission, PrincipalChanges, TokenOrder, database_issuer
from kaiju_tasks.rights import ALL_SIGHT, Kind, Scope, new_token
from kaiju_tasks.server.seat import CallSeat
from kaiju_tasks.settings import Settings, load_settings
from kaiju_tasks.store.open import make_store
from tests.server.conftest import Site
from tests.support.served import listening
from tests.support.wait import PATIENCE_SECONDS, wait_until

REFUSAL = {
    "jsonrpc": "2.0",
    "id": None,
    "error": {
        "code": 401,
        "message": "a valid token is required, in the header `Authorization: Bearer`",
        "data": {"type": "unauthorized"},
    },
}
INFO = {"jsonrpc": "2.0", "id": 1, "method": "system.info"}
TOKEN_ENDED = 4401


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def token_of(manager: Manager, name: str, kind: Kind, **scope: Any) -> str:
    """A token that is known to the manager at once."""
    order = TokenOrder(principal=name, kind=kind, scope=Scope(**scope))
    issued = await database_issuer(manager.store).create(order)
    manager.auth.changed()
    return issued.token


async def info(site: Site, headers: dict[str, str] | None = None) -> aiohttp.ClientResponse:
    return await site.post(INFO, headers=headers or {})


async def test_without_tokens_a_token_is_not_looked_at(site: Site) -> None:
    for headers in ({}, bearer("x"), {"Authorization": "Basic eDp5"}):
        assert (await info(site, headers)).status == 200
    health = await (await site.session.get(f"{site.url}/healthz")).json()
    assert health.keys() == {"status", "version"}


async def test_the_first_token_ends_anonymous_access(site: Site) -> None:
    answer = await site.call("tokens.create", data={"principal": "root", "kind": "admin"})
    token = answer["result"]["token"]
    refused = await info(site)
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert await refused.json() == REFUSAL
    assert (await info(site, bearer(token))).status == 200
    assert (await info(site, {"Authorization": f"bearer   {token}"})).status == 200


@pytest.mark.parametrize("wrong", ["", "x", "unknown", "expired", "revoked", "disabled", "changed"])
async def test_one_answer_for_every_wrong_token(site: Site, wrong: str) -> None:
    issuer = database_issuer(site.manager.store)
    order = TokenOrder(principal="ann", kind=Kind.USER)
    issued = await issuer.create(order)
    token = issued.token
    if wrong == "unknown":
        token = new_token(Kind.USER, site.manager.dice.secret)
    elif wrong == "expired":
        order.lifetime = 1e-6
        token = (await issuer.create(order)).token
    elif wrong == "revoked":
        await issuer.revoke(issued.id)
    elif wrong == "disabled":
        await issuer.update("ann", PrincipalChanges(disabled=True))
    elif wrong == "changed":
        token = new_token(Kind.ADMIN, site.manager.dice.secret)[:18] + token[18:]
    else:
        token = wrong
    site.manager.auth.changed()
    refused = await info(site, bearer(token))
    assert (refused.status, await refused.json()) == (401, REFUSAL)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic {}"},
        {"Authorization": "{}"},
        {"X-Token": "{}"},
        {"Cookie": "token={}"},
        {"Proxy-Authorization": "Bearer {}"},
    ],
)
async def test_a_token_elsewhere_does_not_count(site: Site, headers: dict[str, str]) -> None:
    token = await token_of(site.manager, "root", Kind.ADMIN)
    sent = {name: text.format(token) for name, text in headers.items()}
    assert (await info(site, sent)).status == 401


async def test_two_authorizations_are_refused(site: Site) -> None:
    token = await token_of(site.manager, "root", Kind.ADMIN)
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")]
    response = await site.session.post(f"{site.url}/rpc", json=INFO, headers=headers)
    assert response.status == 401


@pytest.mark.parametrize("name", ["token", "access_token"])
@pytest.mark.parametrize("path", ["/rpc", "/metrics", "/openrpc.json"])
async def test_a_token_in_a_url_is_refused_and_not_logged(
    site: Site, name: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = await token_of(site.manager, "root", Kind.ADMIN)
    url = f"{site.url}{path}?{name}={token}"
    response = await site.session.get(url, headers=bearer(token))
    assert response.status == 400
    assert "must not be in a URL" in (await response.json())["error"]["message"]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("kaiju")]
    assert token[18:] not in "\n".join(ours)


async def test_every_route_but_health_and_the_page_needs_a_token(site: Site) -> None:
    token = await token_of(site.manager, "root", Kind.ADMIN)
    public = {"/": 200, "/healthz": 200, "/readyz": 200}
    for path in ("/", "/healthz", "/readyz", "/openrpc.json", "/metrics", "/rpc"):
        response = await site.session.get(f"{site.url}{path}")
        assert response.status == public.get(path, 401), path
        response = await site.session.get(f"{site.url}{path}", headers=bearer(token))
        assert response.status == (405 if path == "/rpc" else 200), path
    assert "version" not in await (await site.session.get(f"{site.url}/healthz")).json()


async def test_the_body_is_not_read_before_the_token(site: Site) -> None:
    await token_of(site.manager, "root", Kind.ADMIN)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_token_that_ends_while_the_body_is_read_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await token_of(site.manager, "root", Kind.ADMIN)
    token = await token_of(site.manager, "mal", Kind.ADMIN)
    auth, admitted = site.manager.auth, asyncio.Event()
    admit = auth.admit

    async def admit_and_say(*of: Any) -> Admission:
        admission = await admit(*of)
        admitted.set()
        return admission

    monkeypatch.setattr(auth, "admit", admit_and_say)
    request = {**INFO, "method": "tokens.create"}
    body = json.dumps({**request, "params": {"data": {"principal": "evil", "kind": "admin"}}})
    head = (
        f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"{head}{body[:-1]}".encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await admitted.wait()
        await database_issuer(site.manager.store).revoke(token[5:17])
        auth.changed()
        writer.write(body[-1:].encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    listed = await site.post({**INFO, "method": "tokens.list"}, headers=bearer(root))
    assert "evil" not in await listed.text()


async def test_a_websocket_is_refused_before_it_opens(site: Site) -> None:
    token = await token_of(site.manager, "root", Kind.ADMIN)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.session.ws_connect(f"{site.url}/rpc")
    assert refused.value.status == 401
    async with site.socket(headers=bearer(token)) as socket:
        await socket.send_json(INFO)
        assert "result" in await socket.receive_json(timeout=PATIENCE_SECONDS)


async def test_many_failures_of_an_address_are_429_but_known_tokens_pass(site: Site) -> None:
    known = await token_of(site.manager, "root", Kind.ADMIN)
    later = await token_of(site.manager, "late", Kind.ADMIN)
    assert (await info(site, bearer(known))).status == 200
    statuses = [(await info(site, bearer("wrong"))).status for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    limited = await info(site, bearer(later))
    assert limited.status == 429
    assert 1 <= int(limited.headers["Retry-After"]) <= 60
    assert (await info(site, bearer(known))).status == 200
    assert (await info(site)).status == 401


async def test_known_tokens_pass_after_a_change_although_others_guess(site: Site) -> None:
    known = await token_of(site.manager, "root", Kind.ADMIN)
    ended = await token_of(site.manager, "mal", Kind.USER)
    for token in (known, ended):
        assert (await info(site, bearer(token))).status == 200
    await database_issuer(site.manager.store).revoke(ended[5:17])
    site.manager.auth.changed()
    statuses = [(await info(site, bearer("wrong"))).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert (await info(site, bearer(known))).status == 200
    statuses = [(await info(site, bearer(ended))).status for _ in range(3)]
    assert statuses == [401, 429, 429]  # it is looked at once more


async def test_a_kind_that_may_not_call_a_method_is_403(site: Site) -> None:
    viewer = await token_of(site.manager, "vic", Kind.VIEWER)
    executor = await token_of(site.manager, "ex", Kind.EXECUTOR)
    data = {"commands": [{"method": "do.echo"}]}
    create = {"jsonrpc": "2.0", "id": 1, "method": "tasks.create", "params": {"data": data}}
    for token in (viewer, executor):
        answer = await (await site.post(create, headers=bearer(token))).json()
        assert answer["error"]["code"] == 403
        assert answer["error"]["data"] == {"type": "forbidden", "method": "tasks.create"}
    assert (await info(site, bearer(viewer))).status == 200
    refused = await site.session.get(f"{site.url}/metrics", headers=bearer(executor))
    assert refused.status == 403


async def test_a_document_lists_what_the_caller_may_call(site: Site) -> None:
    executor = await token_of(site.manager, "ex", Kind.EXECUTOR)
    response = await site.session.get(f"{site.url}/openrpc.json", headers=bearer(executor))
    names = {method["name"] for method in (await response.json())["methods"]}
    assert {"manager.connect", "system.whoami", "tokens.rotate"} <= names
    assert not {name for name in names if name.startswith(("tasks.", "audit.", "pauses."))}


async def test_metrics_show_the_streams_in_scope(site: Site) -> None:
    for app_name in ("billing", "orders"):
        await site.call(
            "tasks.create", data={"app_name": app_name, "commands": [{"method": "do.echo"}]}
        )
    viewer = await token_of(site.manager, "vic", Kind.VIEWER, streams=("bill*",))
    response = await site.session.get(f"{site.url}/metrics", headers=bearer(viewer))
    text = await response.text()
    assert 'app_name="billing"' in text
    assert "orders" not in text


async def test_metrics_show_admins_which_tokens_expire_soon(site: Site) -> None:
    admin = await token_of(site.manager, "root", Kind.ADMIN)
    viewer = await token_of(site.manager, "vic", Kind.VIEWER)
    issuer = database_issuer(site.manager.store)
    ids = {}
    for days in (1, 31):
        order = TokenOrder(principal="vic", lifetime=days * 86_400.0)
        ids[days] = (await issuer.create(order)).id
    gone = await issuer.create(TokenOrder(principal="vic", lifetime=86_400.0))
    await issuer.revoke(gone.id)
    shown = {}
    for token in (admin, viewer):
        response = await site.session.get(f"{site.url}/metrics", headers=bearer(token))
        lines = (await response.text()).splitlines()
        shown[token] = [line for line in lines if line.startswith("kaiju_token_expires_seconds{")]
    assert shown[viewer] == []
    [line] = shown[admin]
    assert f'token="{ids[1]}"' in line
    assert 'principal="vic"' in line
    assert 0.9 * 86_400 < float(line.split()[-1]) <= 86_400


async def test_whoami_and_the_rotation_of_the_own_token(site: Site) -> None:
    token = await token_of(site.manager, "ann", Kind.USER, streams=("a",))

    async def call(token: str, method: str, **params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await (await site.post(request, headers=bearer(token))).json()

    me = (await call(token, "system.whoami"))["result"]
    assert (me["principal"], me["kind"], me["scope"]) == ("ann", "user", {"streams": ["a"]})
    new = (await call(token, "tokens.rotate", overlap=3600))["result"]
    assert new["id"] != me["token_id"] == token[5:17]
    assert (await call(new["token"], "system.whoami"))["result"]["token_id"] == new["id"]
    other = await token_of(site.manager, "bob", Kind.USER)
    refused = await call(new["token"], "tokens.rotate", id=other[5:17])
    assert refused["error"]["code"] == 403
    refused = await call(new["token"], "tokens.revoke", id=new["id"])
    assert refused["error"]["code"] == 403


async def test_a_token_in_a_malformed_request_is_not_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = await token_of(site.manager, "root", Kind.ADMIN)
    for head in (
        f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer {token}\r\n\r\n",
        f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\x00\r\n\r\n",
        f"GET /rpc?token={token} HTP/1.1\r\n\r\n",
        f"{token}\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(head.encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b" 400 " in await reader.readline()
        writer.close()
    messages = [record.getMessage() for record in caplog.records]
    assert sum("refused a malformed request" in message for message in messages) == 4
    assert token[18:] not in "\n".join(messages)


# two managers


@asynccontextmanager
async def two_sites(url: str) -> AsyncIterator[tuple[Site, Site]]:
    """Two managers, or one on SQLite; neither hears the other."""
    settings = load_settings(environ={}, overrides={"db": url})
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(deaf_site(url, settings))
        if url.startswith("sqlite"):
            yield first, first
        else:
            yield first, await stack.enter_async_context(deaf_site(url, settings))


@asynccontextmanager
async def deaf_site(url: str, settings: Settings) -> AsyncIterator[Site]:
    store = make_store(url)
    await store.open()

    @asynccontextmanager
    async def hear_nothing(*callbacks: Any) -> AsyncIterator[None]:
        yield

    store.listen = hear_nothing  # type: ignore[method-assign,assignment]
    manager = Manager(store, settings)
    async with manager.running(), aiohttp.ClientSession() as session:
        registry = method_registry(manager)
        async with listening(manager, registry, settings) as port:
            yield Site(manager, port, session)
    await store.close()


async def closed_with(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, list[Any]]:
    """Read a socket until it is closed: the code, and the methods of what came before."""
    methods = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for message in socket:
            methods.append(json.loads(message.data).get("method"))
    return socket.close_code, methods


async def test_a_revocation_reaches_every_manager_and_gives_leases_back(store_url: str) -> None:
    async with two_sites(store_url) as (here, there):
        root = await token_of(here.manager, "root", Kind.ADMIN)
        executor = await token_of(here.manager, "ex", Kind.EXECUTOR)
        there.manager.auth.changed()
        await create_task(there, root)
        async with there.socket(headers=bearer(executor)) as socket:
            await connect(socket)
            run = await socket.receive_json(timeout=PATIENCE_SECONDS)
            assert run["method"] == "executor.run"
            request = {"id": executor[5:17]}
            call = {"jsonrpc": "2.0", "id": 1, "method": "tokens.revoke", "params": request}
            revoked = await (await here.post(call, headers=bearer(root))).json()
            assert revoked["result"]["revoked_at"]
            code, methods = await closed_with(socket)
        assert code == TOKEN_ENDED
        assert "executor.revoke" in methods
        row = (await here.manager.store.tasks(["t"], ALL_SIGHT))["t"].row
        assert (row.status, row.losses, row.executor_id) == ("QUEUED", 0, None)

        async def dead_everywhere() -> bool:
            statuses = [(await info(site, bearer(executor))).status for site in (here, there)]
            return statuses == [401, 401]

        await wait_until(dead_everywhere, "the token is dead on both managers")


async def create_task(site: Site, token: str) -> None:
    data = {"id": "t", "commands": [{"method": "work"}]}
    create = {"jsonrpc": "2.0", "id": 1, "method": "tasks.create", "params": {"data": data}}
    answer = await (await site.post(create, headers=bearer(token))).json()
    assert answer["result"]["id"] == "t"


async def connect(socket: aiohttp.ClientWebSocketResponse) -> None:
    params = {"id": "e1", "app_names": ["default"], "capacity": 1}
    await socket.send_json(
        {"jsonrpc": "2.0", "id": 1, "method": "manager.connect", "params": params}
    )
    answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
    assert answer["result"]["status"] == "ACTIVE"


async def post(site: Site, token: str, method: str, **params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await (await site.post(call, headers=bearer(token))).json()


async def test_a_call_that_takes_long_ends_with_its_token(site: Site) -> None:
    await token_of(site.manager, "root", Kind.ADMIN)
    ann = await token_of(site.manager, "ann", Kind.USER)
    await create_task(site, ann)
    waiting = asyncio.create_task(post(site, ann, "tasks.wait", id="t", timeout=60))

    async def waits() -> bool:
        return "t" in site.manager.waiters.task_ids

    await wait_until(waits, "the call waits")
    await database_issuer(site.manager.store).revoke(ann[5:17])
    site.manager.auth.changed()
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await waiting
    assert answer["error"] == REFUSAL["error"]


async def test_a_bulk_call_stops_when_its_token_ends(site: Site) -> None:
    root = await token_of(site.manager, "root", Kind.ADMIN)
    ann = await token_of(site.manager, "ann", Kind.USER)
    data = [{"commands": [{"method": "work"}], "delay": 3600} for _ in range(60)]
    await post(site, ann, "tasks.m_create", data=data)
    slow = {"conditions": {"id": {"like": "%"}}, "rate": 2}
    stopped = asyncio.create_task(post(site, ann, "tasks.m_cancel", **slow))

    async def cancelled() -> int:
        failed = await post(site, root, "tasks.count", conditions={"status": "FAILED"})
        return int(failed["result"]["count"])

    await wait_until(cancelled, "the first task is cancelled")
    await database_issuer(site.manager.store).revoke(ann[5:17])
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await stopped)["error"] == REFUSAL["error"]
    assert await cancelled() < 60


class HeldRead:
    """Holds the answers of `store.find` back until they are let go."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read = asyncio.Event()
        self.let_go = asyncio.Event()
        self._find = site.manager.store.find
        monkeypatch.setattr(site.manager.store, "find", self._held)

    async def _held(self, *of: Any) -> Any:
        page = await self._find(*of)
        self.has_read.set()
        await self.let_go.wait()
        return page


async def test_a_read_that_was_begun_before_a_revocation_is_not_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await token_of(site.manager, "root", Kind.ADMIN)
    token = await token_of(site.manager, "vic", Kind.VIEWER)
    held, ended, end = HeldRead(site, monkeypatch), asyncio.Event(), CallSeat.ended

    def and_say(seat: CallSeat) -> None:
        end(seat)
        ended.set()

    monkeypatch.setattr(CallSeat, "ended", and_say)
    listed = asyncio.create_task(post(site, token, "tasks.list"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await held.has_read.wait()
        await database_issuer(site.manager.store).revoke(token[5:17])
        site.manager.auth.changed()
        await ended.wait()
        held.let_go.set()
        assert (await listed)["error"]["code"] == 403


async def test_reports_come_over_the_connection_of_an_executor(site: Site) -> None:
    token = await token_of(site.manager, "ex", Kind.EXECUTOR)
    answer = await post(site, token, "manager.write_stage", reports=[])
    assert answer["error"]["code"] == -32600
