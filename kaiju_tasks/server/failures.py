"""Limits how often a remote address may present wrong tokens."""

import ipaddress
from collections import OrderedDict
from functools import lru_cache

__all__ = ["FAILURES_MAX", "WINDOW_SECONDS", "Failures"]

FAILURES_MAX = 10
WINDOW_SECONDS = 60.0
REMOTES_MAX = 10_000
IPV6_NETWORK_BITS = 64
"""A host with IPv6 usually has a whole network of this size."""


class Failures:
    """Counts failures by remote address, in windows that begin with the first failure."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def seconds_left(self, remote: str | None, now: float) -> float:
        """How long an address is refused, because it has failed too often; 0 if it is not.

        :param now: seconds of a clock that never steps
        """
        if not self._counts:
            return 0.0
        began, count = self._counts.get(_network(remote), (now, 0))
        return max(0.0, began + WINDOW_SECONDS - now) if count >= FAILURES_MAX else 0.0

    def failed(self, remote: str | None, now: float) -> None:
        """Count a failure."""
        network = _network(remote)
        began, count = self._counts.pop(network, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, count = now, 0
        self._counts[network] = (began, count + 1)
        while len(self._counts) > REMOTES_MAX:
            self._counts.popitem(last=False)


@lru_cache(maxsize=1024)
def _network(remote: str | None) -> str:
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return str(address)
