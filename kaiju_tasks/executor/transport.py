"""A link's wire, replaceable: frames of bytes over something that may break."""

from typing import Protocol

__all__ = ["Connection", "ConnectionClosed", "NoManagerThere", "Refused", "Transport"]


class ConnectionClosed(Exception):
    """The connection is gone, or could not be made."""


class Refused(ConnectionClosed):
    """The manager does not let this executor in (401 or 403): trying again will not help."""


class NoManagerThere(ConnectionClosed):
    """What answers is no manager: trying again will not help. The message says how it answered."""


class Connection(Protocol):
    """One open connection to a manager."""

    async def send(self, frame: bytes) -> None:
        """Send one frame. Raises ConnectionClosed."""
        ...

    async def receive(self) -> bytes | str:
        """The next frame. Raises ConnectionClosed."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Opens connections."""

    async def connect(self, url: str) -> Connection:
        """Open a connection. Raises ConnectionClosed, Refused or NoManagerThere."""
        ...

    async def close(self) -> None:
        """Let go of what is shared between connections."""
        ...
