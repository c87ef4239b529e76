"""What a page sends and receives."""

import json

from playwright.async_api import Page, Request, WebSocket

from tests.support.wait import wait_until


class Frames:
    """What a page sends and receives over its WebSockets from now on."""

    def __init__(self, page: Page) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []
        page.on("websocket", self._follow)

    def _follow(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: self.sent.append(str(frame)))
        socket.on("framereceived", lambda frame: self.received.append(str(frame)))

    def count(self, method: str) -> int:
        return sum(f'"{method}"' in frame for frame in self.sent)

    async def arrives(self, text: str) -> None:
        await wait_until(
            lambda: any(text in frame for frame in self.received), f"{text!r} has arrived"
        )


def calls(page: Page, text: str) -> list[str]:
    """The methods that the page calls from now on with a text in the parameters."""
    called: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/rpc") and text in (request.post_data or ""):
            called.append(json.loads(request.post_data or "")["method"])

    page.on("request", note)
    return called
