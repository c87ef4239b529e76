"""Concurrency keys while managers and executors die: never more than the limit at once."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from kaiju_tasks.store.open import make_store
from tests.system.churn import Churn, all_ended, fill
from tests.system.fleet import Fleet, Json, Trace, command, task

TASKS = 300
LIMITS = {"k0": 1, "k1": 1, "k2": 2, "k3": 2, "k4": 3}
SPAN_SECONDS = 0.05
CHURN_SECONDS = 10.0
DRAIN_SECONDS = 90.0


async def test_no_key_has_more_runs_than_its_limit_while_everybody_dies(
    team: Fleet, postgres_dsn: str
) -> None:
    churn = await Churn.begin(team, managers=3, executors=4, seed=7)
    spans = team.file("spans")
    filling = asyncio.create_task(
        fill(churn.clients, [keyed(n, spans) for n in range(TASKS)], CHURN_SECONDS / 2)
    )
    await churn.go_on(CHURN_SECONDS)
    await filling
    await all_ended(churn.clients[0], TASKS, DRAIN_SECONDS)
    assert churn.killed_at
    most = most_at_once(spans.lines, churn.killed_at)
    assert most.keys() == LIMITS.keys()
    for key, limit in LIMITS.items():
        assert 1 <= most[key] <= limit, f"{key}: {most}"
    store = make_store(postgres_dsn)
    await store.open()
    assert [await store.slot_used(key) for key in LIMITS] == [0] * len(LIMITS)
    await store.close()


def keyed(n: int, spans: Trace) -> Json:
    """A task of one of the keys."""
    key = f"k{n % len(LIMITS)}"
    work = command("span", key=key, file=spans, seconds=SPAN_SECONDS)
    return task(f"{n:03}", work, work, concurrency={"key": key, "limit": LIMITS[key]})


def most_at_once(lines: Iterable[str], killed_at: Mapping[int, float]) -> dict[str, int]:
    """How many ran at once at most, by key. What a killed process ran ended when it was killed."""
    changes: list[tuple[float, int, str]] = []
    running: Counter[tuple[str, int]] = Counter()
    for line in lines:
        what, key, process, moment = line.split()
        change = 1 if what == "begin" else -1
        running[key, int(process)] += change
        changes.append((float(moment), change, key))
    for key, pid in running.elements():
        changes.append((killed_at[pid], -1, key))
    now: Counter[str] = Counter()
    most: dict[str, int] = {}
    for _, change, key in sorted(changes):
        now[key] += change
        most[key] = max(most.get(key, 0), now[key])
    return most
