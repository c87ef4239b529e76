"""Serves the OpenRPC document of the methods that a caller may call, compressed and cached.

The console reads it when it is opened, so that a browser that has it already gets an empty answer.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from aiohttp import hdrs, web

from kaiju_tasks.api import Caller
from kaiju_tasks.rpc import Registry, document_for, servers
from kaiju_tasks.server.compressed import Compressed

__all__ = ["Contract"]

KEPT = 8
"""The most documents that are kept: one for each set of rights and each address of the manager."""
HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""A browser may keep the document, but has to ask each time whether it is still valid."""


class _File(NamedTuple):
    body: Compressed
    tag: str


class Contract:
    """The OpenRPC document, reduced to what each caller may call.

    :param document: the whole document
    :param title: name of the service
    """

    def __init__(self, registry: Registry, document: dict[str, Any], title: str) -> None:
        self._registry = registry
        self._document = document
        self._title = title
        self._file = lru_cache(maxsize=KEPT)(self._encoded)

    def answer(self, request: web.Request, caller: Caller, url: str) -> web.Response:
        """Answer with the document, or with 304 if the client has it already.

        :param url: the URL at which the caller calls the methods
        """
        allowed = document_for(self._registry, self._document, caller)["methods"]
        file = self._file(tuple(method["name"] for method in allowed), url)
        headers = {**HEADERS, hdrs.ETAG: f'W/"{file.tag}"'}
        if any(one.value in (file.tag, "*") for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        body = file.body.chosen(request, headers)
        return web.Response(body=body, headers=headers, content_type="application/json")

    def _encoded(self, names: tuple[str, ...], url: str) -> _File:
        chosen = set(names)
        methods = [one for one in self._document["methods"] if one["name"] in chosen]
        document = {**self._document, "methods": methods, "servers": servers(self._title, url)}
        plain = msgspec.json.encode(document)
        tag = blake2b(plain, digest_size=12).hexdigest()
        return _File(Compressed.of(plain), tag)
