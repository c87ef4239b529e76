"""Sessions of browsers: what their cookie admits, and when they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kaiju_tasks.rights import Kind
from kaiju_tasks.server import sessions
from kaiju_tasks.settings import load_settings
from tests.server.conftest import Site, open_site
from tests.server.test_tokens import bearer, token_of

INFO = {"jsonrpc": "2.0", "id": 1, "method": "system.whoami"}


@pytest.fixture
async def root(site: Site) -> str:
    return await token_of(site.manager, "root", Kind.ADMIN)


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps cookies, and has an origin like a page of the manager."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"Origin": site.url}) as session:
        yield session


async def sign_in(site: Site, browser: aiohttp.ClientSession, token: str) -> int:
    async with browser.post(f"{site.url}/session", json={"token": token}) as response:
        return response.status


async def call(site: Site, browser: aiohttp.ClientSession, **options: Any) -> int:
    async with browser.post(f"{site.url}/rpc", **({"json": INFO} | options)) as response:
        return response.status


async def test_a_session_has_the_rights_of_its_token(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    assert await call(site, browser) == 401
    assert await sign_in(site, browser, root) == 204
    async with browser.post(f"{site.url}/rpc", json=INFO) as response:
        who = (await response.json())["result"]
    assert (who["principal"], who["kind"]) == ("root", "admin")


async def test_the_cookie_is_hidden_from_pages_and_from_other_sites(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    async with browser.post(f"{site.url}/session", json={"token": root}) as response:
        (cookie,) = response.headers.getall("Set-Cookie")
    assert root not in cookie
    assert cookie.startswith(f"kaiju-{site.port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


async def test_over_tls_the_cookie_is_bound_to_the_host() -> None:
    settings = load_settings(environ={}, overrides={"public_url": "https://tasks.example.com"})
    async with open_site(settings) as site:
        root = await token_of(site.manager, "root", Kind.ADMIN)
        headers = {"Host": "tasks.example.com", "Origin": "https://tasks.example.com"}
        response = await site.session.post(
            f"{site.url}/session", json={"token": root}, headers=headers
        )
        cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-kaiju=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


async def test_below_a_path_the_cookie_stays_there() -> None:
    url = "https://example.com/tasks"
    async with open_site(load_settings(environ={}, overrides={"public_url": url})) as site:
        root = await token_of(site.manager, "root", Kind.ADMIN)
        headers = {"Host": "example.com", "Origin": "https://example.com"}
        response = await site.session.post(
            f"{site.url}/tasks/session", json={"token": root}, headers=headers
        )
        cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Secure-kaiju=")
    assert "Path=/tasks/" in cookie.split("; ")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Origin": "http://evil.example"}}, 403),
        ({"headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
        ({"json": None, "data": b"{}", "headers": {"Content-Type": "text/plain"}}, 400),
        ({"json": None, "data": {"a": "b"}}, 400),
    ],
)
async def test_a_cookie_is_refused_where_another_site_could_have_sent_it(
    site: Site,
    browser: aiohttp.ClientSession,
    root: str,
    options: dict[str, Any],
    status: int,
) -> None:
    assert await sign_in(site, browser, root) == 204
    assert await call(site, browser, **options) == status


async def test_a_cookie_without_an_origin_is_refused(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    assert await sign_in(site, browser, root) == 204
    cookies = {one.key: one.value for one in browser.cookie_jar}
    async with aiohttp.ClientSession(cookies=cookies) as bare:
        assert await call(site, bare) == 403
        assert (await bare.get(f"{site.url}/openrpc.json")).status == 403
        own = {"Sec-Fetch-Site": "same-origin"}
        assert (await bare.get(f"{site.url}/openrpc.json", headers=own)).status == 200
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await bare.ws_connect(f"{site.url}/rpc", headers=own)
        assert refused.value.status == 403


async def test_a_token_in_the_header_goes_before_a_cookie(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    assert await sign_in(site, browser, root) == 204
    assert await call(site, browser, headers=bearer("wrong")) == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"token": ""}', 400),
        (b'{"token": 1}', 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"token": "kt_a_wrong"}', 401),
        (b'{"token": "' + b"x" * 5000 + b'"}', 413),
    ],
)
async def test_signing_in_needs_a_valid_token(
    site: Site, browser: aiohttp.ClientSession, root: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    async with browser.post(f"{site.url}/session", data=body, headers=headers) as response:
        assert response.status == status
        assert "Set-Cookie" not in response.headers


async def test_wrong_tokens_are_counted(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    statuses = [await sign_in(site, browser, "wrong") for _ in range(30)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def test_the_token_of_an_executor_does_not_sign_in(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    token = await token_of(site.manager, "worker", Kind.EXECUTOR)
    assert await sign_in(site, browser, token) == 403


async def test_without_tokens_there_is_nothing_to_sign_in_to(
    site: Site, browser: aiohttp.ClientSession
) -> None:
    assert await sign_in(site, browser, "anything") == 204
    assert len(browser.cookie_jar) == 0
    assert await call(site, browser) == 200


async def test_signing_out_closes_the_websockets_of_the_session(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    assert await sign_in(site, browser, root) == 204
    async with browser.ws_connect(f"{site.url}/rpc") as socket:
        await socket.send_json(INFO)
        assert (await socket.receive_json())["result"]["principal"] == "root"
        async with browser.delete(f"{site.url}/session") as response:
            assert response.status == 204
        async with asyncio.timeout(60):
            assert (await socket.receive()).type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            )
    assert await call(site, browser) == 401


async def test_a_session_ends_with_its_token(
    site: Site, browser: aiohttp.ClientSession, root: str
) -> None:
    token = await token_of(site.manager, "ann", Kind.OPERATOR)
    assert await sign_in(site, browser, token) == 204
    id = token.split("_")[2]
    revoke = {"jsonrpc": "2.0", "id": 1, "method": "tokens.revoke", "params": {"id": id}}
    assert "result" in await (await site.post(revoke, headers=bearer(root))).json()
    assert await call(site, browser) == 401


async def test_a_session_ends_after_its_time(
    site: Site, browser: aiohttp.ClientSession, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(sessions, "_now", lambda: now)
    assert await sign_in(site, browser, root) == 204
    for _ in range(24):
        assert await call(site, browser) == 200
        now += sessions.IDLE_SECONDS
    now = sessions.LONGEST_SECONDS + 1
    assert await call(site, browser) == 401
    assert await sign_in(site, browser, root) == 204
    now += sessions.IDLE_SECONDS + 1
    assert await call(site, browser) == 401


async def test_the_number_of_sessions_is_bounded(
    site: Site, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    headers = {"Origin": site.url}
    opened = [
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers)
        for _ in range(3)
    ]
    for one in opened:
        assert await sign_in(site, one, root) == 204
    assert [await call(site, one) for one in opened] == [401, 200, 200]
    for one in opened:
        await one.close()
