"""What `tasks.create` and `tasks.validate` say of methods and parameters."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from msgspec import Meta

from kaiju_tasks import Executor
from kaiju_tasks.api import Caller
from kaiju_tasks.embedded import Embedded, embedded, link_executors
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from tests.manager.hand import Calls

LATER: dict[str, Any] = {"app_name": "shop", "delay": 3600}


def make_shop() -> Executor:
    executor = Executor("shop")

    @executor.command("shop.price")
    async def price(prices: list[float], factor: Annotated[float, Meta(gt=0)] = 1.0) -> None: ...

    @executor.command("shop.pack")
    async def pack() -> None: ...

    return executor


@asynccontextmanager
async def shop_of(store_url: str, *executors: Executor) -> AsyncIterator[Embedded]:
    async with (
        embedded(Settings(db=store_url)) as inside,
        link_executors(inside, executors or [make_shop()]),
    ):
        yield inside


@pytest.fixture
async def shop(store_url: str) -> AsyncIterator[Embedded]:
    async with shop_of(store_url) as inside:
        yield inside


def task(*commands: Any, **fields: Any) -> dict[str, Any]:
    return {"commands": [c if isinstance(c, dict) else {"method": c} for c in commands]} | (
        LATER | fields
    )


def price(**params: Any) -> dict[str, Any]:
    return {"method": "shop.price", "params": params}


async def warned(inside: Embedded, *commands: Any, **fields: Any) -> Any:
    return (await inside.call("tasks.create", data=task(*commands, **fields)))["warnings"]


WRONG = [
    (price(prices="12"), "params.prices", "must be a list, not text"),
    (price(prices=[1, "x"]), "params.prices.1", "must be a number, not text"),
    (price(), "params.prices", "is required: a list"),
    (price(prices=[], factr=1), "params.factr", "is not known; did you mean `factor`?"),
    (price(prices=[], factor=0), "params.factor", "must be a number, more than 0, not 0"),
    ({"method": "shop.pack", "params": {"x": 1}}, "params.x", "is not known; no name is allowed"),
]


@pytest.mark.parametrize(("command", "path", "what"), WRONG, ids=[path for _, path, _ in WRONG])
async def test_create_warns_of_params_that_cannot_fit_and_strict_refuses_them(
    shop: Embedded, command: Any, path: str, what: str
) -> None:
    field = f"commands.1.{path}"
    assert await warned(shop, "shop.pack", command, id="lax") == [f"`{field}` {what}"]
    with pytest.raises(InvalidParams) as refused:
        await shop.call("tasks.create", data=task("shop.pack", command, id="strict"), strict=True)
    assert refused.value.data["field"] == f"data.{field}"
    assert str(refused.value) == f"`data.{field}` {what}"
    assert not await shop.call("tasks.exists", id="strict")


async def test_a_task_that_fits_is_created_strictly_without_warnings(shop: Embedded) -> None:
    fitting = task(price(prices=[1, 2.5]), price(prices="[kws.prices]"), "shop.pack", "shop.pack")
    made = await shop.call("tasks.create", data=fitting, strict=True)
    assert made["warnings"] == []


async def test_hooks_have_no_schema(shop: Embedded) -> None:
    hook = {"method": "_MESSAGE_", "params": {"default": "shop.price"}}
    made = await shop.call("tasks.create", data=task(hook), strict=True)
    assert made["warnings"] == []


async def test_a_condition_does_not_change_what_fits(shop: Embedded) -> None:
    command = price(prices=5) | {"condition": {"kws.on": True}}
    assert await warned(shop, command) == [
        "`commands.0.params.prices` must be a list, not an integer"
    ]


async def test_an_unknown_method_is_named_once_with_the_nearest_one(shop: Embedded) -> None:
    (said,) = await warned(shop, "shop.prize", "shop.prize")
    assert said.startswith("no executor on the stream 'shop' knows the method 'shop.prize'; ")
    assert said.endswith("did you mean 'shop.price'?")
    with pytest.raises(InvalidParams, match="did you mean") as refused:
        await shop.call("tasks.create", data=task("shop.pack", "shop.prize"), strict=True)
    assert refused.value.data["field"] == "data.commands.1.method"


async def test_an_unknown_method_that_is_like_none_has_no_suggestion(shop: Embedded) -> None:
    said = "no executor on the stream 'shop' knows the method 'zzz'"
    assert await warned(shop, "zzz") == [said]


async def test_a_stream_that_nobody_serves_is_a_warning_and_strictly_refused(
    shop: Embedded,
) -> None:
    said = "no executor serves the stream 'nowhere' now"
    assert await warned(shop, "a", app_name="nowhere") == [said]
    with pytest.raises(InvalidParams, match=said) as refused:
        await shop.call("tasks.create", data=task("a", app_name="nowhere"), strict=True)
    assert refused.value.data["field"] == "data.app_name"


async def test_m_create_is_refused_whole_and_names_the_item(shop: Embedded) -> None:
    tasks = [task("shop.pack", id="a"), task(price(prices=[], factor="2"), id="b")]
    with pytest.raises(InvalidParams) as refused:
        await shop.call("tasks.m_create", data=tasks, strict=True)
    assert refused.value.data["field"] == "data.1.commands.0.params.factor"
    assert refused.value.data["index"] == 1
    assert (await shop.call("tasks.count"))["count"] == 0
    made = await shop.call("tasks.m_create", data=tasks)
    assert [len(one["warnings"]) for one in made] == [0, 1]


async def test_validate_tells_all_of_it_as_warnings_or_strictly_as_errors(shop: Embedded) -> None:
    wrong = task(price(prices=5, factor=-1), "shop.nothing", {**price(prices="[nobody]")})
    lax = await shop.call("tasks.validate", data=wrong)
    assert (lax["valid"], lax["errors"], len(lax["warnings"])) == (True, [], 4)
    strict = await shop.call("tasks.validate", data=wrong, strict=True)
    assert not strict["valid"]
    assert [problem["field"] for problem in strict["errors"]] == [
        "data.commands.0.params.prices",
        "data.commands.0.params.factor",
        "data.commands.1.method",
    ]
    assert strict["warnings"] == ["commands.2 reads [nobody], which nothing fills before it"]
    right = await shop.call("tasks.validate", data=task("shop.pack"), strict=True)
    assert right == {"valid": True, "errors": [], "warnings": []}


async def test_strict_with_replace_refuses_before_it_changes_anything(shop: Embedded) -> None:
    await shop.call("tasks.create", data=task("shop.pack", id="t"))
    with pytest.raises(InvalidParams):
        await shop.call(
            "tasks.create", data=task("nope", id="t"), strict=True, on_conflict="replace"
        )
    assert (await shop.call("tasks.get", id="t"))["commands"][0]["method"] == "shop.pack"


async def test_each_stream_of_a_process_has_its_own_commands() -> None:
    other = Executor("other")

    @other.command("shop.pack")
    async def pack(boxes: int) -> None: ...

    forward = ForwardExecutor("legacy", "http://127.0.0.1:9/")
    async with shop_of("sqlite://:memory:", make_shop(), other, forward) as inside:
        boxes = {"method": "shop.pack", "params": {"boxes": 1}}
        assert await warned(inside, "shop.pack") == []
        assert await warned(inside, boxes, app_name="other") == []
        assert len(await warned(inside, boxes)) == 1
        assert await warned(inside, "any.thing", app_name="legacy") == []
        assert len(await warned(inside, price(prices=[]), app_name="other")) == 1
        views = await inside.call("executors.commands")
        assert [(view["app_name"], view["method"]) for view in views] == [
            ("other", "shop.pack"),
            ("shop", "shop.pack"),
            ("shop", "shop.price"),
        ]


async def connect(call: Calls, executor_id: str, *commands: Any) -> None:
    """An executor in another language: a connection that announces what it likes."""
    mine = call.by(Caller(connection=Deaf()))
    await mine("manager.connect", id=executor_id, app_names=["shop"], commands=list(commands))


class Deaf:
    def send(self, frame: bytes, taken: Callable[[], None] | None = None) -> None: ...

    def offer(self, frame: bytes) -> bool:
        return True

    def close(self) -> None: ...


def taking(type_: str) -> dict[str, Any]:
    return {"method": "m", "params": {"properties": {"a": {"type": type_}}, "required": ["a"]}}


async def test_it_is_enough_to_fit_one_executor(call: Calls) -> None:
    await connect(call, "one", taking("string"))
    await connect(call, "two", taking("integer"))
    for a in ("text", 5):
        assert (await call.create({"method": "m", "params": {"a": a}}, **LATER))["warnings"] == []
    made = await call.create({"method": "m", "params": {"a": None}}, **LATER)
    assert len(made["warnings"]) == 1
    await connect(call, "three", {"method": "m"})
    assert (await call.create("m", **LATER))["warnings"] == []


async def test_an_executor_that_announces_nothing_takes_any(call: Calls) -> None:
    await connect(call, "typed", taking("string"))
    assert len((await call.create("m", "n", **LATER))["warnings"]) == 2
    await connect(call, "forwarder")
    assert (await call.create("m", "n", **LATER))["warnings"] == []


async def test_a_schema_that_makes_no_sense_is_passed_over(call: Calls) -> None:
    await connect(call, "odd", {"method": "m", "params": {"properties": [1], "required": 5}})
    data = {"commands": [{"method": "m", "params": {"a": 1}}], **LATER}
    assert (await call("tasks.create", data=data, strict=True))["warnings"] == []


async def test_a_task_is_not_refused_for_an_executor_that_another_manager_knows(
    manager: Manager, call: Calls
) -> None:
    """The executors were read a moment ago; before refusing they are read again."""
    assert (await call.create("m", **LATER))["warnings"] != []
    await connect(Calls(manager), "new", {"method": "m"})  # which remembers for itself
    assert (await call.create("m", **LATER))["warnings"] != []
    data = {"commands": [{"method": "m"}], **LATER}
    assert (await call("tasks.create", data=data, strict=True))["warnings"] == []


async def test_executors_are_not_read_for_every_task(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(call, "typed", taking("string"))
    reads = 0
    executors = manager.store.executors

    async def counted(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        return await executors(*args)

    monkeypatch.setattr(manager.store, "executors", counted)
    for a in range(20):
        await call.create({"method": "m", "params": {"a": a}}, **LATER)
    assert reads == 1


def waits(*children: dict[str, Any]) -> dict[str, Any]:
    return {"method": "_TASKS_", "params": {"create": list(children)}}


async def test_tasks_that_stages_create_are_looked_at_too(shop: Embedded) -> None:
    inner = {"app_name": "shop", "commands": [{"method": "shop.prise"}, price(prices=1)]}
    hook = waits({"commands": [waits(inner)]})
    unknown, misfit = await warned(shop, hook)
    place = "commands.0.params.create.0.commands.0.params.create.0"
    assert unknown.startswith(f"{place}: no executor on the stream 'shop' knows the method")
    assert "did you mean 'shop.price'?" in unknown
    assert misfit == f"`{place}.commands.1.params.prices` must be a list, not an integer"
    with pytest.raises(InvalidParams) as caught:
        await shop.call("tasks.create", data=task(hook), strict=True)
    assert caught.value.data["field"] == f"data.{place}.commands.0.method"


async def test_a_child_on_the_managers_stream_names_a_method_of_it(shop: Embedded) -> None:
    child = {"app_name": "manager", "commands": [{"method": "tasks.creat"}]}
    with pytest.raises(InvalidParams) as caught:
        await shop.call("tasks.create", data=task(waits(child)))
    assert caught.value.data["field"] == "data.commands.0.params.create.0.commands.0.method"
