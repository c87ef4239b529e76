"""Clients of a manager: `Client` for asyncio, `SyncClient` for code without an event loop."""

from kaiju_tasks.client.client import Client
from kaiju_tasks.client.events import Events
from kaiju_tasks.client.methods import Methods
from kaiju_tasks.client.sync import SyncClient, SyncEvents

__all__ = ["Client", "Events", "Methods", "SyncClient", "SyncEvents"]
