"""Makes hostile input: valid requests with faults in them, and texts of the languages of tasks."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from kaiju_tasks.templates.functions import FUNCTIONS
from tests.api.matrix import ROWS

__all__ = ["Inputs"]

Json = Any
DEPTH_MAX = 200
LONG = 20_000
WAITS = ("tasks.wait",)
"""Methods whose parameters say how long they wait."""
BULK_WAIT = {"wait": 0}

ATOMS: tuple[Json, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**40, 0.0,
    -0.0, 1e-320, 1e308, -1e308, 0.1, 1.5, "", " ", "0", "a", "*", "?", "%", "_", "\\", "%a%b",
    "\x00", "a\x00b", "\ud800", "\U0001f600", "\u202e", "\ufeff", "é" * 300, "x" * LONG,
    "%a" * 499, "null", "of-tasks.get", "billing", "default", "manager", "../..", "1e999", "-",
    "QUEUED", "2026-11-28", "2026-11-28T00:00:00+14:00", "9999-12-31T23:59:59Z", "0001-01-01",
    "Europe/Berlin", "UTC\x00", [], {}, [[]], [None], {"": ""}, {"$raw": {}}, {"like": "%"},
    {"gt": 1, "lt": 0}, {"ge": "z"}, {"in": []}, {"not": {}}, ["a"] * 1001,
)  # fmt: skip
TEMPLATE = (
    "[", "]", "`", "``", ".", ":", "-", "!", "!f:", "!x:", "{", "}", "{{", "}}", "kws", "kws.a",
    "0", "1", "99", "id", "job_id", "executor", "scheduled_at", "params", "*", " ", "a", "é",
    "\u0080", "\x00", '"', '"a:b]"', "null", "1e400", "-0", "$", "@", "_", "\\", "\n", *FUNCTIONS,
)  # fmt: skip
QUESTIONS = (
    "eq", "ne", "gt", "ge", "lt", "le", "in", "like", "regex", "exists", "type", "and", "or",
    "not", "all", "any", "$raw", "kws.a", "kws", "0", "[0.a]", "params.a", "", "`not`",
    "0.[kws.a]",
)  # fmt: skip
CRON = (
    "*", "*/2", "*/0", "0", "1", "59", "60", "23", "24", "31", "32", "12", "13", "0-59", "5-1",
    "1-6", "L", "l", "W", "15W", "#", "1#2", "fri#5", "sun", "jan", "jan-dec", "2,4,6,9,11", "1,",
    ",", "-1", "@daily", "@yearly", "@reboot", "?", "H", "R", "*/61", "0/15", "1-5/2", "7",
    "SUN-SAT", "",
)  # fmt: skip
COLUMNS = (
    "id", "status", "app_name", "created", "next_run", "priority", "error.type", "method",
    "label.a", "label.", "every", "system", "enabled", "group", "user_id", "stage", "retries",
    "cron", "no", "", "id; drop table tasks", "job_id", "event", "target", "action", "at",
    "task_id", "exit_code",
)  # fmt: skip
OPS = ("eq", "ne", "gt", "ge", "lt", "le", "like", "in", "is", "", "not", "like ")


class Inputs:
    """Hostile input, drawn from one source.

    :param seed: makes it reproducible
    """

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def body(self) -> bytes:
        """A request as it comes over HTTP or a WebSocket."""
        made: Json = self.request()
        if self._one_in(12):
            made = [self.request() for _ in range(self._dice.choice((0, 1, 2, 5)))]
        return self._damaged(self._encoded(made))

    def frame(self) -> bytes:
        """A message of an executor."""
        method = self._pick(
            ("manager.write_stage", "manager.write_stage", "manager.ping", "manager.connect",
             "manager.suspend_executor", "executor.run", "manager.execute_stage",
             "manager.write_logs")
        )  # fmt: skip
        lease = {"id": "of-tasks.get", "job_id": "j", "epoch": 1, "nonce": "n", "stage": 0}
        state = self._pick(("finished", "failed", "running", "released", "skipped", "lost"))
        error = {"type": "t", "message": "m", "data": self.atom()}
        report = {**lease, "state": state, "result": self.atom(), "error": error}
        lines = [{"n": n, "message": "m", "fields": {"a": self.atom()}} for n in (1, 2)]
        params: Json = {
            "manager.write_stage": {"reports": [report] * self._dice.choice((0, 1, 1, 3))},
            "manager.write_logs": {"logs": [{**lease, "lines": lines}]},
            "manager.connect": {
                "id": "fuzz", "app_names": ["fuzz"], "capacity": 1, "holding": [lease],
                "commands": [{"method": "a", "params": {"type": "object"}, "doc": "d"}],
            },
        }.get(method, {"id": "fuzz", "holding": [lease], "capacity": 1})  # fmt: skip
        return self._damaged(self._encoded(self._faulty(_call(method, params))))

    def request(self) -> Json:
        """A request in which something is often wrong."""
        kind = self._dice.randrange(6)
        if kind == 0:
            return _call(self._pick(("tasks.create", "tasks.validate")), {"data": self.task()})
        if kind == 1:
            params = {"cron": self.cron(), "timezone": self._zone(), "n": self._pick((1, 5, 100))}
            return self._faulty(_call("cron.preview", params), odds=4)
        if kind == 2:
            return self._list()
        name = self._pick([one for one in ROWS if one not in WAITS])
        params = ROWS[name].params("of-tasks.get")
        if name.startswith("tasks.m_") and "conditions" in params:
            params = {**params, **BULK_WAIT}
        return self._faulty(_call(name, params))

    def _list(self) -> Json:
        name = self._pick(
            ("tasks.list", "tasks.count", "runs.list", "notifications.list", "audit.list",
             "bulk.list", "events.subscribe", "schedules.upcoming")
        )  # fmt: skip
        params: Json = {"conditions": self.conditions()}
        if name in ("tasks.list", "runs.list", "notifications.list") and self._one_in(2):
            params["sort"] = [self._pick(("", "-", "--")) + self._pick(COLUMNS)]
        if name.endswith(".list") and self._one_in(4):
            params["cursor"] = self._pick(
                ("", "e30", "W10", "WzFd", "x" * 4096, "\x00", "W251bGxd")
            )
        return self._faulty(_call(name, params), odds=5)

    def task(self) -> Json:
        """A task whose templates, conditions and schedule are drawn from pieces."""
        command: Json = {"method": "work", "params": {"a": self.template(), "b": [self.template()]}}
        if self._one_in(2):
            command["condition"] = self.question()
        task: Json = {"app_name": "fuzz", "commands": [command], "kws": {"a": self.atom()}}
        if self._one_in(3):
            task |= {"cron": self.cron(), "timezone": self._zone()}
        if self._one_in(3):
            hook = self._pick(("_TIMER_", "_MESSAGE_", "_TASKS_"))
            task["commands"].append({"method": hook, "params": {"timer": self.template()}})
        return self._faulty(task, odds=3)

    def data(self) -> Json:
        """What templates and conditions are filled from."""
        return {name: self.atom() for name in ("kws", "0", "1", "id", "executor", "params")}

    def template(self) -> str:
        """A text of templates, seldom well-formed."""
        if self._one_in(30):
            return "[" * self._dice.randrange(2_000) + "kws.a" + "]" * self._dice.randrange(2_000)
        if self._one_in(3):
            given = ":".join(self._pick(("[kws]", "[0]", "1", "[1.a]", "")) for _ in range(3))
            return f"{self._pick(('', 'a'))}[!x:{self._pick(list(FUNCTIONS))}:{given}]"
        pieces = [self._pick(TEMPLATE) for _ in range(self._dice.randrange(12))]
        return self._pick(("", "[")) + "".join(pieces) + self._pick(("", "]"))

    def question(self, depth: int = 0) -> Json:
        """A condition."""
        if depth > 3 or self._one_in(4):
            return self.atom()
        names = [self._pick(QUESTIONS) for _ in range(self._dice.randrange(1, 4))]
        if self._one_in(4):
            return [self.question(depth + 1) for _ in names]
        return {name: self.question(depth + 1) for name in names}

    def cron(self) -> str:
        """A schedule."""
        return " ".join(self._pick(CRON) for _ in range(self._dice.choice((1, 4, 5, 5, 5, 6, 7))))

    def conditions(self) -> Json:
        """A filter."""
        found: Json = {}
        for _ in range(self._dice.randrange(4)):
            value = self.atom()
            if self._one_in(2):
                value = {self._pick(OPS): self.atom() for _ in range(self._dice.randrange(3))}
            found[self._pick(COLUMNS)] = value
        return found

    def atom(self) -> Json:
        """A value that is often wrong."""
        if self._one_in(60):
            nested: Json = 1
            for _ in range(self._dice.randrange(DEPTH_MAX)):
                nested = [nested]
            return nested
        return self._pick(ATOMS)

    def _zone(self) -> Json:
        return self._pick(("UTC", "Europe/Berlin", "America/St_Johns", "Mars/Base", "", "../etc"))

    def _faulty(self, value: Json, odds: int = 2) -> Json:
        """The value with one fault or more, or without one.

        :param odds: one in so many has faults
        """
        if not self._one_in(odds):
            return value
        for _ in range(self._dice.choice((1, 1, 2, 4))):
            value = self._fault(value)
        return value

    def _fault(self, value: Json) -> Json:
        if isinstance(value, dict) and value and not self._one_in(6):
            copied = dict(value)
            name = self._pick(list(copied))
            what = self._dice.randrange(8)
            if what == 0:
                del copied[name]
            elif what == 1:
                copied[str(self._pick(("x", "", "\x00", "id", "data")))] = self.atom()
            elif name != "method" or self._one_in(10):
                copied[name] = self._fault(copied[name])
            return copied
        if isinstance(value, list) and value and not self._one_in(6):
            at = self._dice.randrange(len(value))
            return [*value[:at], self._fault(value[at]), *value[at + 1 :]]
        return self.atom()

    def _encoded(self, value: Json) -> bytes:
        return json.dumps(value, ensure_ascii=self._one_in(2)).encode("utf-8", "surrogatepass")

    def _damaged(self, body: bytes) -> bytes:
        """The bytes, damaged one time in eight."""
        if not self._one_in(8) or not body:
            return body
        at = self._dice.randrange(len(body))
        damage: Sequence[Callable[[], bytes]] = (
            lambda: body[:at],
            lambda: body[:at] + bytes([self._dice.randrange(256)]) + body[at + 1 :],
            lambda: body[:at] + b"\xff\xfe" + body[at:],
            lambda: body[:at] + b"NaN" + body[at:],
            lambda: body[:at] + b"\x00" + body[at:],
            lambda: body + body,
            lambda: b"[" * at + body,
        )
        return self._pick(damage)()

    def _one_in(self, number: int) -> bool:
        return self._dice.randrange(number) == 0

    def _pick(self, choices: Sequence[Any]) -> Any:
        return choices[self._dice.randrange(len(choices))]


def _call(method: str, params: Json) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
