"""An open store of each kind."""

from collections.abc import AsyncIterator

import pytest

from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store
from tests.store.many import many, many_dsn

__all__ = ["many", "many_dsn", "store"]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A fresh store; a test that uses it runs once on each kind."""
    made = make_store(store_url)
    await made.open()
    yield made
    await made.close()
