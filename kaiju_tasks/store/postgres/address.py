"""Parses a PostgreSQL URL into a DSN and a schema."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.store.postgres.bounds import DEFAULT_BOUNDS, Bounds

_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
PLANNING = "plan_cache_mode"
CUSTOM_PLANS = "force_custom_plan"


class Address(Struct, frozen=True):
    """Where the database is.

    :param dsn: for asyncpg
    :param schema: None is the default schema of the database
    :param hosts: the DSN of each host, if there are several
    :param chosen: whether the URL says which of several hosts to use (`target_session_attrs`)
    """

    dsn: str
    schema: str | None
    hosts: tuple[str, ...] = ()
    chosen: bool = False

    def connect_options(
        self, name: str = "kaiju_tasks", bounds: Bounds = DEFAULT_BOUNDS, *, pooled: bool = False
    ) -> dict[str, Any]:
        """The arguments of `asyncpg.connect`. Every execution gets its own plan, because a generic
        plan that was made with stale statistics would be kept.

        :param name: the `application_name`
        :param pooled: whether a pooler is between: it gives each transaction another session, in
            which neither settings nor prepared statements are found again
        """
        options: dict[str, Any] = {"dsn": self.dsn, "timeout": bounds.connect_seconds}
        settings = {"application_name": name}
        if pooled:
            return {**options, "server_settings": settings, "statement_cache_size": 0}
        settings |= {PLANNING: CUSTOM_PLANS, **self._settings(bounds)}
        return {**options, "server_settings": settings}

    def _settings(self, bounds: Bounds) -> dict[str, str]:
        settings = {
            "jit": "off",
            # Parallel workers read an index far beyond the first rows in order, and take cores.
            "max_parallel_workers_per_gather": "0",
            "lock_timeout": f"{bounds.lock_seconds:g}s",
            "statement_timeout": f"{bounds.statement_seconds:g}s",
            "idle_in_transaction_session_timeout": f"{bounds.idle_seconds:g}s",
        }
        if self.schema is not None:
            settings["search_path"] = f'"{self.schema}"'
        return settings

    def local_settings(self, bounds: Bounds) -> str:
        """A statement with which a transaction gets the settings that its session lacks."""
        settings = self._settings(bounds).items()
        calls = [f"set_config('{name}', '{value}', true)" for name, value in settings]
        return f"SELECT {', '.join(calls)}"


def parse_address(url: str) -> Address:
    """:raises SettingsError: the name of the schema is not valid, or the URL is malformed"""
    try:
        parts = urlsplit(url)
        user, at, listed = parts.netloc.rpartition("@")
        hosts = [urlsplit(f"//{host}") for host in listed.split(",")]
        for host in hosts:
            host.port  # noqa: B018 - raises ValueError if it is not a number
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise SettingsError(f"The database URL is malformed: {error}.", field="db") from error
    schemas = [value for name, value in query if name == "schema"]
    if len(schemas) > 1 or (schemas and not _SCHEMA.fullmatch(schemas[0])):
        raise SettingsError(
            "The schema in the database URL must be one name of at most 63 letters, digits and "
            "underscores that does not begin with a digit.",
            field="db",
        )
    rest = urlencode([(name, value) for name, value in query if name != "schema"])
    parts = parts._replace(query=rest)
    several = [parts._replace(netloc=f"{user}{at}{host.netloc}") for host in hosts]
    return Address(
        parts.geturl(),
        schemas[0] if schemas else None,
        hosts=tuple(one.geturl() for one in several) if len(several) > 1 else (),
        chosen=any(name == "target_session_attrs" for name, _ in query),
    )
