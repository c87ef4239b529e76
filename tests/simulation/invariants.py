"""What must never be broken, by name. A planted bug names the one that it breaks."""

from enum import StrEnum


class Invariant(StrEnum):
    """The value says what holds."""

    # at every commit, frame and execution: oracle.py
    BEGUN_ONCE = "no stage begins twice under one lease"
    BEGUN_IN_TIME = "no stage begins after its executor was expelled"
    ACK_AFTER_COMMIT = "no report is acknowledged before it is committed"
    SIGHT_BEFORE_JUDGEMENT = "nobody is expelled by a manager that has just lost its database"
    LEASES_ARE_KEPT = "nobody is expelled before the lease ends"
    VERSIONS_RISE = "each change raises a row's version by one"
    EPOCHS_RISE = "each lease has the next epoch, and a token of its own"
    LEASED_WHERE_CONNECTED = "only the manager to which an executor is connected leases to it"
    ONE_RESULT = "a stage of a run has one result"
    HOLDER_REPORTS = "what is stored comes from the executor that holds the lease"
    RUNS_END_ONCE = "a run ends once, and is recorded"
    SENT_BEFORE_TIMEOUT = "no lease times out that was never sent"
    EVENTS_AFTER_COMMIT = "no event is published before its commit"
    EVENTS_ONCE = "the end of a run is published once"
    FIRES_ONCE = "a fire is decided once"
    SPANS_ARE_KEPT = "a deadline stays as far away when the clock is set"
    JUMPED_FIRES_ARE_ONE = "the fires that the clock jumps over count as one"
    MESSAGES_ONCE = "a task receives a message once and consumes it once, in whichever run"
    NO_WAIT_BESIDE_A_MESSAGE = "no hook waits beside a message that it could take"
    STAGE_AFTER_RESULTS = "a task stands right after its results"
    BOUNDED_TRIES = "retries and losses have a bound"
    ENDS_ARE_WHOLE = "a task that has ended is closed, and FINISHED only without an error"
    CIRCLES_END = "no circle of next tasks goes on without a wait"
    NEXT_TASKS_START = "a next task starts with the end of the task before"
    RESULTS_ARE_STORED = "the database holds every committed result as it was"

    # between tasks: ties.py
    SLOTS_ARE_COUNTED = "`slots` counts the runs that are EXECUTED"
    LIMITS_HOLD = "no key has more runs EXECUTED than its limit"
    SLOTS_ARE_PASSED_ON = "no slot is free beside somebody who waits for it"
    FULL_DROPS = "what is to be dropped when a key is full does not wait"
    KEYS_OF_THE_LIVING = "a unique key is held by a task that is not over, and is its own"
    KEYS_ARE_KEPT = "a task keeps its unique key until it is over"
    KEYS_ARE_UNIQUE = "no task is created while another one holds its unique key"
    AWAITED_LIVE = "whoever is waited for is not over, and knows of it"
    CHILDREN_ARE_CLOSED = "no child is open when the stage that created it waits no more"
    CHILDREN_AS_ENDED = "a parent is given its children as they ended"
    PAUSES_HOLD = "nothing is acquired that a pause holds"

    # when nothing fails any more: calm.py, world.py
    NOTHING_OVERDUE = "nothing is overdue"
    EXECUTED_IS_HELD = "every EXECUTED task is held by the executor that the database names"
    EXECUTED_IS_AT_WORK = "every EXECUTED task is at work, or reported"
    STAGES_END_IN_TIME = "no stage is EXECUTED long after its `max_timeout`"
    NO_ZOMBIES = "nobody works under a lease that is over"
    NO_IDLE_HANDS = "nothing stands queued beside a free place"
    GATES_OPEN = "nobody stands at the gate of a pause that is over"
    PAUSES_STOP = "a pause that stops what runs has stopped it"
    WAITS_FOR_SOMEBODY = "no parent waits for nobody"
    SIGNALS_ARE_TAKEN = "no signal is left"
    EVERYTHING_ENDS = "every one-off ends"

    # always
    CREATED_IS_THERE = "what was created is there"
    REPEATS_ARE_KNOWN = "a call that was answered has no further effect when it is repeated"
    ACCEPTED_IS_STORED = "a message that was accepted is stored"
    CALLS_ARE_ANSWERED = "calls are answered, with domain errors at worst"
    NO_ERRORS_LOGGED = "nothing is logged as an error"
    NO_EXCEPTION_UNSEEN = "no exception goes unseen"
    NO_DEADLOCK = "something can always go on"
