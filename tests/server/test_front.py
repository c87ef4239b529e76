"""Behind a proxy: names, paths and addresses."""

import re
from typing import Any

import pytest
from aiohttp import ClientSession, hdrs

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.server.front import Front, front_of
from kaiju_tasks.settings import Settings, load_settings
from tests.server.conftest import Site, open_site

INFO = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}


@pytest.mark.parametrize(
    ("url", "origin", "base"),
    [
        ("https://tasks.example.com", "https://tasks.example.com", ""),
        ("https://Example.com:8443/ops/tasks/", "https://example.com:8443", "/ops/tasks"),
        ("http://[::1]:80/x", "http://[::1]:80", "/x"),
    ],
)
def test_a_public_url_has_an_origin_and_a_base(url: str, origin: str, base: str) -> None:
    front = front_of(Settings(public_url=url))
    assert (front.origin, front.base, front.url) == (origin, base, url.rstrip("/"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_url", "tasks.example.com"),
        ("public_url", "ftp://tasks.example.com"),
        ("public_url", "https://u:p@tasks.example.com"),
        ("public_url", "https://tasks.example.com/?x=1"),
        ("public_url", "https://tasks.example.com:port"),
        ("public_url", "https:///x"),
        ("trusted_proxies", "proxy.example.com"),
        ("trusted_proxies", "10.0.0.1/8"),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        front_of(load_settings(environ={}, overrides={field: value}))
    assert refused.value.field == field


def test_addresses_of_proxies_are_known_in_every_form() -> None:
    front = front_of(Settings(trusted_proxies="10.0.0.0/8, fd00::/8,192.168.1.1"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "fd00::1%eth0", "192.168.1.1"):
        assert front.trusts(address), address
    for other in ("11.0.0.1", "192.168.1.2", "::1", "", "unix:", None):
        assert not front.trusts(other), other
    assert not Front().trusts("127.0.0.1")


async def remote_of(site: Site, *forwarded: str) -> str:
    """The address that the manager takes for that of the client: that in the audit."""
    headers = [(hdrs.X_FORWARDED_FOR, one) for one in forwarded]
    params = {"reason": "r", "app_name": "a"}
    call = {"jsonrpc": "2.0", "id": 1, "method": "pauses.add", "params": params}
    async with site.session.post(f"{site.url}/rpc", json=call, headers=headers) as response:
        assert "result" in await response.json()
    newest = (await site.call("audit.list", limit=1))["result"]["data"][0]
    return str(newest["remote"])


@pytest.mark.parametrize(
    ("forwarded", "remote"),
    [
        ((), "127.0.0.1"),
        (("203.0.113.9",), "203.0.113.9"),
        (("1.1.1.1, 203.0.113.9, 10.0.0.1",), "203.0.113.9"),
        (("1.1.1.1", "203.0.113.9", "10.0.0.1"), "203.0.113.9"),
        (("10.0.0.2, 10.0.0.1",), "10.0.0.2"),
        (("<script>", "10.0.0.1"), "10.0.0.1"),
        (("unknown",), "127.0.0.1"),
    ],
)
async def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    forwarded: tuple[str, ...], remote: str
) -> None:
    async with open_site(Settings(trusted_proxies="127.0.0.1,10.0.0.0/8")) as site:
        assert await remote_of(site, *forwarded) == remote


async def test_headers_of_others_are_not_believed(site: Site) -> None:
    assert await remote_of(site, "203.0.113.9") == "127.0.0.1"
    response = await site.post(INFO, headers={"X-Forwarded-Host": "evil.example"})
    servers = (await response.json())["result"]["servers"]
    assert servers[0]["url"] == f"{site.url}/rpc"
    response = await site.post(INFO, headers={"Host": "evil.example"})
    assert response.status == 403


async def ask(session: ClientSession, url: str, **headers: str) -> tuple[int, Any]:
    async with session.post(url, json=INFO, headers=headers) as response:
        body = await response.json() if response.status == 200 else await response.text()
        return response.status, body


async def test_the_public_url_is_served_and_shown() -> None:
    public = "https://example.com/ops/tasks"
    async with open_site(Settings(public_url=public, allowed_hosts="*.internal")) as site:
        url = f"{site.url}/ops/tasks"
        for host in ("example.com", "EXAMPLE.com", "k.internal:8077", "localhost"):
            status, answer = await ask(site.session, f"{url}/rpc", Host=host)
            assert status == 200, host
            assert answer["result"]["servers"][0]["url"] == f"{public}/rpc"
        assert (await ask(site.session, f"{site.url}/rpc"))[0] == 200
        for host in ("example.org", "internal", "example.com.evil.org"):
            assert (await ask(site.session, f"{url}/rpc", Host=host))[0] == 403, host
        own = {"Host": "127.0.0.1:8077", "Origin": "https://example.com"}
        assert (await ask(site.session, f"{url}/rpc", **own))[0] == 200
        for origin in ("http://example.com", "https://evil.example", "null"):
            assert (await ask(site.session, f"{url}/rpc", Origin=origin))[0] == 403, origin
        page = await site.session.get(f"{url}/", headers={"Host": "example.com"})
        (script,) = re.findall(r'src="(assets/[^"]+)"', await page.text())
        loaded = await site.session.get(f"{url}/{script}", headers={"Host": "example.com"})
        assert loaded.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        moved = await site.session.get(url, allow_redirects=False)
        assert (moved.status, moved.headers["Location"]) == (308, "/ops/tasks/")
        probe = await site.session.get(f"{url}/healthz", headers={"Host": "10.9.8.7"})
        assert probe.status == 200
        async with site.session.ws_connect(f"{url}/rpc", headers={"Host": "example.com"}) as socket:
            await socket.send_json(INFO)
            answer = await socket.receive_json(timeout=30)
            assert answer["result"]["servers"][0]["url"] == f"{public}/rpc"


async def test_a_proxy_says_under_which_name_it_was_asked() -> None:
    settings = Settings(trusted_proxies="127.0.0.1", allowed_hosts="tasks.example.com")
    async with open_site(settings) as site:
        forwarded = {"X-Forwarded-Host": "tasks.example.com", "X-Forwarded-Proto": "https"}
        status, answer = await ask(site.session, f"{site.url}/rpc", **forwarded)
        assert status == 200
        assert answer["result"]["servers"][0]["url"] == "https://tasks.example.com/rpc"
        forwarded["Origin"] = "https://tasks.example.com"
        assert (await ask(site.session, f"{site.url}/rpc", **forwarded))[0] == 200
        wrong = {"X-Forwarded-Host": "evil.example"}
        assert (await ask(site.session, f"{site.url}/rpc", **wrong))[0] == 403


async def test_requests_from_pages_of_other_sites_are_refused(site: Site) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    for mode in ("cors", "no-cors", "websocket"):
        headers = {**cross, "Sec-Fetch-Mode": mode}
        for path in ("/", "/metrics", "/openrpc.json"):
            response = await site.session.get(f"{site.url}{path}", headers=headers)
            assert response.status == 403, (mode, path)
    link = {**cross, "Sec-Fetch-Mode": "navigate"}
    assert (await site.session.get(f"{site.url}/", headers=link)).status == 200
    same = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert (await site.session.get(f"{site.url}/metrics", headers=same)).status == 200
