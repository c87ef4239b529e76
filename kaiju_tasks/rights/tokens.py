"""The format of tokens: `kt_<kind>_<id>_<secret><checksum>`.

The prefix lets secret scanners find a leaked token. The checksum refuses other text without a look
into the database. Only the hash of a token is stored: the secret has 256 random bits, so that a
fast hash cannot be reversed by guessing.
"""

import hashlib
import hmac
import re
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable
from zlib import crc32

from msgspec import Struct

from kaiju_tasks.rights.kinds import Kind

__all__ = [
    "TokenParts",
    "hash_token",
    "hide_tokens",
    "new_token",
    "read_token",
    "same_hash",
    "token_id_in",
]

ID_LENGTH = 12
SECRET_BYTES = 32

_KINDS = {kind.letter: kind for kind in Kind}
_LETTERS = "".join(_KINDS)
_TOKEN = re.compile(
    rf"(kt_([{_LETTERS}])_([a-z2-7]{{12}})_[A-Za-z0-9_-]{{43}})([A-Za-z0-9_-]{{6}})"
)
_SECRETS = re.compile(
    rf"(kt_[{_LETTERS}]_[a-z2-7]{{1,12}})[A-Za-z0-9_-]*|\b(bearer\s+)(?!kt_)[^\s'\"]+",
    re.IGNORECASE,
)
_NAME = re.compile(rf"kt_[{_LETTERS}]_([a-z2-7]{{{ID_LENGTH}}})(?![a-z2-7])")
_NO_HASH = bytes(32)


class TokenParts(Struct, frozen=True):
    """A token that has the form of one. Only its hash says whether it is valid.

    :param id: names the token in lists and logs
    :param hash: SHA-256 of the whole token
    """

    kind: Kind
    id: str
    hash: bytes


def new_token(kind: Kind, random_bytes: Callable[[int], bytes]) -> str:
    """Make a token.

    :param random_bytes: a source of secrets, such as `os.urandom`
    """
    id_ = b32encode(random_bytes(8)).decode().lower()[:ID_LENGTH]
    secret = _base64(random_bytes(SECRET_BYTES))
    text = f"kt_{kind.letter}_{id_}_{secret}"
    return text + _checksum(text)


def read_token(text: str) -> TokenParts | None:
    """Split a token into its parts; None for other text."""
    found = _TOKEN.fullmatch(text)
    if found is None or not hmac.compare_digest(_checksum(found[1]), found[4]):
        return None
    return TokenParts(_KINDS[found[2]], found[3], hash_token(text))


def token_id_in(text: str) -> str:
    """The id in `kt_<kind>_<id>`, as logs name a token, or in the token itself; other text as it
    is."""
    found = _NAME.match(text)
    return text if found is None else found[1]


def hash_token(token: str) -> bytes:
    """The hash of a token, as it is stored."""
    return hashlib.sha256(token.encode()).digest()


def same_hash(given: bytes, stored: bytes | None) -> bool:
    """Compare two hashes in constant time.

    :param stored: None if there is no such token; the comparison takes as long
    """
    same = hmac.compare_digest(given, _NO_HASH if stored is None else stored)
    return same and stored is not None


def hide_tokens(text: str) -> str:
    """Cut each token in a text, complete or not, to `kt_<kind>_<id>`, and hide what follows
    `Bearer`."""
    return _SECRETS.sub(lambda found: found[1] or f"{found[2]}***", text)


def _checksum(text: str) -> str:
    return _base64(crc32(text.encode()).to_bytes(4))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
