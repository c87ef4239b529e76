"""Provides the PostgreSQL store, which any number of managers can share."""

from kaiju_tasks.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
