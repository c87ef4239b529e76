"""A manager with its own executor, on either store."""

from collections.abc import AsyncIterator

import pytest

from kaiju_tasks.embedded import Embedded, embedded
from kaiju_tasks.settings import Settings
from tests.system_executor.inprocess import Inside
from tests.system_executor.receiver import Receiver, receiving


@pytest.fixture
def settings(store_url: str) -> Settings:
    return Settings(db=store_url, poll_interval=0.2)


@pytest.fixture
async def embedded_manager(settings: Settings) -> AsyncIterator[Embedded]:
    async with embedded(settings) as made:
        yield made


@pytest.fixture
def inside(embedded_manager: Embedded) -> Inside:
    return Inside(embedded_manager)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made
