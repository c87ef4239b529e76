"""The root keys of templates: data of the task and of its executor, and results of stages."""

ANY_ROOT = "*"
"""In `refs`: any root key, because a path begins with a template."""

OWN_ROOTS = frozenset({"id", "job_id", "kws", "scheduled_at", "executor"})
"""Any other root key is the result of a stage: its number, or the `name` of its command."""
