import asyncio

import pytest

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager.loop import Loop


class Duty:
    """Work that meets the given faults, one at each call, and then succeeds."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.wait_faults: list[Exception] = []
        self.waits = self.calls = self.outages = 0
        self.done = asyncio.Event()
        self.loop = Loop(
            "the duty",
            wait=self._wait,
            work=self._work,
            retry_seconds=0.0,
            on_outage=self._outage,
        )

    async def run(self) -> None:
        self.loop.start()
        await self.done.wait()
        await self.loop.stop()

    async def _wait(self) -> None:
        if self.wait_faults:
            raise self.wait_faults.pop(0)
        if self.done.is_set():
            await asyncio.Event().wait()
        self.waits += 1

    async def _work(self) -> None:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        self.done.set()

    def _outage(self) -> None:
        self.outages += 1


async def test_work_that_fails_is_repeated_without_waiting_for_more() -> None:
    duty = Duty(Unavailable("away"), RuntimeError("a fault"))
    await duty.run()
    assert (duty.waits, duty.calls) == (1, 3)


async def test_an_outage_is_one_warning_and_a_fault_has_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    duty = Duty(Unavailable("away"), RuntimeError("a fault"))
    await duty.run()
    outage, fault = caplog.records
    assert outage.getMessage() == "the duty failed, will retry in 0 s: away"
    assert (outage.exc_info, duty.outages) == (None, 1)
    assert fault.exc_info is not None
    assert fault.exc_info[0] is RuntimeError


async def test_a_wait_that_fails_ends_no_loop(caplog: pytest.LogCaptureFixture) -> None:
    duty = Duty()
    duty.wait_faults = [RuntimeError("a fault")]
    await duty.run()
    assert (duty.waits, duty.calls) == (1, 1)
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_loop_that_never_started_can_be_stopped() -> None:
    await Duty().loop.stop()
