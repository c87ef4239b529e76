"""Bodies that are compressed once and sent to many clients."""

import gzip
from typing import NamedTuple, Self

from aiohttp import hdrs, web

__all__ = ["Compressed"]


class Compressed(NamedTuple):
    """A body, as it is and compressed."""

    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, plain: bytes) -> Self:
        """Compress a body."""
        return cls(plain, gzip.compress(plain, mtime=0))

    def chosen(self, request: web.Request, headers: dict[str, str]) -> bytes:
        """Return the body that the client accepts, and add its encoding to the headers."""
        if not _accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            return self.plain
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        return self.packed


def _accepts_gzip(accepted: str) -> bool:
    """Whether a header Accept-Encoding names gzip, with a weight that is not 0."""
    for coding in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in coding.split(";"))
        if name == "gzip":
            weights = [part[2:] for part in parameters if part.startswith("q=")]
            return all(weight.strip("0.") for weight in weights)
    return False
