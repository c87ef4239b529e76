"""The signals that ask a process to end: one home for manager, executor and command line."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from kaiju_tasks.signals import handling_signals
from tests.support.wait import PATIENCE_SECONDS

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def dispositions() -> Iterator[None]:
    """What pytest and nohup set stands again afterwards."""
    before = {number: signal.getsignal(number) for number in ENDING}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
async def test_every_signal_that_asks_to_end_is_handled_each_time(number: signal.Signals) -> None:
    heard: asyncio.Queue[bool] = asyncio.Queue()
    with handling_signals(lambda: heard.put_nowait(True)):
        for _ in range(2):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(heard.get(), PATIENCE_SECONDS)


async def test_after_the_block_signals_do_what_they_do_by_default() -> None:
    with handling_signals(lambda: None):
        pass
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


async def test_handled_once_the_next_signal_ends_the_process() -> None:
    heard: asyncio.Queue[bool] = asyncio.Queue()
    with handling_signals(lambda: heard.put_nowait(True), once=True):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(heard.get(), PATIENCE_SECONDS)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


async def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with handling_signals(lambda: None):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
