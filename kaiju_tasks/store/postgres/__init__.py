"""The store of a team: any number of managers share one PostgreSQL."""

from kaiju_tasks.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
