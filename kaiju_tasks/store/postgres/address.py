"""Parses a PostgreSQL URL into a DSN and a schema."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.store.postgres.bounds import DEFAULT_BOUNDS, Bounds

_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Address(Struct, frozen=True):
    """The DSN for asyncpg and the schema. None is the default schema of the database."""

    dsn: str
    schema: str | None

    def connect_options(
        self, name: str = "kaiju_tasks", bounds: Bounds = DEFAULT_BOUNDS
    ) -> dict[str, Any]:
        """The arguments of `asyncpg.connect`. Every execution gets its own plan, because a generic
        plan that was made with stale statistics would be kept.

        :param name: the `application_name`
        """
        settings = {
            "application_name": name,
            "plan_cache_mode": "force_custom_plan",
            "jit": "off",
            "lock_timeout": f"{bounds.lock_seconds:g}s",
            "statement_timeout": f"{bounds.statement_seconds:g}s",
            "idle_in_transaction_session_timeout": f"{bounds.idle_seconds:g}s",
        }
        if self.schema is not None:
            settings["search_path"] = f'"{self.schema}"'
        return {"dsn": self.dsn, "server_settings": settings, "timeout": bounds.connect_seconds}


def parse_address(url: str) -> Address:
    """:raises SettingsError: the name of the schema is not valid, or the URL is malformed"""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError if it is not a number
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
    return Address(parts._replace(query=rest).geturl(), schemas[0] if schemas else None)
