"""The parameters of a `_TASKS_` hook: tasks to create or to wait for, and when the wait ends.

In a task to be created, only `id`, `kws` and `meta` are templates of the parent. The commands of
the new task have their own templates, which read the results of that task.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates import Template, compile_template, compiled_with, template_problems
from kaiju_tasks.types import NEVER_RETRIED, ErrorType

MAX_CHILDREN = 5_000
MAX_FILLED_BYTES = 16 * 1024 * 1024
FILLED = ("id", "kws", "meta")
_PARAMS = frozenset({"create", "ids", "foreach", "task", "mode", "on_error", "default"})
_SOURCES = ("create", "ids", "foreach")
_encode = msgspec.json.encode

Verdict = Literal["wait", "done", "failed"]


class ChildPlan(Struct):
    """One task to wait for.

    :param id: of the existing task, or of the one to create; None lets the manager generate one
    :param data: for a task to be created, as `tasks.create` takes it
    """

    id: str | None
    data: dict[str, Any] | None = None


class ChildFailure(Struct):
    """A child that failed; `error` is the JSON of a TaskError."""

    id: str
    exit_code: int
    error: Raw

    @property
    def final(self) -> bool:
        """Whether the error of the child, or of one of its own children, is never retried."""
        error: Any = msgspec.json.decode(self.error)
        while isinstance(error, dict) and error.get("type") == ErrorType.CHILD_FAILED:
            data = error.get("data")
            error = data.get("error") if isinstance(data, dict) else None
        return isinstance(error, dict) and error.get("type") in NEVER_RETRIED


class ChildrenHook:
    """A compiled hook; made by `compile_children`.

    :ivar refs: root keys that its templates read
    :ivar tasks: the tasks that it may create, each with its path in the params
    :ivar named: ids of existing tasks that contain no template
    """

    __slots__ = (
        "_create",
        "_default",
        "_foreach",
        "_ids",
        "mode",
        "named",
        "on_error",
        "refs",
        "tasks",
    )

    def __init__(self, params: dict[str, Any]) -> None:
        self.mode: str = params.get("mode", "all")
        self.on_error: str = params.get("on_error", "fail")
        self.tasks: list[tuple[str, dict[str, Any]]] = []
        self._create = [
            self._task(task, f"params.create.{i}")
            for i, task in enumerate(params.get("create", ()))
        ]
        self._foreach: Template | None = None
        if "foreach" in params:
            self._foreach = compile_template(params["foreach"], field="params.foreach")
            self._create = [self._task(params["task"], "params.task")]
        self._ids = compile_template(params["ids"], field="params.ids") if "ids" in params else None
        self._default: Template | None = None
        if "default" in params:
            self._default = compile_template(params["default"], field="params.default")
        self.named = frozenset(_constants(params.get("ids")))
        self.refs = self._refs()

    def _task(self, task: dict[str, Any], field: str) -> "_TaskPlan":
        self.tasks.append((field, task))
        return _TaskPlan(task, field)

    def _refs(self) -> frozenset[str]:
        refs = frozenset[str]().union(*(task.refs for task in self._create)) - {"item", "index"}
        for template in (self._ids, self._foreach, self._default):
            refs |= frozenset() if template is None else template.refs
        return refs

    def fill(self, data: Mapping[str, Any]) -> list[ChildPlan]:
        """The tasks to wait for, in order.

        :raises TemplateError: a template cannot be filled, or gives a value of the wrong type
        """
        if self._ids is not None:
            return _named(self._ids.fill(data))
        if self._foreach is None:
            plans = [task.fill({**data, "index": i}) for i, task in enumerate(self._create)]
        else:
            plans = self._each(self._foreach.fill(data), data)
        if sum(len(_encode(plan.data)) for plan in plans) > MAX_FILLED_BYTES:
            raise TemplateError(
                f"the tasks to create take more than {MAX_FILLED_BYTES} bytes", field="params"
            )
        _refuse_repeated([plan.id for plan in plans if plan.id is not None])
        return plans

    def _each(self, items: Any, data: Mapping[str, Any]) -> list[ChildPlan]:
        _check_list(items, "foreach", "a list")
        (task,) = self._create
        return [task.fill({**data, "item": item, "index": i}) for i, item in enumerate(items)]

    def default(self, data: Mapping[str, Any]) -> Any:
        """The result after a timeout; UNSET if the hook has no default."""
        return UNSET if self._default is None else self._default.fill(data)

    def verdict(self, *, left: bool, finished: bool, failed: bool) -> Verdict:
        """Decide whether the wait is over.

        :param left: some children have not ended
        :param finished: some have finished
        :param failed: some have failed
        """
        if self.mode == "any" and finished:
            return "done"
        if self.on_error == "fail" and failed:
            return "failed"
        return "wait" if left else "done"


class _TaskPlan:
    def __init__(self, task: dict[str, Any], field: str) -> None:
        self._task = task
        self._templates = {
            name: compile_template(task[name], field=f"{field}.{name}")
            for name in FILLED
            if name in task
        }
        self.refs = frozenset[str]().union(*(one.refs for one in self._templates.values()))

    def fill(self, data: Mapping[str, Any]) -> ChildPlan:
        filled = {name: template.fill(data) for name, template in self._templates.items()}
        id = filled.get("id")
        if isinstance(id, int) and not isinstance(id, bool):
            id = filled["id"] = str(id)
        if id is not None and not isinstance(id, str):
            raise TemplateError("the id of a task to create must be text", field="params.id")
        return ChildPlan(id, {**self._task, **filled})


def compile_children(params: Any) -> ChildrenHook:
    """Compile the parameters of a `_TASKS_` hook.

    :raises TemplateError: malformed; `field` names the place
    """
    for problem in _shape_problems(params):
        raise problem
    return ChildrenHook(params)


compiled_tasks = compiled_with(compile_children, 256)


def children_problems(params: Any) -> Iterator[TemplateError]:
    """Find all errors in the parameters of a `_TASKS_` hook."""
    yield from _shape_problems(params)
    if not isinstance(params, dict):
        return
    for name in ("ids", "foreach", "default"):
        if name in params:
            yield from template_problems(params[name], f"params.{name}")
    for place, task in created_tasks(params):
        for name in FILLED:
            if name in task:
                yield from template_problems(task[name], f"{place}.{name}")


def created_tasks(params: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tasks that a hook may create, each with its path, such as `params.create.1`."""
    create = params.get("create")
    for index, task in enumerate(create if isinstance(create, list) else ()):
        if isinstance(task, dict):
            yield f"params.create.{index}", task
    if isinstance(task := params.get("task"), dict):
        yield "params.task", task


def _shape_problems(params: Any) -> Iterator[TemplateError]:
    if not isinstance(params, dict):
        yield _wrong("params", "must be an object")
        return
    for unknown in sorted(set(params) - _PARAMS):
        yield _wrong(f"params.{unknown}", f"is unknown; there are {', '.join(sorted(_PARAMS))}")
    given = [name for name in _SOURCES if name in params]
    if len(given) != 1:
        yield _wrong("params", "must have exactly one of `create`, `ids`, `foreach`")
    else:
        yield from _source_problems(given[0], params)
    if params.get("mode", "all") not in ("all", "any"):
        yield _wrong("params.mode", 'must be "all" or "any"')
    if params.get("on_error", "fail") not in ("fail", "continue"):
        yield _wrong("params.on_error", 'must be "fail" or "continue"')


def _source_problems(name: str, params: dict[str, Any]) -> Iterator[TemplateError]:
    value = params[name]
    if (name == "foreach") != ("task" in params):
        yield _wrong("params.task", "and `foreach` must be given together")
    elif name == "foreach":
        yield from _task_problems(params["task"], "params.task")
    if name == "foreach" or (name == "ids" and isinstance(value, str)):
        return
    if not isinstance(value, list):
        yield _wrong(f"params.{name}", "must be a list")
        return
    if not value:
        yield _wrong(f"params.{name}", "must not be empty")
    if len(value) > MAX_CHILDREN:
        yield _wrong(f"params.{name}", f"may have at most {MAX_CHILDREN} items")
    for i, item in enumerate(value):
        if name == "create":
            yield from _task_problems(item, f"params.create.{i}")
        elif not isinstance(item, str) or not item:
            yield _wrong(f"params.ids.{i}", "must be the id of a task")


def _task_problems(task: Any, field: str) -> Iterator[TemplateError]:
    if not isinstance(task, dict):
        yield _wrong(field, "must be a task, as `tasks.create` takes it")


def _named(ids: Any) -> list[ChildPlan]:
    _check_list(ids, "ids", "a list of ids")
    named = []
    for id in ids:
        if not isinstance(id, str) or not id:
            raise TemplateError("`ids` must be a list of ids of tasks", field="params.ids")
        named.append(ChildPlan(id))
    _refuse_repeated(ids)
    return named


def _check_list(value: Any, name: str, wanted: str) -> None:
    if not isinstance(value, list):
        raise TemplateError(f"`{name}` must be {wanted}", field=f"params.{name}")
    if len(value) > MAX_CHILDREN:
        raise TemplateError(
            f"`{name}` has {len(value)} items; a stage can wait for at most {MAX_CHILDREN} tasks",
            field=f"params.{name}",
        )


def _refuse_repeated(ids: list[str]) -> None:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise TemplateError(f"the task {id!r:.300} is named twice", field="params")
        seen.add(id)


def _constants(ids: Any) -> list[str]:
    if not isinstance(ids, list):
        return []
    return [id for id in ids if isinstance(id, str) and compile_template(id).constant]


def _wrong(field: str, message: str) -> TemplateError:
    return TemplateError(f"`{field}` {message}", field=field)
