"""The webhook of a task: checks, and the signature of a delivery.

Headers and signature are those of Standard Webhooks (https://www.standardwebhooks.com).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator
from urllib.parse import urlsplit

from kaiju_tasks.define.raised import raised
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.types import MASKED_SECRET, Webhook

DELIVER = "webhook.deliver"
BASE64_SECRET = "whsec_"
MAX_HOST = 253
"""The most characters of a DNS name, without the root; RFC 1035, section 2.3.4."""


def webhook_problems(webhook: Webhook | None, prefix: str) -> Iterator[InvalidParams]:
    if webhook is None:
        return
    try:
        parts = urlsplit(webhook.url)
        reachable = 0 < len(parts.hostname or "") <= MAX_HOST and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable:
        yield InvalidParams(
            f"`{prefix}.webhook.url` must be a URL such as https://host:port/path",
            field=f"{prefix}.webhook.url",
        )
    if webhook.secret == MASKED_SECRET:
        yield InvalidParams(
            f"`{prefix}.webhook.secret` must be a secret, not the mask {MASKED_SECRET}",
            field=f"{prefix}.webhook.secret",
        )
    elif webhook.secret is not None:
        yield from raised(secret_key, webhook.secret, f"{prefix}.webhook.secret")


def secret_key(secret: str, field: str = "secret") -> bytes:
    """Return the key of a secret.

    :param secret: `whsec_` and base64, or any text, used as UTF-8
    :raises InvalidParams: the text after `whsec_` is not base64
    """
    if not secret.startswith(BASE64_SECRET):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(BASE64_SECRET), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise InvalidParams(
            f"`{field}`: the text after {BASE64_SECRET} must be base64", field=field
        )
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `Webhook-Signature`.

    :param timestamp: UNIX seconds, as in `Webhook-Timestamp`
    """
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
