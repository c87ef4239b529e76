"""Draws ids, nonces, secrets and jitter from one random source, which a simulation can seed."""

import random


class Dice:
    """A source of ids, nonces, secrets and jitter.

    :param source: the random generator; by default, the operating system's entropy
    """

    def __init__(self, source: random.Random | None = None) -> None:
        self._bits = (source or random.SystemRandom()).getrandbits

    def new_id(self) -> str:
        """A task, job, message or session id: 128 random bits as 32 hex digits."""
        return f"{self._bits(128):032x}"

    def nonce(self) -> str:
        return f"{self._bits(64):016x}"

    def rev(self) -> int:
        """The identifier of one version of a definition. It fits a signed 64-bit column."""
        return self._bits(62)

    def secret(self, size: int) -> bytes:
        """Random bytes that nobody can guess, unless a simulation has seeded the source."""
        return self._bits(8 * size).to_bytes(size)

    def fraction(self) -> float:
        """A random number from 0 (included) to 1 (excluded), to spread retries."""
        return self._bits(24) / (1 << 24)
