"""kaiju_tasks: pipelines of RPC commands, kept by a manager and run by executors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kaiju_tasks.version import __version__

if TYPE_CHECKING:
    from kaiju_tasks.client import Client, SyncClient
    from kaiju_tasks.errors import Abort, KaijuError, RetryAfter
    from kaiju_tasks.executor import BatchCall, Context, Depends, Executor
    from kaiju_tasks.types import (
        Command,
        ExitCode,
        Limit,
        Message,
        NewTask,
        RestartPolicy,
        Task,
        TaskCommand,
        Tasks,
        TaskStatus,
        Timer,
    )

__all__ = [
    "Abort",
    "BatchCall",
    "Client",
    "Command",
    "Context",
    "Depends",
    "Executor",
    "ExitCode",
    "KaijuError",
    "Limit",
    "Message",
    "NewTask",
    "RestartPolicy",
    "RetryAfter",
    "SyncClient",
    "Task",
    "TaskCommand",
    "TaskStatus",
    "Tasks",
    "Timer",
    "__version__",
]

_HOMES = {
    "Abort": "errors",
    "BatchCall": "executor",
    "Client": "client",
    "Context": "executor",
    "Depends": "executor",
    "Executor": "executor",
    "KaijuError": "errors",
    "RetryAfter": "errors",
    "SyncClient": "client",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a command line starts without aiohttp."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES.get(name, 'types')}")
    globals()[name] = value = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
