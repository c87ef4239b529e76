"""The methods that only read: a call of one can be repeated, or abandoned, without a trace."""

__all__ = ["READS"]

READS = frozenset(
    {
        "audit.list",
        "bulk.get",
        "bulk.list",
        "cron.preview",
        "executors.commands",
        "executors.get",
        "executors.list",
        "manager.list_active_executors",
        "marks.list",
        "notifications.get",
        "notifications.list",
        "pauses.list",
        "principals.list",
        "rpc.discover",
        "runs.get",
        "runs.list",
        "schedules.upcoming",
        "streams.list",
        "system.info",
        "system.whoami",
        "tasks.count",
        "tasks.exists",
        "tasks.explain",
        "tasks.family",
        "tasks.get",
        "tasks.inbox",
        "tasks.list",
        "tasks.m_exists",
        "tasks.m_explain",
        "tasks.m_get",
        "tasks.runs",
        "tasks.stages",
        "tasks.validate",
        "tasks.versions",
        "tasks.wait",
        "tokens.list",
    }
)
