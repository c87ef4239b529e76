"""Host and Origin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.address import is_loopback
from kaiju_tasks.server.guard import Guard


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8077",
        "LOCALHOST:8077",
        "127.0.0.1:8077",
        "127.8.9.1",
        "[::1]:8077",
        "[::1]",
    ],
)
def test_loopback_names_are_answered(host: str) -> None:
    assert Guard("127.0.0.1").refusal(host, None) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8077",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "user@localhost",
        "localhost:evil",
        "localhost:0",
        "localhost/x",
        "10.0.0.1",
        "[::1",
        "127.0.0.1:8077:1",
        "localhost, evil.example",
    ],
)
def test_other_hosts_are_refused(host: str | None) -> None:
    assert Guard("127.0.0.1").refusal(host, None) is not None


def test_the_bound_address_is_answered() -> None:
    assert Guard("192.168.3.4").refusal("192.168.3.4:8077", None) is None
    assert Guard("192.168.3.4").refusal("192.168.3.5:8077", None) is not None
    assert Guard("kaiju.internal").refusal("kaiju.internal", None) is None


def test_on_every_address_any_address_is_answered_but_no_foreign_name() -> None:
    assert Guard("0.0.0.0").refusal("192.168.3.4:8077", None) is None
    assert Guard("::").refusal("[fe80::1]:8077", None) is None
    assert Guard("0.0.0.0").refusal("evil.example:8077", None) is not None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:8077",
        "null",
        "",
        "file://",
        "chrome-extension://localhost:8077",
        "http://[::1",
        "http://localhost:8077@evil.example",
    ],
)
def test_a_foreign_origin_is_refused(origin: str) -> None:
    assert Guard("127.0.0.1").refusal("localhost:8077", origin) is not None


def test_the_own_origin_is_answered() -> None:
    guard = Guard("127.0.0.1")
    assert guard.refusal("localhost:8077", "http://localhost:8077") is None
    assert guard.refusal("[::1]:8077", "http://[::1]:8077") is None
    assert guard.refusal("localhost", "https://localhost") is None


@given(st.text(), st.none() | st.text())
def test_no_header_is_too_strange(host: str, origin: str | None) -> None:
    refusal = Guard("127.0.0.1").refusal(host, origin)
    assert refusal is None or len(refusal) < 400


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.com", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
