"""JSON-RPC over POST, and the other paths."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kaiju_tasks.settings import load_settings
from tests.server.conftest import Site, open_site

ECHO = {"commands": [{"method": "do.echo", "params": {"data": 1}}]}


def request(method: str = "system.info", **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, **more}


async def test_a_call_is_answered_with_200(site: Site) -> None:
    response = await site.post(request("tasks.create", params={"data": {**ECHO, "id": "a"}}))
    assert response.status == 200
    assert response.content_type == "application/json"
    answer = await response.json()
    assert answer["result"]["id"] == "a"
    assert answer["id"] == 1


async def test_an_error_of_a_call_is_answered_with_200(site: Site) -> None:
    response = await site.post(request("tasks.get", params={"id": "nope"}))
    assert response.status == 200
    assert (await response.json())["error"]["code"] == 404


async def test_a_notification_is_answered_with_204_and_no_body(site: Site) -> None:
    response = await site.post({"jsonrpc": "2.0", "method": "system.info"})
    assert response.status == 204
    assert await response.read() == b""


async def test_a_batch_of_notifications_is_answered_with_204(site: Site) -> None:
    response = await site.post([{"jsonrpc": "2.0", "method": "system.info"}] * 2)
    assert response.status == 204


async def test_items_of_a_batch_are_independent(site: Site) -> None:
    response = await site.post([request(id=1), request("nope", id=2), 5])
    answers = await response.json()
    assert [answer.get("id") for answer in answers] == [1, 2, None]
    assert "result" in answers[0]
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["error"]["code"] == -32600


async def test_a_batch_over_the_limit_is_refused(site: Site) -> None:
    answer = await (await site.post([request()] * 6)).json()
    assert answer["error"]["code"] == 413
    assert answer["id"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"system.info"}', -32700),
        (b'{"a":NaN}', -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b'"x"', -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"system.info"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"system.info"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"system.info","params":[1]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tasks.get","params":{"id":1}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 5000 + b"]" * 5000 + b"}", 413),
        (b"[" * 5000, 413),
    ],
)
async def test_a_malformed_body_is_answered_with_its_error(
    site: Site, body: bytes, code: int
) -> None:
    response = await site.post(body)
    assert response.status == 200
    answer = await response.json()
    assert answer["jsonrpc"] == "2.0"
    assert answer["error"]["code"] == code


@given(st.lists(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), max_size=20))
@hypothesis_settings(max_examples=20)
def test_any_bytes_get_a_well_formed_answer(bodies: list[bytes]) -> None:
    async def check() -> None:
        async with open_site(load_settings(environ={})) as site:
            for body in bodies:
                response = await site.post(body)
                assert response.status in (200, 204)
                if response.status == 200:
                    assert (await response.json())["jsonrpc"] == "2.0"
            assert "result" in await site.call("system.info")

    asyncio.run(check())


async def test_a_body_over_the_limit_is_413_and_the_connection_stays_usable(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for body in (b'"' + b"x" * 200_000 + b'"', json.dumps(request()).encode()):
        writer.write(
            b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
    await writer.drain()
    first, second = await read_response(reader), await read_response(reader)
    writer.close()
    assert first["error"]["code"] == 413
    assert second["result"]["version"]


async def test_a_body_that_grows_when_unpacked_is_limited(site: Site) -> None:
    packed = gzip.compress(b'"' + b"x" * 5_000_000 + b'"')
    assert len(packed) < 10_000
    response = await site.post(packed, headers={"Content-Encoding": "gzip"})
    assert (await response.json())["error"]["code"] == 413


async def test_a_body_that_cannot_be_unpacked_is_refused(site: Site) -> None:
    response = await site.post(b"no gzip at all", headers={"Content-Encoding": "gzip"})
    assert response.status == 400
    assert "result" in await site.call("system.info")


async def test_a_body_in_pieces_is_taken(site: Site) -> None:
    async def pieces() -> Any:
        for byte in json.dumps(request()).encode():
            yield bytes([byte])

    response = await site.session.post(
        f"{site.url}/rpc", data=pieces(), headers={"Content-Type": "application/json"}
    )
    assert "result" in await response.json()


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"],
)
async def test_a_body_is_json_whatever_its_content_type_says(site: Site, content_type: str) -> None:
    body = json.dumps(request()).encode()
    response = await site.post(body, headers={"Content-Type": content_type})
    assert "result" in await response.json()


async def test_what_a_page_of_another_site_sends_is_refused(site: Site) -> None:
    body = json.dumps(request()).encode()
    headers = {"Content-Type": "text/plain", "Origin": "http://evil.example"}
    response = await site.post(body, headers=headers)
    assert response.status == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_http_methods_are_405(site: Site, method: str) -> None:
    response = await site.session.request(method, f"{site.url}/rpc")
    assert response.status == 405
    assert "POST" in response.headers["Allow"]


async def test_a_crash_of_a_method_is_an_incident_without_its_text(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await site.call("test.crash")
    assert answer["error"]["code"] == -32603
    assert "secret" not in json.dumps(answer)
    assert answer["error"]["data"]["incident"] in caplog.text


@pytest.mark.parametrize("path", ["/", "/rpc", "/openrpc.json", "/metrics"])
async def test_a_foreign_host_is_403_everywhere_but_for_health(site: Site, path: str) -> None:
    method = "POST" if path == "/rpc" else "GET"
    response = await site.session.request(
        method, f"{site.url}{path}", headers={"Host": "evil.example"}
    )
    assert response.status == 403
    assert "evil.example" in await response.text()


async def test_a_foreign_origin_is_403(site: Site) -> None:
    response = await site.post(request(), headers={"Origin": "https://evil.example"})
    assert response.status == 403
    assert (await site.post(request(), headers={"Origin": site.url})).status == 200


async def test_health_is_told_to_any_host(site: Site) -> None:
    for path in ("/healthz", "/readyz"):
        response = await site.session.get(f"{site.url}{path}", headers={"Host": "10.1.2.3"})
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_openrpc_is_what_discover_says(site: Site) -> None:
    response = await site.session.get(f"{site.url}/openrpc.json")
    document = await response.json()
    assert document["openrpc"] == "1.3.2"
    assert "tasks.create" in {method["name"] for method in document["methods"]}
    assert document == (await site.call("rpc.discover"))["result"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_document_names_the_address_that_it_was_asked_at(site: Site, host: str) -> None:
    headers = {"Host": f"{host}:{site.port}"}
    response = await site.session.get(f"{site.url}/openrpc.json", headers=headers)
    server = {"name": "kaiju_tasks", "url": f"http://{host}:{site.port}/rpc"}
    assert (await response.json())["servers"] == [server]
    answer = await site.post(request("rpc.discover"), headers=headers)
    assert (await answer.json())["result"]["servers"] == [server]
    async with site.socket(headers=headers) as socket:
        await socket.send_json(request("rpc.discover"))
        assert (await socket.receive_json())["result"]["servers"] == [server]


async def test_metrics_count_tasks_by_status_and_stream(site: Site) -> None:
    await site.call("tasks.create", data=ECHO)
    response = await site.session.get(f"{site.url}/metrics")
    assert 'kaiju_tasks{app_name="default",status="QUEUED"} 1.0' in await response.text()


async def test_the_page_says_what_this_is(site: Site) -> None:
    response = await site.session.get(site.url)
    text = await response.text()
    assert response.status == 200
    assert "openrpc.json" in text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_leaves_no_traceback_and_harms_nobody(site: Site, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(raw)
    writer.write_eof()
    await reader.read()
    writer.close()
    assert "result" in await site.call("system.info")


async def test_a_client_that_hangs_up_in_its_body_harms_nobody(site: Site) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()
    assert "result" in await site.call("system.info")


async def read_response(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    answer: dict[str, Any] = json.loads(await reader.readexactly(length))
    return answer
