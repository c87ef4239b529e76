"""Schedules: when a cron expression or an interval fires next. Pure: no clock, no I/O."""

from kaiju_tasks.cron.fires import Schedule, fires_between, preview
from kaiju_tasks.cron.interval import IntervalSchedule, every_schedule, same_phase
from kaiju_tasks.cron.jitter import jitter_offset
from kaiju_tasks.cron.moments import parse_time
from kaiju_tasks.cron.schedule import CronSchedule, cron_schedule
from kaiju_tasks.cron.zones import check_timezone

__all__ = [
    "CronSchedule",
    "IntervalSchedule",
    "Schedule",
    "check_timezone",
    "cron_schedule",
    "every_schedule",
    "fires_between",
    "jitter_offset",
    "parse_time",
    "preview",
    "same_phase",
]
