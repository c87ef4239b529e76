"""Builds assignments: the commands up to the next hook, or the next method that the executor lacks,
and the earlier results they read."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from kaiju_tasks.errors import reason_of
from kaiju_tasks.lifecycle import Command, Definition, Row, Step, Unreadable
from kaiju_tasks.manager.executors.methods import Methods
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.templates import ANY_ROOT

_decode = Decoder(Raw).decode


class Leased(NamedTuple):
    """A task that an executor has acquired.

    :ivar methods: the methods that the executor has for its stream
    :ivar single: whether the executor is sent one command at a time
    """

    step: Step
    definition: Definition
    methods: Methods = None
    single: bool = False


class Segment(Struct, frozen=True):
    """The commands from a stage up to the next hook, the next method that the executor lacks, or
    the end of the task.

    :param commands: objects with the fields of `SegmentCommand`
    :param reads: earlier stages whose results the templates read, and the key they use
    """

    commands: list[Any]
    reads: tuple[tuple[int, str], ...] = ()


def segment(
    definition: Definition, stage: int, methods: Methods = None, *, single: bool = False
) -> Segment:
    """The segment that begins at a stage.

    :param methods: the methods that the executor has for the stream
    :param single: the first command only
    """
    if single:
        commands = definition.commands[stage : stage + 1]
        return Segment(commands, tuple(_reads(definition, stage, commands)) if stage else ())
    hooks, end = definition.hooks.stages, len(definition.commands)
    if hooks:
        end = next((hook for hook in hooks if hook >= stage), end)
    if methods is not None and stage + 1 < end:
        later = range(stage + 1, end)
        end = next((i for i in later if definition.commands[i].method not in methods), end)
    if stage == 0 and end == len(definition.commands):
        return Segment(definition.commands)
    commands = definition.commands[stage:end]
    return Segment(commands, tuple(_reads(definition, stage, commands)) if stage else ())


def _reads(definition: Definition, stage: int, commands: list[Command]) -> list[tuple[int, str]]:
    names = definition.stage_of_name
    refs = frozenset[str]().union(*(command.refs for command in commands))
    if ANY_ROOT in refs:
        refs |= set(names) | {str(index) for index in range(stage)}
    reads = [(names[ref], ref) for ref in refs if ref in names]
    reads += [(int(ref), ref) for ref in refs if _is_index(ref)]
    return sorted((index, key) for index, key in reads if index < stage)


@lru_cache(maxsize=256)
def _is_index(ref: str) -> bool:
    return len(ref) <= 3 and ref.isdecimal() and str(int(ref)) == ref


async def assign(
    tx: Transaction, tasks: Sequence[Leased]
) -> tuple[list[Assignment], dict[str, Unreadable]]:
    """Build the assignments of newly acquired tasks, with the results that they read.

    :returns: the assignments, and why the others cannot be built, by task id
    """
    wanted = [
        (step.row.job_id or "", step.row.cycle, stage)
        for step, definition, methods, single in tasks
        if step.row.stage
        for stage, _ in segment(definition, step.row.stage, methods, single=single).reads
    ]
    results = await tx.results(wanted) if wanted else {}
    damaged = {key: problem for key, raw in results.items() if (problem := _problem(raw))}
    assignments, unreadable = [], {}
    for step, definition, methods, single in tasks:
        row = step.row
        part = segment(definition, row.stage, methods, single=single)
        if damaged and (error := _unreadable(row, part, damaged)) is not None:
            unreadable[row.id] = error
        else:
            assignments.append(_assignment(row, definition, part, results, tx.now))
    return assignments, unreadable


def _problem(raw: Raw) -> str | None:
    """Why a result is not JSON. An assignment with it could not be read."""
    try:
        _decode(raw)
    except DecodeError as error:
        return reason_of(error)
    return None


def _unreadable(row: Row, part: Segment, damaged: dict[tuple[str, int], str]) -> Unreadable | None:
    for stage, _ in part.reads:
        if (problem := damaged.get((row.job_id or "", stage))) is not None:
            text = f"the stored result of stage {stage} cannot be read: {problem}"
            return Unreadable(text, status=row.status)
    return None


def _assignment(
    row: Row,
    definition: Definition,
    part: Segment,
    results: dict[tuple[str, int], Raw],
    now: float,
) -> Assignment:
    assert row.job_id is not None
    assert row.nonce is not None
    assert row.exec_deadline is not None
    job_id = row.job_id
    return Assignment(
        id=row.id,
        job_id=job_id,
        epoch=row.epoch,
        nonce=row.nonce,
        app_name=row.app_name,
        stage=row.stage,
        stages=row.stages,
        commands=part.commands,
        exec_seconds=max(0.0, row.exec_deadline - now),
        kws=definition.kws,
        results={
            key: results[job_id, stage] for stage, key in part.reads if (job_id, stage) in results
        },
        scheduled_at=row.scheduled_at,
        attempt=row.attempt + 1,
        retries=row.retries,
        cycle=row.cycle,
        exclusive=definition.concurrency is not None,
    )
