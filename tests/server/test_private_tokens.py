"""Tokens are not sent unencrypted to other machines."""

import logging
from functools import partial
from typing import Any

import pytest

from kaiju_tasks.address import ALLOW_INSECURE_HTTP, check_private, is_private
from kaiju_tasks.client import Client, SyncClient
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.executor.transport import NoManagerThere
from kaiju_tasks.executor.websocket import WebSocketTransport
from kaiju_tasks.rights import Kind
from kaiju_tasks.server.children import Children
from kaiju_tasks.server.exposure import check_host
from kaiju_tasks.settings import load_settings
from tests.server.conftest import Site
from tests.server.test_tokens import token_of
from tests.support.wait import wait_until

ELSEWHERE = "http://192.0.2.1:8077"
"""An address that belongs to nobody (RFC 5737): nothing listens there."""


@pytest.fixture(autouse=True)
def as_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOW_INSECURE_HTTP, raising=False)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:8077", True),
        ("ws://localhost/rpc", True),
        ("http://[::1]:8077", True),
        ("https://tasks.example.com", True),
        ("wss://192.0.2.1", True),
        ("http://tasks.example.com", False),
        ("ws://192.0.2.1:1", False),
        ("http://localhost.example.com", False),
        ("http://0.0.0.0:8077", False),
        ("http://[2001:db8::1]", False),
    ],
)
def test_what_others_can_read(url: str, private: bool) -> None:
    assert is_private(url) is private


@pytest.mark.parametrize(("text", "allows"), [("true", True), ("", False), ("false", False)])
def test_a_variable_allows_it(text: str, allows: bool) -> None:
    check = partial(check_private, ELSEWHERE, "url", {ALLOW_INSECURE_HTTP: text})
    if allows:
        check()
        return
    with pytest.raises(InvalidParams, match=ALLOW_INSECURE_HTTP) as refused:
        check()
    assert refused.value.field == "url"


@pytest.mark.parametrize("kind", [Client, SyncClient])
def test_clients_refuse(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(url: str, token: str | None) -> None:
        kind(url, token)

    with pytest.raises(InvalidParams, match="not sent unencrypted") as refused:
        make(ELSEWHERE, "secret")
    assert "secret" not in str(refused.value)
    make(ELSEWHERE, None)
    make(ELSEWHERE.replace("http", "https"), "secret")
    monkeypatch.setenv(ALLOW_INSECURE_HTTP, "true")
    make(ELSEWHERE, "secret")


@pytest.mark.parametrize("token", ["secret", lambda: "secret"], ids=["text", "function"])
async def test_executors_refuse_before_they_connect(token: Any) -> None:
    transport = WebSocketTransport(token)
    with pytest.raises(NoManagerThere, match="not sent unencrypted"):
        await transport.connect(ELSEWHERE, 30.0)
    await transport.close()


async def test_an_executor_with_a_token_does_not_start() -> None:
    with pytest.raises(InvalidParams, match="not sent unencrypted") as refused:
        await run_executor(Executor("x"), ["http://127.0.0.1:1", ELSEWHERE], token="secret")
    assert refused.value.field == "manager_urls"


@pytest.mark.parametrize(
    ("url", "allowed"), [(ELSEWHERE, {ALLOW_INSECURE_HTTP: "true"}), ("http://127.0.0.1:1", {})]
)
def test_executors_reach_the_manager_that_starts_them(
    site: Site, url: str, allowed: dict[str, str]
) -> None:
    children = Children((), url, site.manager.settings, site.manager.auth)
    assert children._reaching_manager == allowed


async def test_a_manager_warns_when_tokens_can_be_read(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warnings(**settings: str | bool) -> str:
        caplog.clear()
        found = load_settings(environ={}, overrides=settings)
        monkeypatch.setattr(site.manager, "settings", found)
        check_host(site.manager)
        return caplog.text

    with caplog.at_level(logging.WARNING):
        await token_of(site.manager, "root", Kind.ADMIN)
        await wait_until(lambda: not site.manager.auth.local, "there is a token")
        assert "plain HTTP" in warnings(host="0.0.0.0")
        assert not warnings(host="127.0.0.1")
        assert not warnings(host="0.0.0.0", trusted_proxies="10.0.0.1")
