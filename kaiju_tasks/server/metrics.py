"""Renders Prometheus metrics from the rows in the database and the open connections."""

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.version import __version__

__all__ = ["Metrics"]

FRESH_SECONDS = 5.0
SOON_SECONDS = 30 * 86_400.0
SHOWN_TOKENS = 100
"""The tokens that expire first."""


class Metrics:
    """Renders the metrics of a manager. The task counts are at most five seconds old, those of
    100,000 tasks and more 15."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._counts: dict[tuple[str, str], int] = {}
        self._expiring: list[tuple[str, str, float]] = []
        self._counted_at = float("-inf")

    async def render(self, sight: Sight, *, tokens: bool) -> bytes:
        """Render the metrics in the text format.

        :param sight: the streams that are shown
        :param tokens: whether tokens are shown that expire soon
        :raises StoreError: the database cannot be queried
        """
        now = asyncio.get_running_loop().time()
        if now - self._counted_at >= FRESH_SECONDS:
            self._counts = await self._manager.task_counts.read(ALL_SIGHT)
            self._expiring = await self._soon()
            self._counted_at = now
        registry = CollectorRegistry()
        registry.register(_Collector(self, sight, tokens))
        return generate_latest(registry)

    async def _soon(self) -> list[tuple[str, str, float]]:
        """The id, the principal and the time of the tokens that expire first."""
        now = await self._manager.store.now()
        found = [
            (one.id, one.principal_id, one.expires_at)
            for one, _ in await self._manager.store.tokens()
            if one.revoked_at is None and now < one.expires_at < now + SOON_SECONDS
        ]
        return sorted(found, key=lambda one: one[2])[:SHOWN_TOKENS]

    def families(self, sight: Sight, tokens: bool) -> Iterator[Metric]:
        """The metrics of the streams in sight."""
        yield self._info()
        yield self._tasks(sight)
        yield from self._executors(sight)
        if tokens:
            yield self._tokens()

    def _tokens(self) -> Metric:
        labels = ["token", "principal"]
        text = "Seconds until tokens expire that have less than 30 days left."
        seconds = GaugeMetricFamily("kaiju_token_expires_seconds", text, labels=labels)
        now = self._manager.store.clock()
        for token_id, principal, expires_at in self._expiring:
            seconds.add_metric([token_id, principal], max(0.0, expires_at - now))
        return seconds

    def _info(self) -> Metric:
        info = GaugeMetricFamily("kaiju_info", "This manager.", labels=["version", "manager_id"])
        info.add_metric([__version__, self._manager.id], 1)
        return info

    def _tasks(self, sight: Sight) -> Metric:
        labels = ["app_name", "status"]
        tasks = GaugeMetricFamily("kaiju_tasks", "Tasks, by stream and status.", labels=labels)
        for (app_name, status), count in sorted(self._counts.items()):
            if sight.sees_stream(app_name):
                tasks.add_metric([app_name, status], count)
        return tasks

    def _executors(self, sight: Sight) -> Iterator[Metric]:
        sessions = list(self._manager.sessions)
        executors = GaugeMetricFamily(
            "kaiju_executors_connected",
            "Executors connected to this manager, by stream.",
            labels=["app_name"],
        )
        free = GaugeMetricFamily(
            "kaiju_free_capacity",
            "Free capacity of the executors connected to this manager, by stream.",
            labels=["app_name"],
        )
        for app_name in filter(sight.sees_stream, sorted(self._manager.sessions.app_names())):
            serving = [session for session in sessions if app_name in session.app_names]
            executors.add_metric([app_name], len(serving))
            free.add_metric([app_name], sum(max(0, session.free) for session in serving))
        yield executors
        yield free


class _Collector(Collector):
    def __init__(self, metrics: Metrics, sight: Sight, tokens: bool) -> None:
        self._metrics = metrics
        self._sight = sight
        self._tokens = tokens

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families(self._sight, self._tokens)

    def describe(self) -> Iterator[Metric]:
        return iter(())
