"""The OpenRPC document of the public methods."""

from typing import Any

from kaiju_tasks.api.registry import DEFAULT_URL, TITLE, method_registry
from kaiju_tasks.rpc import Registry, openrpc_document
from kaiju_tasks.version import __version__

__all__ = ["api_document"]


def api_document(registry: Registry | None = None, url: str = DEFAULT_URL) -> dict[str, Any]:
    """Describe the public methods.

    :param registry: the methods; default: the methods of this version
    :param url: URL of the manager
    """
    return openrpc_document(registry or method_registry(), TITLE, __version__, url)
