"""`GET /openrpc.json`: compressed, and sent again only if it has changed."""

import gzip

import msgspec
import pytest

from kaiju_tasks.rights import Kind
from tests.server.conftest import Site
from tests.server.test_tokens import bearer, token_of

PATH = "/openrpc.json"
PACKED_MAX_BYTES = 40_000


async def test_the_document_is_compressed_for_clients_that_accept_gzip(site: Site) -> None:
    plain = await site.session.get(site.url + PATH, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    packed = await site.session.get(
        site.url + PATH, headers={"Accept-Encoding": "gzip"}, auto_decompress=False
    )
    body = await packed.read()
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == await plain.read()
    assert len(body) < PACKED_MAX_BYTES
    assert packed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", [PATH, "/"])
@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("br, GZIP;q=0.5", True),
        ("gzip; q=1.0", True),
        ("gzip;q=0, br", False),
        ("gzip; q=0.000", False),
        ("xgzip", False),
        ("", False),
    ],
)
async def test_what_a_client_refuses_is_not_sent(
    site: Site, path: str, accepted: str, packed: bool
) -> None:
    headers = {"Accept-Encoding": accepted, "Accept": "text/html"}
    answer = await site.session.get(site.url + path, headers=headers, auto_decompress=False)
    assert answer.status == 200
    assert ("Content-Encoding" in answer.headers) is packed


async def test_a_browser_that_has_the_document_gets_an_empty_answer(site: Site) -> None:
    first = await site.session.get(site.url + PATH)
    assert first.headers["Cache-Control"] == "private, no-cache"
    for tag in (first.headers["ETag"], f'"other", {first.headers["ETag"]}', "*"):
        again = await site.session.get(site.url + PATH, headers={"If-None-Match": tag})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    other = await site.session.get(site.url + PATH, headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_the_document_of_other_rights_is_another_one(site: Site) -> None:
    root = bearer(await token_of(site.manager, "root", Kind.ADMIN))
    eve = bearer(await token_of(site.manager, "eve", Kind.VIEWER))
    all_, some = [await site.session.get(site.url + PATH, headers=who) for who in (root, eve)]
    assert all_.headers["ETag"] != some.headers["ETag"]
    names = {one["name"] for one in msgspec.json.decode(await some.read())["methods"]}
    assert "tasks.list" in names
    assert "tokens.create" not in names
    headers = {**eve, "If-None-Match": all_.headers["ETag"]}
    assert (await site.session.get(site.url + PATH, headers=headers)).status == 200
    assert (await site.session.get(site.url + PATH)).status == 401
