"""The public methods, with a module for each prefix."""

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.manager import connection_closed, end_subscriptions, write_stage_fast
from kaiju_tasks.api.registry import method_registry

__all__ = [
    "Caller",
    "connection_closed",
    "end_subscriptions",
    "method_registry",
    "write_stage_fast",
]
