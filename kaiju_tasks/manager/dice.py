"""Everything that is random in a manager, from one source, so that a simulation can seed it."""

import random


class Dice:
    """Ids and nonces.

    :param source: the system's entropy unless a seeded one is given
    """

    def __init__(self, source: random.Random | None = None) -> None:
        self._bits = (source or random.SystemRandom()).getrandbits

    def new_id(self) -> str:
        """A task, job, message or session id: 128 random bits as hex."""
        return f"{self._bits(128):032x}"

    def nonce(self) -> str:
        return f"{self._bits(64):016x}"

    def rev(self) -> int:
        """Identifies one writing of a definition; fits a signed 64-bit column."""
        return self._bits(62)

    def fraction(self) -> float:
        """0 to below 1, for spreading retries."""
        return self._bits(24) / (1 << 24)
