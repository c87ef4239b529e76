"""A manager that other machines reach without tokens says so."""

import asyncio
import logging
from functools import partial

import pytest

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.rights import Kind
from kaiju_tasks.server.exposure import check_host, warn_of_exposure
from kaiju_tasks.settings import load_settings
from tests.server.conftest import Site
from tests.server.test_tokens import token_of
from tests.support.wait import wait_until

OPEN: dict[str, str | bool] = {"host": "0.0.0.0", "allow_insecure_host": True}


def listen(monkeypatch: pytest.MonkeyPatch, site: Site, **settings: str | bool) -> None:
    """Let a manager have the settings of one that listens elsewhere."""
    found = load_settings(environ={}, overrides=settings)
    monkeypatch.setattr(site.manager, "settings", found)


async def signs(site: Site, token: str | None = None) -> tuple[object, object]:
    """What `/readyz` and `system.info` answer."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with site.session.get(f"{site.url}/readyz") as response:
        assert response.status == 200
        ready = await response.json()
    asked = {"jsonrpc": "2.0", "id": 1, "method": "system.info"}
    info = await (await site.post(asked, headers=headers)).json()
    return ready, info["result"]["insecure_host"]


async def test_it_is_shown_until_there_is_a_token(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await signs(site) == ({"ready": True}, False)
    listen(monkeypatch, site, **OPEN)
    assert await signs(site) == ({"ready": True, "insecure_host": True}, True)
    token = await token_of(site.manager, "root", Kind.ADMIN)
    await wait_until(lambda: not site.manager.auth.local, "there is a token")
    assert await signs(site, token) == ({"ready": True}, False)


async def test_the_warning_is_repeated_until_there_is_a_token(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(monkeypatch, site, **OPEN)
    check_host(site.manager)
    with caplog.at_level(logging.WARNING):
        warning = asyncio.create_task(warn_of_exposure(site.manager, seconds=0.01))
        repeated = partial(said, caplog, 3)
        await wait_until(repeated, "the warning is repeated")
        await token_of(site.manager, "root", Kind.ADMIN)
        await warning
        assert not site.manager.auth.local


def said(caplog: pytest.LogCaptureFixture, least: int) -> bool:
    """Whether at least so many warnings were logged."""
    return sum("there are no tokens" in text for text in caplog.messages) >= least


async def test_no_warning_on_loopback(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await warn_of_exposure(site.manager)
    assert not caplog.messages


async def test_it_must_be_allowed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    listen(monkeypatch, site, host="0.0.0.0")
    with pytest.raises(SettingsError, match="--allow-insecure-host"):
        check_host(site.manager)
