"""Declares the schedules of an executor to managers, and logs what has become of them."""

import logging
from collections.abc import Sequence

from msgspec import Raw

from kaiju_tasks.errors import Forbidden, InvalidParams, MethodNotFound
from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.messages import RpcError, decode_declare
from kaiju_tasks.executor.session import FrameTooLarge, Lost, Session
from kaiju_tasks.protocol import Declaration, Declared, DeclaredState, DeclareParams
from kaiju_tasks.version import __version__

__all__ = ["DeclaredSchedules"]

logger = logging.getLogger("kaiju_tasks.executor")

DECLARE = "manager.declare"
AT_ONCE = 100
REPEAT_SECONDS = 30.0
LEVELS = {
    DeclaredState.CREATED: logging.INFO,
    DeclaredState.REPLACED: logging.INFO,
    DeclaredState.UNCHANGED: logging.DEBUG,
    DeclaredState.OLDER: logging.INFO,
    DeclaredState.DIFFERS: logging.WARNING,
    DeclaredState.BUSY: logging.INFO,
    DeclaredState.REFUSED: logging.ERROR,
}
FINAL = frozenset({Forbidden.code, InvalidParams.code, MethodNotFound.code})
"""A manager that answers so will answer so again."""


class DeclaredSchedules:
    """The schedules of the executors of a process."""

    def __init__(self, schedules: Sequence[Declaration], clock: Clock) -> None:
        self._schedules = list(schedules)
        self._clock = clock
        self._session: Session | None = None
        self._logged: set[str] = set()
        self._repeats = False

    def open(self, session: Session) -> None:
        """Declare them to a manager that has accepted the executor."""
        self._session = session
        self._declare(session)

    def close(self) -> None:
        """The session has ended."""
        self._session = None

    def _declare(self, session: Session) -> None:
        for start in range(0, len(self._schedules), AT_ONCE):
            self._declare_part(self._schedules[start : start + AT_ONCE], session)

    def _declare_part(self, part: list[Declaration], session: Session) -> None:
        def answered(answer: Raw | RpcError | Lost) -> None:
            if isinstance(answer, RpcError):
                self._refused(answer, session)
            if isinstance(answer, Raw):
                self._answered(part, decode_declare(answer).schedules, session)

        try:
            session.request(DECLARE, DeclareParams(part), answered, patient=True)
        except FrameTooLarge as error:
            self._too_large(part, error, session)

    def _too_large(self, part: list[Declaration], error: FrameTooLarge, session: Session) -> None:
        """Declare them in smaller parts. One that is too large alone is left out."""
        if len(part) == 1:
            name = part[0].task["id"]
            self._log(logging.ERROR, f"the schedule {name} is not declared: {error}")
            return
        half = len(part) // 2
        self._declare_part(part[:half], session)
        self._declare_part(part[half:], session)

    def _answered(
        self, part: Sequence[Declaration], outcomes: Sequence[Declared], session: Session
    ) -> None:
        for declaration, outcome in zip(part, outcomes, strict=False):
            name = declaration.task["id"]
            text = outcome.message or f"version {declaration.version or 'none'}"
            self._log(LEVELS[outcome.state], f"schedule {name}: {outcome.state}: {text}")
        if any(one.state is DeclaredState.BUSY for one in outcomes):
            self._later(session)

    def _refused(self, error: RpcError, session: Session) -> None:
        message = error.message
        if error.code == MethodNotFound.code:
            message = (
                f"the manager is too old for them: it needs kaiju_tasks {__version__} or later"
            )
        self._log(logging.ERROR, f"the schedules of this executor are not declared: {message}")
        if error.code not in FINAL:
            self._later(session)

    def _later(self, session: Session) -> None:
        if not self._repeats and session is self._session:
            self._repeats = True
            self._clock.call_later(REPEAT_SECONDS, self._again)

    def _again(self) -> None:
        self._repeats = False
        if self._session is not None:
            self._declare(self._session)

    def _log(self, level: int, text: str) -> None:
        """Log what was not logged before."""
        if text not in self._logged:
            self._logged.add(text)
            logger.log(level, "%s", text)
