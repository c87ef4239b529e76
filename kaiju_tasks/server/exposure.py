"""Decides whether a manager may listen on its address, and warns if everybody there may do
everything."""

import asyncio
import logging

from kaiju_tasks.address import is_loopback
from kaiju_tasks.errors import SettingsError
from kaiju_tasks.manager import Manager

__all__ = ["check_host", "warn_of_exposure"]

logger = logging.getLogger(__name__)

WARN_SECONDS = 3600.0


def check_host(manager: Manager) -> None:
    """Log a warning if others on the network can read the tokens of callers.

    :raises SettingsError: other machines reach the manager, there are no tokens, and the settings
        do not allow it
    """
    settings = manager.settings
    if is_loopback(settings.host):
        return
    if not manager.insecure_host:
        if settings.tls_cert == settings.trusted_proxies == "":
            logger.warning(
                "tokens come here over plain HTTP, which others on the network can read: set "
                "tls_cert and tls_key, or trusted_proxies if a proxy ends TLS"
            )
    elif not settings.allow_insecure_host:
        raise SettingsError(
            f"host {settings.host!r:.100} can be reached from other machines, and there are no "
            "tokens: anyone on them could run tasks. Create a token with `kaiju-tasks token create "
            "NAME --kind admin`, listen on 127.0.0.1, or use --allow-insecure-host.",
            field="host",
        )


async def warn_of_exposure(manager: Manager, seconds: float = WARN_SECONDS) -> None:
    """Log a warning at once and then each hour while other machines reach the manager without
    tokens. It returns when that has ended, because the first token is never deleted.

    :param seconds: the time between two warnings
    """
    while manager.insecure_host:
        logger.warning(
            "everybody who reaches %s may do everything, because there are no tokens and "
            "--allow-insecure-host is set",
            manager.settings.host,
        )
        await asyncio.sleep(seconds)
