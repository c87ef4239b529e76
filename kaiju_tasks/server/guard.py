"""Refuses requests of foreign web pages by their Host and Origin headers.

A page of another site can make a browser on this machine send requests to the manager. It cannot
choose their Origin and, if it uses its own name for this machine (DNS rebinding), their Host.
"""

import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from kaiju_tasks.address import is_loopback
from kaiju_tasks.rights.globs import any_matches

__all__ = ["Guard"]

HOSTS_MAX = 256
"""The number of different Host headers for which the decision is remembered."""
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


class Guard:
    """Checks the Host and Origin headers of requests.

    :param bound_host: the address on which the manager listens
    :param hosts: further names, as globs in small letters
    :param origin: a further origin of its pages, in small letters
    """

    def __init__(
        self, bound_host: str, hosts: Sequence[str] = (), origin: str | None = None
    ) -> None:
        self._hosts = hosts
        self._origin = origin
        bound = _unbracketed(bound_host)
        self._every_address = bound in _EVERY_ADDRESS
        self._names = {"localhost", bound}
        if not is_loopback(bound):
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._serves = lru_cache(maxsize=HOSTS_MAX)(lambda host: self._knows(_name_of(host)))

    def refusal(
        self, host: str | None, origin: str | None, site: str | None = None, mode: str | None = None
    ) -> str | None:
        """Why a request is refused, or None.

        :param host: the Host header
        :param origin: the Origin header, which only browsers send
        :param site: the Sec-Fetch-Site header, which only browsers send
        :param mode: the Sec-Fetch-Mode header
        """
        if host is None or not self._serves(host):
            return (
                f"this manager does not serve the host {host!r:.100}: "
                "use the address it listens on, or localhost"
            )
        if site == "cross-site" and mode != "navigate":
            return "requests from pages of other sites are refused"
        if origin is not None and not self._is_own(origin, host):
            return (
                f"requests from the origin {origin!r:.100} are refused: "
                "only pages of this manager may call it"
            )
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        return _same(origin, host) or origin.lower() == self._origin

    def _knows(self, name: str | None) -> bool:
        if name is None:
            return False
        if name in self._names or is_loopback(name) or (self._every_address and _is_ip(name)):
            return True
        return any_matches(self._hosts, name)


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _name_of(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        if parts.port == 0 or parts.path or "@" in host:
            return None
        return parts.hostname
    except ValueError:
        return None


def _unbracketed(host: str) -> str:
    return host.removeprefix("[").removesuffix("]").lower().partition("%")[0]


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
