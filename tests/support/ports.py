"""Ports nobody listens on."""

import errno
import random
import socket

# Below Linux's range for outgoing connections (32768...): a port that is let go for a moment,
# while a server restarts, is not taken by somebody's outgoing connection.
_RANGE = range(15_000, 32_000)
_given: set[int] = set()
_random = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port free at this moment, and not given to anybody else in this process.

    :param host: the address it will be bound on
    :raises RuntimeError: when 200 ports in a row are taken
    """
    for _ in range(200):
        port = _random.choice(_RANGE)
        if port not in _given and _can_bind(host, port):
            _given.add(port)
            return port
    raise RuntimeError(f"200 ports of {host} were tried and none is free")


def _can_bind(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
