"""KAIJU_TOKEN and KAIJU_TOKEN_FILE, and executors that read the file at each connection."""

from functools import partial
from pathlib import Path

import pytest

from kaiju_tasks.address import environment_token
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.transport import ConnectionClosed, Refused
from kaiju_tasks.executor.websocket import WebSocketTransport
from kaiju_tasks.manager.auth import database_issuer
from kaiju_tasks.rights import Kind
from tests.server.conftest import Site
from tests.server.test_tokens import token_of


def test_the_variable_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  from-file\n")
    assert environment_token({}) is None
    assert environment_token({"KAIJU_TOKEN": " ", "KAIJU_TOKEN_FILE": ""}) is None
    assert environment_token({"KAIJU_TOKEN_FILE": str(file)}) == "from-file"
    both = {"KAIJU_TOKEN": " a ", "KAIJU_TOKEN_FILE": str(file)}
    assert environment_token(both) == "a"


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe", "é".encode()])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidParams, match="KAIJU_TOKEN_FILE") as refused:
        environment_token({"KAIJU_TOKEN_FILE": str(file)})
    assert refused.value.field == "KAIJU_TOKEN_FILE"
    assert "words" not in str(refused.value)


async def test_an_executor_uses_a_new_token_from_the_next_connection_on(
    site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    first = await token_of(site.manager, "ex", Kind.EXECUTOR)
    file.write_text(first)
    read = partial(environment_token, {"KAIJU_TOKEN_FILE": str(file)})
    transport = WebSocketTransport(read)
    connection = await transport.connect(site.url, 30.0)
    await database_issuer(site.manager.store).revoke(first[5:17])
    site.manager.auth.changed()
    with pytest.raises(ConnectionClosed, match="the token is no longer valid"):
        await connection.receive()
    with pytest.raises(Refused, match="requires a valid token"):
        await transport.connect(site.url, 30.0)
    file.unlink()
    with pytest.raises(ConnectionClosed, match="there is no token"):
        await transport.connect(site.url, 30.0)
    file.write_text(await token_of(site.manager, "ex", Kind.EXECUTOR))
    connection = await transport.connect(site.url, 30.0)
    await connection.close()
    await transport.close()
