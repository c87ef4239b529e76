"""Defines the JSON-RPC 2.0 messages of a link, one for each frame."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from kaiju_tasks.protocol import (
    ConnectResult,
    DeclareResult,
    DrainParams,
    PingResult,
    RevokeParams,
    RunParams,
    WriteStageResult,
)

__all__ = [
    "Incoming",
    "Request",
    "RpcError",
    "decode_connect",
    "decode_declare",
    "decode_drain",
    "decode_frame",
    "decode_ping",
    "decode_revoke",
    "decode_run",
    "decode_write_stage",
    "encode",
]


class RpcError(Struct, frozen=True):
    """A JSON-RPC error object."""

    code: int
    message: str
    data: Any = None


class Request(Struct):
    """A request from the executor to the manager."""

    id: int
    method: str
    params: Any
    jsonrpc: Literal["2.0"] = "2.0"


class Incoming(Struct):
    """A notification (`method`) or a response to a request (`id`) from the manager."""

    method: str | None = None
    params: Raw = Raw(b"{}")
    id: Any = None
    result: Raw = Raw(b"null")
    error: RpcError | UnsetType | None = UNSET


encode = msgspec.json.Encoder().encode
decode_frame = msgspec.json.Decoder(Incoming).decode
decode_connect = msgspec.json.Decoder(ConnectResult).decode
decode_declare = msgspec.json.Decoder(DeclareResult).decode
decode_ping = msgspec.json.Decoder(PingResult).decode
decode_write_stage = msgspec.json.Decoder(WriteStageResult).decode
decode_run = msgspec.json.Decoder(RunParams).decode
decode_revoke = msgspec.json.Decoder(RevokeParams).decode
decode_drain = msgspec.json.Decoder(DrainParams).decode
