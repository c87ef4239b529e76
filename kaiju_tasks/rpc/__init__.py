"""JSON-RPC 2.0 without I/O, from bytes to bytes."""

from kaiju_tasks.rpc.convert import convert, convert_json
from kaiju_tasks.rpc.dispatch import dispatch
from kaiju_tasks.rpc.edge import Limits, check_raw, decode
from kaiju_tasks.rpc.effort import Effort, count_as_useful, counting_waits, measured
from kaiju_tasks.rpc.messages import (
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    read_response,
)
from kaiju_tasks.rpc.openrpc import add_discover, document_for, openrpc_document, servers
from kaiju_tasks.rpc.problems import problems
from kaiju_tasks.rpc.registry import Handler, Method, NoParams, Registry
from kaiju_tasks.rpc.share import Share

__all__ = [
    "Effort",
    "Handler",
    "Limits",
    "Method",
    "NoParams",
    "Registry",
    "Response",
    "Share",
    "add_discover",
    "check_raw",
    "convert",
    "convert_json",
    "count_as_useful",
    "counting_waits",
    "decode",
    "dispatch",
    "document_for",
    "encode_error",
    "encode_notification",
    "encode_request",
    "encode_result",
    "measured",
    "openrpc_document",
    "problems",
    "read_response",
    "servers",
]
