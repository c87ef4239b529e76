"""Provides the SQLite store, for one manager: a file, or the memory of the process."""

from kaiju_tasks.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
