"""The committed schemas: `python -m kaiju_tasks.schemas [--write]` checks or writes them.

They are generated from the types, so that programs in other languages can rely on them.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from kaiju_tasks import protocol
from kaiju_tasks.rpc.draft7 import DRAFT_7, components
from kaiju_tasks.types import NewTask

__all__ = ["DOCUMENTS", "FOLDER", "render", "stale", "write"]

FOLDER = Path(__file__).resolve().parent.parent / "schemas"
DEFINITIONS = "#/definitions/"

TO_MANAGER = "executor to manager"
TO_EXECUTOR = "manager to executor"

# Each method of the protocol: who calls whom, its params, its result (None: a notification).
PROTOCOL_METHODS: dict[str, tuple[str, Any, Any]] = {
    "manager.connect": (TO_MANAGER, protocol.ConnectParams, protocol.ConnectResult),
    "manager.ping": (TO_MANAGER, protocol.PingParams, protocol.PingResult),
    "manager.write_stage": (TO_MANAGER, protocol.WriteStageParams, protocol.WriteStageResult),
    "manager.write_logs": (TO_MANAGER, protocol.WriteLogsParams, protocol.WriteLogsResult),
    "manager.suspend_executor": (TO_MANAGER, protocol.SuspendExecutorParams, protocol.PingResult),
    "manager.call": (TO_MANAGER, protocol.CallParams, Any),
    "manager.declare": (TO_MANAGER, protocol.DeclareParams, protocol.DeclareResult),
    "executor.run": (TO_EXECUTOR, protocol.RunParams, None),
    "executor.revoke": (TO_EXECUTOR, protocol.RevokeParams, None),
    "executor.drain": (TO_EXECUTOR, protocol.DrainParams, None),
    "executor.resume": (TO_EXECUTOR, protocol.ResumeParams, None),
}


def openrpc() -> dict[str, Any]:
    """Describe the public methods."""
    from kaiju_tasks.api.document import api_document

    return api_document()


def task() -> dict[str, Any]:
    """Describe what a client may set in a task."""
    _, named = components([NewTask], DEFINITIONS)
    return {"$schema": DRAFT_7, **named.pop("NewTask"), "definitions": named}


def executor_protocol() -> dict[str, Any]:
    """Describe every message between a manager and an executor."""
    types = [type_ for _, *pair in PROTOCOL_METHODS.values() for type_ in pair]
    schemas, named = components(types, DEFINITIONS)
    methods = {
        name: _protocol_method(direction, params, result if kind is not None else None)
        for (name, (direction, _, kind)), params, result in zip(
            PROTOCOL_METHODS.items(), schemas[::2], schemas[1::2], strict=True
        )
    }
    return {
        "$schema": DRAFT_7,
        "title": "kaiju_tasks executor protocol",
        "description": "JSON-RPC 2.0 over a WebSocket; a method without a result is a notification",
        "version": protocol.PROTOCOL_VERSION,
        "methods": methods,
        "definitions": named,
    }


DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "openrpc.json": openrpc,
    "task.schema.json": task,
    "executor-protocol.schema.json": executor_protocol,
}


def render(name: str) -> bytes:
    """Generate a schema file.

    :param name: one of `DOCUMENTS`
    """
    return msgspec.json.format(msgspec.json.encode(DOCUMENTS[name]()), indent=2) + b"\n"


def write(names: Iterable[str] = DOCUMENTS, folder: Path = FOLDER) -> None:
    """Write schema files.

    :param names: which of `DOCUMENTS`
    """
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(render(name))


def stale(names: Iterable[str] = DOCUMENTS, folder: Path = FOLDER) -> list[str]:
    """Find the schema files that are missing or do not say what the types say.

    :param names: which of `DOCUMENTS`
    """
    return [name for name in names if _content(folder / name) != render(name)]


def _protocol_method(direction: str, params: Any, result: Any | None) -> dict[str, Any]:
    method = {"direction": direction, "params": params}
    return method if result is None else method | {"result": result}


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main(arguments: list[str]) -> int:
    """Run the command; 1 if a schema is stale."""
    if arguments == ["--write"]:
        write()
        return 0
    if arguments:
        print("usage: python -m kaiju_tasks.schemas [--write]", file=sys.stderr)
        return 2
    for name in (found := stale()):
        print(f"schemas/{name} is stale: python -m kaiju_tasks.schemas --write", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
