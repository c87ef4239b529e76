"""The manager dies at a part of its steps; `make crash` kills it at every one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.simulation.crash_points import SHAPES, CountedStore, CountedTransaction, crash

EVERY = 3


@pytest.mark.parametrize("shape", SHAPES)
def test_a_manager_that_dies_at_any_step_loses_nothing(shape: str) -> None:
    outcome, steps = crash(shape, None)
    assert not outcome.violations, outcome.report
    assert steps >= 3 * EVERY
    for at in range(1 + len(shape) % EVERY, steps + 1, EVERY):
        outcome, _ = crash(shape, at)
        assert not outcome.violations, f"step {at}: {outcome.report}"


def test_a_transaction_that_is_half_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def transaction(self: CountedStore) -> AsyncIterator[Any]:
        killed = False
        async with self._store.transaction() as inner:
            try:
                yield CountedTransaction(inner, self._countdown)
                self._countdown.step(at_once=True)
            except asyncio.CancelledError:
                killed = True  # and what was written so far is committed
        if killed:
            raise asyncio.CancelledError

    monkeypatch.setattr(CountedStore, "transaction", transaction)
    _, steps = crash("slots", None)
    assert any(crash("slots", at)[0].violations for at in range(1, steps + 1))
