"""What stands in front of a manager: its public name, and proxies."""

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from msgspec import Struct

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.settings import Settings

__all__ = ["FRONT", "Front", "behind_proxy", "front_of", "public_url_of"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED_HOST = "X-Forwarded-Host"
LONGEST_CHAIN = 20
"""The most proxies in X-Forwarded-For that are looked at."""


class Front(Struct, frozen=True):
    """The public name of a manager, and whom it believes who a client is.

    :param hosts: names that the Host header may have, as globs
    :param url: the URL at which clients reach the manager, without a slash at its end; None if it
        is the address on which it listens
    :param base: the path of that URL, without a slash at its end
    :param proxies: the addresses whose X-Forwarded headers are believed
    """

    hosts: tuple[str, ...] = ()
    url: str | None = None
    base: str = ""
    proxies: tuple[Network, ...] = ()

    @property
    def origin(self) -> str | None:
        """The origin of the pages at the public URL, as browsers send it."""
        if self.url is None:
            return None
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}".lower()

    def trusts(self, address: str | None) -> bool:
        """Whether an address is one of the proxies."""
        if address is None:
            return False
        try:
            found = ipaddress.ip_address(address.strip().partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any(one in network for network in self.proxies for one in (found, mapped) if one)


FRONT = web.AppKey("front", Front)


def front_of(settings: Settings) -> Front:
    """:raises SettingsError: a setting is not valid; `field` names it"""
    hosts = _listed(settings.allowed_hosts.lower())
    if settings.public_url == "":
        return Front(hosts, proxies=_networks(settings.trusted_proxies))
    try:
        parts = urlsplit(settings.public_url)
        host, wrong = parts.hostname, parts.port == 0
    except ValueError:
        host, wrong = None, True
    extra = parts.query or parts.fragment or "@" in parts.netloc
    if wrong or host is None or parts.scheme not in ("http", "https") or extra:
        raise SettingsError(
            "public_url must be a URL such as https://tasks.example.com or "
            f"https://example.com/tasks, not {settings.public_url!r:.100}",
            field="public_url",
        )
    return Front(
        (*hosts, host),
        settings.public_url.rstrip("/"),
        parts.path.rstrip("/"),
        _networks(settings.trusted_proxies),
    )


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one) for one in _listed(text))
    except ValueError as error:
        raise SettingsError(
            f"trusted_proxies must be addresses or networks such as 10.0.0.0/8: {error}",
            field="trusted_proxies",
        ) from None


def _listed(text: str) -> tuple[str, ...]:
    return tuple(one for one in map(str.strip, text.split(",")) if one)


def behind_proxy(request: web.Request, front: Front) -> web.Request:
    """The request as the client sent it to the proxies that are trusted: with the address of the
    client, and with the host and the scheme that it used."""
    if not front.trusts(request.remote):
        return request
    headers = request.headers
    chain = headers.getall(hdrs.X_FORWARDED_FOR, [])
    changes: dict[str, Any] = {"remote": _client(chain, front, request.remote)}
    if host := headers.get(FORWARDED_HOST):
        changes["host"] = host
    if (scheme := headers.get(hdrs.X_FORWARDED_PROTO, "")) in ("http", "https"):
        changes["scheme"] = scheme
    return request.clone(**changes)


def _client(headers: Sequence[str], front: Front, remote: str | None) -> str:
    """The last address of the chain that is not that of a trusted proxy. What is left of it, the
    client may have made up."""
    chain = [one.strip() for header in headers for one in header.split(",")][-LONGEST_CHAIN:]
    for address in reversed(chain):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            break
        remote = address
        if not front.trusts(address):
            break
    return remote or ""


def public_url_of(request: web.Request) -> str:
    """The URL at which the client of a request reaches the manager."""
    return request.app[FRONT].url or f"{request.scheme}://{request.host}"
