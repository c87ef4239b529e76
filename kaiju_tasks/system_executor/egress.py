"""Decides to which addresses the manager connects for others."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from kaiju_tasks.errors import SettingsError

__all__ = ["Egress", "NotAllowed", "read_networks"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NotAllowed(OSError):
    """The manager does not connect to this address."""


class Egress:
    """Opens sockets to public addresses, and to those that are allowed. The address is checked to
    which the socket connects, whatever name has led there.

    :param networks: that are allowed although they are not public
    :param everywhere: whether every address is allowed now
    """

    def __init__(self, networks: tuple[Network, ...], everywhere: Callable[[], bool]) -> None:
        self._networks = networks
        self._everywhere = everywhere

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for an address of `getaddrinfo`.

        :raises NotAllowed: the address is not allowed
        """
        family, kind, protocol, _, target = info
        if not self.allows(target[0]):
            raise NotAllowed(
                f"the address {target[0]} is not public: add it to `webhook_networks` to allow it"
            )
        return socket.socket(family, kind, protocol)

    def allows(self, address: str) -> bool:
        """Whether the manager connects to an address."""
        if self._everywhere():
            return True
        forms = _forms(ipaddress.ip_address(address.partition("%")[0]))
        if any(form in network for network in self._networks for form in forms):
            return True
        return all(form.is_global and not form.is_multicast for form in forms)


def _forms(address: Address) -> list[Address]:
    """An address, and the IPv4 address in it to which the network translates it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner = [address.sixtofour, None if address.teredo is None else address.teredo[1]]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(one for one in inner if one is not None)]


def read_networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks, separated by commas.

    :raises SettingsError: one is not valid
    """
    try:
        return tuple(ipaddress.ip_network(one) for one in map(str.strip, text.split(",")) if one)
    except ValueError as error:
        raise SettingsError(
            f"webhook_networks must be addresses or networks such as 10.0.0.0/8: {error}",
            field="webhook_networks",
        ) from None
