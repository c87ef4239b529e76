"""Reads from a socket so that a signal always ends the wait.

Python notes a signal, and runs its handler when the main thread executes Python code again. A
signal that arrives just before a blocking system call does not interrupt that call: a Ctrl-C at
that moment would have an effect only after the timeout. A pipe to which Python writes every signal
has no such gap.
"""

import io
import selectors
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

__all__ = ["Interruptible", "woken_by_signals"]


@contextmanager
def woken_by_signals() -> Iterator[socket.socket | None]:
    """A socket that is readable after a signal, or None beside the main thread, which alone runs
    the handlers of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)
        before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(before)


class Interruptible:
    """A connected socket whose answer is read interruptibly, with what `http.client` uses of it.

    :param seconds: maximum time of one wait
    :param woken: see `woken_by_signals`
    """

    def __init__(self, sock: socket.socket, seconds: float, woken: socket.socket | None) -> None:
        self._sock = sock
        self._seconds = seconds
        self._woken = woken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        """The reader of the answer. Nothing can be sent afterwards."""
        self._sock.setblocking(False)
        reads = self._sock.makefile(mode, buffering=0)  # keeps the socket open until it is closed
        return io.BufferedReader(_Reader(reads, self._sock, self._seconds, self._woken))


class _Reader(io.RawIOBase):
    def __init__(
        self,
        reads: socket.SocketIO,
        sock: socket.socket,
        seconds: float,
        woken: socket.socket | None,
    ) -> None:
        self._reads = reads
        self._sock = sock
        self._seconds = seconds
        self._woken = woken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """:raises TimeoutError: nothing arrived in time"""
        while True:
            with suppress(ssl.SSLWantReadError):
                if (size := self._reads.readinto(buffer)) is not None:
                    return size
            self._wait()

    def close(self) -> None:
        self._reads.close()
        super().close()

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            if self._woken is not None:
                selector.register(self._woken, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(self._seconds)]
        if not ready:
            raise TimeoutError("timed out")
        if self._woken is not None and self._woken in ready:
            self._woken.recv(4096)  # the handlers have run, and have raised nothing
