"""Checks a whole run: the ledger of the commands against the history of the manager."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.chaos.ledger import Entry, Work

Json = dict[str, Any]
RECORDED = frozenset({"work", "thread", "flaky", "together"})
"""The methods that write to the ledger."""
SLACK_SECONDS = 0.25
"""A process that thaws needs a moment before it stops what it may no longer run."""


class Span(NamedTuple):
    """An execution, or the part of it during which its process was not frozen."""

    begin: float
    end: float


class Stops(NamedTuple):
    """What was done to the processes of executors.

    :param killed: when a process was killed, by pid
    :param frozen: when a process stood still, by pid
    """

    killed: Mapping[int, float]
    frozen: Mapping[int, list[Span]]


def ledger_problems(entries: Iterable[Entry]) -> Iterator[str]:
    """What is wrong with the ledger by itself: two executions under one token, old epochs."""
    started: Counter[tuple[Work, int, str]] = Counter()
    highest: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind != "start":
            continue
        token = entry.work, entry.epoch, entry.nonce
        started[token] += 1
        if started[token] == 2:
            yield f"two starts under one token: {entry}"
        before = highest.get(entry.job)
        if before is not None and before.epoch > entry.epoch:
            yield f"a start under an old lease: {entry} after {before}"
        else:
            highest[entry.job] = entry


def history_problems(entries: Iterable[Entry], history: Iterable[Json]) -> Iterator[str]:
    """Where the history of the manager differs from the ledger.

    :param history: the attempts of all runs, as `tasks.stages` returns them
    """
    ended = {(e.work, e.epoch, e.value) for e in entries if e.kind == "end"}
    last_start: dict[Work, int] = defaultdict(int)
    for entry in entries:
        if entry.kind == "start":
            last_start[entry.work] = max(last_start[entry.work], entry.epoch)
    accepted: dict[Work, int] = {}
    for record in history:
        if record["outcome"] != "FINISHED" or record["method"] not in RECORDED:
            continue
        work: Work = record["job_id"], record["stage"], record["cycle"]
        epoch, value = record["result"]
        if (work, epoch, value) not in ended:
            yield f"an accepted result that no command returned: {record}"
        if work in accepted:
            yield f"two accepted results of one stage: {record}"
        accepted[work] = epoch
    for work, epoch in accepted.items():
        if last_start[work] > epoch:
            yield f"{work} was accepted under epoch {epoch} and ran again under {last_start[work]}"


def limit_problems(entries: Iterable[Entry], limit: int, stops: Stops) -> Iterator[str]:
    """Where more executions of one concurrency key overlap than its limit allows.

    The time during which a process was frozen does not count: nothing runs then.
    """
    by_key: dict[str, list[tuple[float, int, Entry]]] = defaultdict(list)
    for span, entry in _spans(entries, stops):
        assert entry.key is not None
        if span.end - span.begin > SLACK_SECONDS:
            by_key[entry.key] += [
                (span.begin + SLACK_SECONDS, 1, entry),
                (span.end, -1, entry),
            ]
    for key, edges in by_key.items():
        running = 0
        for _, step, entry in sorted(edges, key=lambda edge: edge[:2]):
            running += step
            if running > limit:
                yield f"{running} executions with key {key!r}, the limit is {limit}: {entry}"


def _spans(entries: Iterable[Entry], stops: Stops) -> Iterator[tuple[Span, Entry]]:
    """The times in which commands with a concurrency key ran."""
    begun: dict[str, Entry] = {}
    for entry in entries:
        if entry.key is None:
            continue
        if entry.kind == "start":
            begun[entry.value] = entry
            continue
        start = begun.pop(entry.value)
        yield from _thawed(Span(start.at, entry.at), start, stops)
    for start in begun.values():  # its process was killed
        if start.pid in stops.killed:
            yield from _thawed(Span(start.at, stops.killed[start.pid]), start, stops)


def _thawed(span: Span, entry: Entry, stops: Stops) -> Iterator[tuple[Span, Entry]]:
    begin = span.begin
    for frozen in stops.frozen.get(entry.pid, ()):
        if begin < frozen.begin < span.end:
            yield Span(begin, frozen.begin), entry
            begin = frozen.end
    if begin < span.end:
        yield Span(begin, span.end), entry


def moves(entries: Iterable[Entry], killed: Mapping[int, float]) -> Iterator[float]:
    """How long it took until the stages that killed processes ran had begun elsewhere.

    :param killed: when each of the processes was killed, by pid
    :returns: seconds, for each stage that has begun elsewhere
    """
    running: dict[str, Entry] = {}
    begun: dict[Work, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.kind == "start":
            begun[entry.work].append(entry)
            if entry.pid in killed:
                running[entry.value] = entry
        else:
            running.pop(entry.value, None)
    for lost in running.values():
        later = [entry.at for entry in begun[lost.work] if entry.epoch > lost.epoch]
        if later:
            yield min(later) - killed[lost.pid]


def message_problems(sent: Mapping[str, str], runs: Iterable[Json]) -> Iterator[str]:
    """Messages that were consumed more than once, or by another task.

    :param sent: the id of the task by the id of the message
    :param runs: finished attempts of `_MESSAGE_` stages with their `task_id`
    """
    consumed: Counter[str] = Counter()
    for record in runs:
        id = record["result"]["message"]
        consumed[id] += 1
        if consumed[id] == 2:
            yield f"message {id} was consumed twice: {record}"
        if sent.get(id) != record["task_id"]:
            yield f"message {id} of task {sent.get(id)} was consumed by {record['task_id']}"
