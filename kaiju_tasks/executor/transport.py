"""Defines the replaceable transport of a link: frames of bytes over a connection that may fail."""

from typing import Protocol

__all__ = ["Connection", "ConnectionClosed", "NoManagerThere", "Refused", "Transport"]


class ConnectionClosed(Exception):
    """The connection was closed or could not be opened.

    :param frame_refused: whether it was closed because of a frame that was sent
    """

    def __init__(self, message: str = "", *, frame_refused: bool = False) -> None:
        super().__init__(message)
        self.frame_refused = frame_refused


class Refused(ConnectionClosed):
    """The manager refuses this executor (401 or 403). A retry will not help."""


class NoManagerThere(ConnectionClosed):
    """The server at the URL is not a manager. A retry will not help. The message describes how
    the server answered."""


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

    async def connect(self, url: str, seconds: float) -> Connection:
        """Open a connection within some seconds. Raises ConnectionClosed, Refused or
        NoManagerThere."""
        ...

    async def close(self) -> None:
        """Release the resources that connections share."""
        ...
