"""The parts of aiohttp that it does not document, and that the count of arriving bytes needs."""

import inspect

from aiohttp import WSMsgType, web, web_protocol

from kaiju_tasks.server.traffic import Traffic
from tests.server.conftest import Site
from tests.support.wait import wait_until

CHANGED = (
    "aiohttp has changed in a part that server/counted_socket.py needs: adapt it, or set a bound"
)


def test_aiohttp_has_the_parts_that_are_needed() -> None:
    protocol = {name for one in web_protocol.RequestHandler.__mro__ for name in dir(one)}
    assert {"_message_tail", "_payload_parser", "data_received"} <= protocol, CHANGED
    socket = web.WebSocketResponse()
    assert hasattr(socket, "_reader"), CHANGED
    assert callable(getattr(socket, "_cancel_heartbeat", None)), CHANGED
    start = inspect.signature(web.WebSocketResponse._post_start)
    assert list(start.parameters) == ["self", "request", "protocol", "writer"], CHANGED


async def test_the_bytes_of_half_a_frame_are_counted_and_forgotten_with_the_socket(
    traffic: list[Traffic], site: Site
) -> None:
    arrivals = traffic[0].arrivals
    async with site.socket() as socket:
        header = bytes([0x80 | WSMsgType.TEXT, 0x80 | 126]) + (4_000).to_bytes(2) + bytes(4)
        assert socket._conn is not None, CHANGED
        socket._conn.transport.write(header + b" " * 1_000)
        await wait_until(lambda: arrivals.bytes == 1_000, CHANGED)
        await socket.close()
    await wait_until(lambda: arrivals.bytes == 0, "the bytes of the closed socket are forgotten")
