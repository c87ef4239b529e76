"""JSON-RPC clients of other people, in JavaScript, against a manager process."""

import json
from typing import Any

import pytest

from tests.support.node import Node

CLIENTS = ["jayson", "json-rpc-2.0", "client-js over HTTP", "client-js over a WebSocket"]
ECHO = {"text": "ä\U0001f600"}


@pytest.fixture(scope="module")
def said(node: Node, manager_port: int) -> dict[str, Any]:
    """What came of each call of each client; they share one start of Node."""
    return dict(json.loads(node.run("clients.mjs", str(manager_port))))


@pytest.fixture(params=CLIENTS)
def calls(request: pytest.FixtureRequest, said: dict[str, Any]) -> dict[str, Any]:
    return dict(said[request.param])


def test_every_client_was_used(said: dict[str, Any]) -> None:
    assert list(said) == CLIENTS


def test_it_creates_waits_and_reads(calls: dict[str, Any]) -> None:
    assert calls["created"]["result"]["created"] is True
    assert calls["ended"]["result"]["status"] == "FINISHED"
    assert calls["got"]["result"]["result"] == [ECHO]
    assert calls["sent"]["result"]["state"] == "rejected"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing", {"code": 404, "type": "not_found"}),
        ("taken", {"code": 409, "type": "conflict", "field": "data.id"}),
        ("unknown", {"code": -32601, "type": "method_not_found"}),
        (
            "wrong",
            {"code": -32602, "type": "invalid_params", "field": "data.commands.0.method"},
        ),
    ],
)
def test_it_raises_errors_with_their_data(
    calls: dict[str, Any], name: str, error: dict[str, Any]
) -> None:
    assert calls[name] == error


def test_its_notification_is_followed(calls: dict[str, Any]) -> None:
    assert calls["notified"]["result"]["priority"] == 7


def test_its_batch_is_answered_item_by_item(said: dict[str, Any]) -> None:
    assert {name: calls["batch"] for name, calls in said.items()} == {
        "jayson": [True, 404],  # the third was a notification
        "json-rpc-2.0": [["first", True], [2, False], [3, 404]],
        "client-js over HTTP": [True, 404],
        "client-js over a WebSocket": [True, 404],
    }
