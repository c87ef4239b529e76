"""Definitions that tie tasks to each other: slots, unique keys, children; and pauses."""

from random import Random
from typing import Any

from kaiju_tasks.types import TASKS, TIMER

LIMITS = {"k1": 1, "k2": 2, "k3": 3}
DROPPED = "k1-drop"
WINDOW_PERIODS = [6, 10, 15]
GROUP = "flock"
MAX_DEPTH = 2
TIES = {"slots": 0.5, "unique": 0.4, "children": 0.4, "pauses": 0.4}
"""The chance that a seed has any of them."""
WAITS = 0.4
"""The chance that a task of a seed with children has some."""


class Tied:
    """Draws from one seed which of it there is, and how often.

    :ivar slots: whether tasks have concurrency keys
    :ivar pauses: whether operators pause streams, groups and methods
    """

    def __init__(self, random: Random, app_names: list[str]) -> None:
        self._random = random
        self._app_names = app_names
        drawn = {tie: random.random() < chance for tie, chance in TIES.items()}
        self.slots, self.pauses = drawn["slots"], drawn["pauses"]
        self._unique, self._children = drawn["unique"], drawn["children"]
        self._keys = random.sample(list(LIMITS), random.choice([1, 2]))

    def add_to(self, data: dict[str, Any]) -> None:
        """Give a definition the keys of some."""
        random = self._random
        if self.slots and random.random() < 0.9:
            data["concurrency"] = self._concurrency()
        if self._unique and random.random() < 0.5:
            data["unique"] = {
                "key": random.choice(["u1", "[app_name]-u2", "task"]),
                "scope": random.choice(["active", "queued"]),
                "on_conflict": random.choice(["reuse", "error_if_different", "error"]),
            }
        if self.pauses and random.random() < 0.3:
            data["group"] = GROUP

    def _concurrency(self) -> dict[str, Any]:
        if self._random.random() < 0.15:
            return {"key": DROPPED, "limit": LIMITS["k1"], "on_full": "drop"}
        key = self._random.choice(self._keys)
        return {"key": key, "limit": LIMITS[key]}

    # -- tasks that wait for tasks -------------------------------------------------------------

    def add_waits(self, data: dict[str, Any], others: list[str]) -> None:
        """Let some of the stages of a definition wait for other tasks.

        :param others: ids of tasks that may be named
        """
        if self._children and self._random.random() < WAITS:
            commands = data["commands"]
            stage = self._random.randrange(len(commands))
            commands[stage] = self._hook(others, depth=1)
            if stage and "foreach" in commands[stage]["params"]:
                commands[stage - 1] = {"method": "some"}
                commands[stage]["params"]["foreach"] = f"[{stage - 1}.some]"

    def _hook(self, others: list[str], depth: int) -> dict[str, Any]:
        random = self._random
        params: dict[str, Any] = self._waited_for(others, depth)
        params["mode"] = random.choice(["all", "all", "any"])
        params["on_error"] = random.choice(["fail", "continue"])
        hook: dict[str, Any] = {"method": TASKS, "params": params}
        if random.random() < 0.25:
            hook["max_timeout"] = random.uniform(1.0, 15.0)
            if random.random() < 0.5:
                params["default"] = "nobody came"
        return hook

    def _waited_for(self, others: list[str], depth: int) -> dict[str, Any]:
        random = self._random
        dice = random.random()
        if dice < 0.25 and others:
            return {"ids": random.sample(others, min(len(others), random.choice([1, 2, 3])))}
        if dice < 0.5:
            child = self._child(depth)
            child["kws"] = {"item": "[item]"}
            return {"foreach": [1, 2, 3][: random.randrange(4)], "task": child}
        return {"create": [self._child(depth) for _ in range(random.choice([1, 2, 3]))]}

    def _child(self, depth: int) -> dict[str, Any]:
        random = self._random
        commands = [self._command() for _ in range(random.choice([1, 1, 2]))]
        child: dict[str, Any] = {
            "app_name": random.choice(self._app_names),
            "commands": commands,
            "max_exec_timeout": 20.0,
            "max_retries": random.choice([0, 0, 1]),
        }
        self.add_to(child)
        if depth < MAX_DEPTH and random.random() < 0.2:
            commands[-1] = self._hook([], depth + 1)
        return child

    def _command(self) -> dict[str, Any]:
        random = self._random
        dice = random.random()
        if dice < 0.4:
            return {"method": "echo"}
        if dice < 0.6:
            return {"method": "nap", "params": {"seconds": random.choice([0.1, 1.0, 4.0])}}
        if dice < 0.8:
            return {"method": "flaky", "params": {"chance": random.choice([0.3, 0.7])}}
        if dice < 0.9:
            return {"method": TIMER, "params": {"timer": random.choice([0, 0.5, 3.0])}}
        return {"method": "give_up"}

    # -- pauses --------------------------------------------------------------------------------

    def pause(self, number: int, now: float) -> dict[str, Any]:
        """What `pauses.add` takes.

        :param now: UNIX seconds
        """
        random = self._random
        pause: dict[str, Any] = {
            "id": f"pause{number}",
            "reason": "for a test",
            "stop_running": random.random() < 0.4,
            **random.choice(
                [
                    {"app_name": random.choice(self._app_names)},
                    {"method": random.choice(["*", "e*", "nap", "[fn]*"])},
                    {"group": GROUP},
                ]
            ),
        }
        dice = random.random()
        if dice < 0.3:
            period = random.choice(WINDOW_PERIODS)
            pause["cron"] = f"* * * * * */{period}"
            pause["duration"] = random.uniform(0.5, period - 2.0)
        elif dice < 0.6:
            pause["until"] = now + random.uniform(1.0, 12.0)
        return pause
