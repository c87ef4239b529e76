"""Memory is given back after a flood."""

import asyncio

import pytest

from kaiju_tasks.server import memory

MIB = 1024 * 1024


class Process:
    """A process whose memory the test sets.

    :ivar trimmed: how often memory was given back
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resident = 100 * MIB
        self.freed_by_trim = 0
        self.trimmed = 0
        self.seen = asyncio.Event()
        monkeypatch.setattr(memory, "LOOK_SECONDS", 0.0)
        monkeypatch.setattr(memory, "TRIM_SECONDS", 1_000.0)
        monkeypatch.setattr(memory, "PAUSE_SECONDS", 1_000.0)
        monkeypatch.setattr(memory, "PAUSE_SECONDS_MAX", 1_000.0)
        monkeypatch.setattr(memory, "_resident", self._resident)
        monkeypatch.setattr(memory, "_trim", lambda: self._trim)

    def _resident(self) -> int:
        self.seen.set()
        return self.resident

    def _trim(self, pad: int) -> int:
        self.trimmed += 1
        self.resident -= self.freed_by_trim
        return 1

    async def has(self, resident: int) -> int:
        """Set the memory. Returns how often it was given back then."""
        self.resident, before = resident, self.trimmed
        for _ in range(5):
            self.seen.clear()
            await self.seen.wait()
            await asyncio.sleep(0)
        return self.trimmed - before


async def test_memory_is_given_back_when_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(monkeypatch)
    keeping = asyncio.create_task(memory.keep_memory_low())
    process.freed_by_trim = 190 * MIB
    assert await process.has(110 * MIB) == 0
    assert await process.has(300 * MIB) == 1
    process.freed_by_trim = 0
    assert await process.has(300 * MIB) == 2  # what is in use is not looked at again
    assert await process.has(310 * MIB) == 0
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_this_process_can_be_looked_at() -> None:
    if memory._trim() is not None:
        assert memory._resident() > MIB
