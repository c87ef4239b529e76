"""Two versions of an executor that declares a schedule, for `test_declared_schedules.py`."""

from kaiju_tasks import Executor

old, new = Executor("system", version="1.9"), Executor("system", version="1.10")


@old.command("report")
@new.command("report")
async def report(version: str) -> str:
    return version


for executor, minute in ((old, 1), (new, 2)):
    executor.schedule(
        "nightly",
        cron=f"{minute} 3 * * *",
        commands=[{"method": "report", "params": {"version": executor.version}}],
    )
