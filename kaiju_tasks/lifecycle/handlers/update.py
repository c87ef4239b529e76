"""Handler for updates. An open run uses the new definition from its next transition on."""

from kaiju_tasks.cron import same_phase
from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.events import Update
from kaiju_tasks.lifecycle.lineage import WAIT_SECONDS, chain_of
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.run import open_run, proceed, rest
from kaiju_tasks.lifecycle.schedule import let_pass, pass_fire, record_missed
from kaiju_tasks.lifecycle.statuses import IDLE, QUEUED, SUSPENDED, WAITING
from kaiju_tasks.lifecycle.versions import plain
from kaiju_tasks.templates import ANY_ROOT
from kaiju_tasks.types import Misfire

FIXED_DURING_A_RUN = frozenset({"commands", "kws", "app_name", "unique", "concurrency"})
EDITABLE = frozenset({"commands", "kws"})
"""What can change while a run is open, from its next stage on, if no executor has the task and none
can get it: it is held, or waits at a hook."""
SCHEDULE_FIELDS = frozenset({"cron", "timezone", "every", "jitter"})


def update(move: Move, event: Update) -> None:
    if event.rev == move.row.rev:  # a repeat after a commit whose outcome was unknown
        move.nothing()
        return
    edited = _check_fixed(move, event)
    reschedules = bool(event.changed & SCHEDULE_FIELDS)
    if reschedules or event.next_run is not None or not event.enabled:
        _write_off_fires(move)
    old = move.definition
    _take_definition(move, event)
    if edited:
        move.edit_run(edited)
    if reschedules and not old.scheduled and move.definition.scheduled:
        _leave_first_run(move)
    if event.next_run is not None:
        _first_run(move, event, event.next_run)
    elif reschedules:
        _reschedule(move, event, old)
    _set_enabled(move, event.enabled)


def _check_fixed(move: Move, event: Update) -> list[str]:
    """
    :returns: the fields that change what the open run does
    """
    row = move.row
    fixed = sorted(event.changed & FIXED_DURING_A_RUN)
    if not fixed or not row.begun:
        return []
    for name in fixed:
        if name not in EDITABLE or not event.open_run:
            raise _fixed(move, name, "while a run is open")
        if row.status not in (SUSPENDED, WAITING):
            raise _fixed(
                move, name, "while a run is open, unless the task is suspended or waits at a hook"
            )
    if "commands" in fixed:
        _check_commands(move, event.definition)
    if "kws" in fixed and move.at_hook and not move.command.refs.isdisjoint({"kws", ANY_ROOT}):
        raise _fixed(move, "kws", "while the task waits at a hook whose parameters read them")
    return fixed


def _check_commands(move: Move, new: Definition) -> None:
    """The stages that have finished, and the hook where the task waits, stay as they are."""
    old, first = move.definition, move.next_stage
    for stage in range(first):
        if stage >= len(new.commands) or plain(new.commands[stage]) != plain(old.commands[stage]):
            why = "has finished" if stage < move.row.stage else "is where the task waits"
            raise _fixed(move, f"commands.{stage}", f"during the run: the stage {why}")
    if len(new.commands) <= move.row.stage:
        raise Conflict(
            f"`commands` must have more than {move.row.stage}: the open run is at that stage",
            status=move.row.status,
            field="commands",
        )


def _fixed(move: Move, name: str, when: str) -> Conflict:
    return Conflict(f"`{name}` cannot change {when}", status=move.row.status, field=name)


def _write_off_fires(move: Move) -> None:
    """Record the fires missed so far, without make-up runs."""
    row = move.row
    row.late_until = None
    if row.enabled:
        record_missed(row, move.definition, move.step, Misfire.SKIP, before=move.now, now=move.now)


def _take_definition(move: Move, event: Update) -> None:
    row, definition = move.row, event.definition
    if not definition.takes_messages:
        move.drop_messages()
    changed = set(event.changed)
    if event.enabled != row.enabled:
        changed.add("enabled")
    if event.next_run is not None:
        changed.add("next_run")
    move.take(definition, event.rev, changed, event.author)
    if "commands" in event.changed:
        row.stages = len(definition.commands)
        row.stage = min(row.stage, row.stages - 1 if row.open else row.stages)


def _leave_first_run(move: Move) -> None:
    """Close the unbegun run of a one-off that becomes scheduled: from now on each fire is a run."""
    row = move.row
    if row.open and not row.begun and row.stage == 0:
        row.open, row.job_id = False, None


def _first_run(move: Move, event: Update, next_run: float) -> None:
    row, moment = move.row, max(next_run, move.now)
    chain = None
    if moment < move.now + WAIT_SECONDS:
        chain = chain_of(event.cause, row, "update")
    stands_idle = IDLE in (row.status, row.held)
    if move.definition.scheduled or (row.open and not stands_idle):
        row.fire_at, row.explicit, row.anchor = moment, True, next_run
        row.chain = chain
        _await_fire(move)
        return
    row.fire_at, row.explicit = None, False
    if row.open:
        row.next_run = moment
        return
    held, since = row.status is SUSPENDED, row.status_change
    open_run(move, event.job_id, at=moment, chain=chain)
    if held:
        move.hold(IDLE)
        row.status_change = since


def _reschedule(move: Move, event: Update, old: Definition) -> None:
    """Move the next fire after a change of the schedule, or remove it with the schedule."""
    row, definition = move.row, move.definition
    if not definition.scheduled:
        row.fire_at, row.explicit = None, False
        _unschedule(move)
        return
    if event.changed & {"cron", "every"} or definition.every is None:
        _replan(move, event, old)
    _await_fire(move)


def _replan(move: Move, event: Update, old: Definition) -> None:
    """Plan the first fire after now. If only the jitter changed, keep the nominal time, so that no
    fire is decided twice."""
    row, definition = move.row, move.definition
    if event.changed & SCHEDULE_FIELDS == {"jitter"}:
        return
    if definition.every is None or old.every is None:
        row.anchor = move.now + (definition.every or 0.0)
    elif row.explicit:  # the first fire, from which the new interval counts as well
        return
    else:
        row.anchor = same_phase(row.anchor, definition.every, after=move.now)
    pass_fire(row, definition, move.now)


def _await_fire(move: Move) -> None:
    row = move.row
    move.show_next_run()
    if not row.open and row.status is not SUSPENDED:
        move.idle(row.next_run)


def _unschedule(move: Move) -> None:
    row = move.row
    if row.open:
        move.show_next_run()
        return
    if row.exit_code is None and not row.start_next:
        raise InvalidParams(
            "a task that has never run needs a schedule or a first run: "
            "also give `next_run` or `delay`, or delete the task",
            field="cron",
        )
    if row.start_next and row.status is SUSPENDED:
        row.next_run = None
        return
    row.held = None
    rest(move)


def _set_enabled(move: Move, enabled: bool) -> None:
    row = move.row
    if enabled == row.enabled:
        return
    row.enabled = enabled
    if enabled:
        let_pass(row, move.definition, move.now)
    move.show_next_run()
    if row.status is QUEUED:
        proceed(move)
    elif row.status is IDLE:
        move.idle(row.next_run)
