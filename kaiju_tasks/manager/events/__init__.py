"""Committed changes, made known: to subscribers, to those waiting for a task, to other managers."""
