"""The root keys that templates read: what the task and its executor give, and results."""

ANY_ROOT = "*"
"""Stands for any of them, where a path begins with a template."""

OWN_ROOTS = frozenset({"id", "job_id", "kws", "scheduled_at", "executor"})
"""Every other root is a stage's result, by the stage's number or its command's `name`."""
