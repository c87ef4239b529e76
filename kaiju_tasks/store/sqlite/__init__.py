"""The embedded store: one file, nothing to install, one manager."""

from kaiju_tasks.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
