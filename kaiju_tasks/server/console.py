"""Serves the console: one page for all its screens, and the assets that it loads.

The assets are built from `console/` and committed, so that nobody needs Node to run a manager.
"""

import mimetypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from kaiju_tasks.server.compressed import Compressed

__all__ = ["FOLDER", "SCREENS", "asset", "page"]

FOLDER = Path(__file__).parent / "assets"
PAGE = "index.html"
SCREENS = frozenset(
    {
        "tasks",
        "task",
        "edit",
        "create",
        "runs",
        "timeline",
        "waiting",
        "schedules",
        "streams",
        "executors",
        "commands",
        "pauses",
        "bulk",
        "notifications",
        "audit",
        "about",
    }
)
"""The paths of the page, beside that of the manager itself. Each is one segment, so that the links
of the page are relative to the manager's base path, whatever a proxy makes of it."""

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FRESH = {"Cache-Control": "no-store"}
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
"""For assets: their names contain the hash of their content."""


class _File(NamedTuple):
    body: Compressed
    content_type: str


async def page(request: web.Request) -> web.StreamResponse:
    """Answer with the page.

    :raises HTTPNotFound: the page has no such screen
    """
    if request.match_info.get("screen", "tasks") not in SCREENS:
        raise web.HTTPNotFound(text="404: not found\n")
    return _answer(request, _files()[PAGE], FRESH)


async def asset(request: web.Request) -> web.StreamResponse:
    """Answer with an asset.

    :raises HTTPNotFound: there is none of this name
    """
    name = request.match_info["name"]
    found = None if name == PAGE else _files().get(name)
    if found is None:
        raise web.HTTPNotFound(text="404: not found\n")
    return _answer(request, found, IMMUTABLE)


@cache
def _files() -> dict[str, _File]:
    """The files by name; they are a part of the program."""
    return {path.name: _read(path) for path in FOLDER.iterdir()}


def _read(path: Path) -> _File:
    content_type = mimetypes.types_map.get(path.suffix, "application/octet-stream")
    return _File(Compressed.of(path.read_bytes()), content_type)


def _answer(request: web.Request, file: _File, cached: dict[str, str]) -> web.Response:
    headers = {**HEADERS, **cached}
    body = file.body.chosen(request, headers)
    return web.Response(body=body, headers=headers, content_type=file.content_type, charset="utf-8")
