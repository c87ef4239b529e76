"""Unique keys: whoever asks for one gets it, or learns who holds it."""

from typing import Any

import pytest

from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store


async def test_a_key_goes_to_one_task(store: Store) -> None:
    async with store.transaction() as tx:
        assert await tx.claim({"k": "a", "l": "a"}) == {}
    async with store.transaction() as tx:
        assert await tx.claim({"k": "b", "m": "b"}) == {"k": "a"}
        await tx.unclaim(["a"])
        assert await tx.claim({"k": "b"}) == {}
        assert await tx.claim({"k": "c", "m": "c", "l": "c"}) == {"k": "b", "m": "b"}


async def test_a_key_that_is_let_go_while_it_is_asked_for_is_taken(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the insert that finds it held and the look at who holds it."""
    store = make_store(postgres_dsn)
    await store.open()
    async with store.transaction() as tx:
        await tx.claim({"k": "a"})
    async with store.transaction() as tx:
        fetch = tx._fetch  # type: ignore[attr-defined]

        async def slowly(name: str, *values: Any) -> Any:
            if name == "claimants":
                async with store.transaction() as other:
                    await other.unclaim(["a"])
            return await fetch(name, *values)

        monkeypatch.setattr(tx, "_fetch", slowly)
        assert await tx.claim({"k": "b"}) == {}
    async with store.transaction() as tx:
        assert await tx.claim({"k": "c"}) == {"k": "b"}
    await store.close()
