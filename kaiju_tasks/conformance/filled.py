"""Fills the commands of a task as a manager does, for an executor with `fill`."""

from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.lifecycle import Command
from kaiju_tasks.manager.executors.filling import Shapes, fill
from kaiju_tasks.protocol import CommandInfo, ReportError
from kaiju_tasks.templates import StageData

__all__ = ["Filled"]

Json = dict[str, Any]


class Filled:
    """One lease of a task.

    :param task: as an executor without `fill` would get it
    :param connect: what the executor has announced
    :ivar own: the reports that the manager makes itself, of stages that are skipped or cannot be
        filled, in order
    """

    def __init__(self, task: Json, connect: Json) -> None:
        self.own: list[Json] = []
        self._task = task
        self._shapes = Shapes(
            msgspec.convert(connect.get("commands", []), list[CommandInfo], strict=False)
        )
        self._data = StageData(
            task["id"],
            task["job_id"],
            _raw(task.get("kws", {})),
            task.get("scheduled_at"),
            {name: _raw(result) for name, result in task.get("results", {}).items()},
            connect.get("data", {}),
        )
        self._next: dict[int, tuple[int, Json] | None] = {}

    def first(self) -> Json | None:
        """What the executor is sent; None if it has nothing to do."""
        found = self._from(self._task["stage"])
        if found is None:
            return None
        stage, command = found
        unfilled = ("kws", "results")
        task = {name: value for name, value in self._task.items() if name not in unfilled}
        return {**task, "stage": stage, "commands": [command]}

    def after(self, stage: int, result: Any) -> tuple[int, Json] | None:
        """The stage and the command that follow a finished stage; None if the lease has ended."""
        self._keep(stage, result)
        return self._from(stage + 1)

    def _keep(self, stage: int, result: Any) -> None:
        self._data.add(stage, self._command(stage).get("name"), _raw(result))

    def _command(self, stage: int) -> Json:
        command: Json = self._task["commands"][stage - self._task["stage"]]
        return command

    def _from(self, stage: int) -> tuple[int, Json] | None:
        if stage not in self._next:
            self._next[stage] = self._find(stage)
        return self._next[stage]

    def _find(self, stage: int) -> tuple[int, Json] | None:
        while stage < self._task["stage"] + len(self._task["commands"]):
            command = self._command(stage)
            unfilled = Command(
                command["method"],
                _raw(command.get("params", {})),
                command.get("max_timeout"),
                _raw(command.get("condition")),
                command.get("name"),
            )
            shape = self._shapes.of(self._task["app_name"], command["method"])
            outcome = fill(unfilled, self._data, shape)
            if isinstance(outcome, ReportError):
                error = msgspec.to_builtins(outcome)
                self.own.append(self._report(stage, "failed", error=error))
                return None
            if outcome is not None:
                return stage, msgspec.json.decode(msgspec.json.encode(outcome))
            self.own.append(self._report(stage, "skipped"))
            self._keep(stage, None)
            stage += 1
        return None

    def _report(self, stage: int, state: str, **fields: Any) -> Json:
        names = ("id", "job_id", "epoch", "nonce")
        token = {name: self._task[name] for name in names}
        return {**token, "stage": stage, "state": state, **fields}


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))
