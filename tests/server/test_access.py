"""docs/access.md is what the program does: every method and route, called by every kind."""

from collections.abc import Iterator
from typing import Any

import pytest

from kaiju_tasks.api import Caller, method_registry
from kaiju_tasks.errors import Forbidden
from kaiju_tasks.rights import Kind, Principal, Scope, Verb, rights_of
from tests.server import access_document
from tests.server.conftest import Site
from tests.server.test_tokens import bearer, token_of

ROUTE, NONE = "/", "–"
ROWS = access_document.rows()
KINDS = ["no token", *(kind.value for kind in Kind)]


def cells(*, routes: bool) -> list[Any]:
    return list(_cells(routes))


def _cells(routes: bool) -> Iterator[Any]:
    for name, row in ROWS.items():
        if (ROUTE in name) is routes:
            for kind in KINDS:
                yield pytest.param(name, kind, row[kind] != NONE, id=f"{name} {kind}")


def test_the_page_is_what_is_registered() -> None:
    assert access_document.committed() == access_document.render(), (
        "docs/access.md is stale: python -m tests.server.access_document"
    )


def test_every_method_is_in_the_page() -> None:
    names = {name for name in ROWS if ROUTE not in name}
    assert names == {method.name for method in method_registry()}


REGISTRY = method_registry()


@pytest.mark.parametrize(
    ("method", "kind", "allowed"), [one for one in cells(routes=False) if one.values[1] != KINDS[0]]
)
def test_a_method_is_refused_to_all_kinds_that_the_page_does_not_name(
    method: str, kind: str, allowed: bool
) -> None:
    rights = rights_of(Kind(kind), Scope(verbs=tuple(Verb)))
    caller = Caller(Principal("ann", Kind(kind), (rights,)))
    if allowed:
        assert REGISTRY.find_for(caller, method).name == method
        return
    with pytest.raises(Forbidden):
        REGISTRY.find_for(caller, method)


@pytest.mark.parametrize(("route", "kind", "allowed"), cells(routes=True))
async def test_a_route_is_refused_to_all_kinds_that_the_page_does_not_name(
    site: Site, route: str, kind: str, allowed: bool
) -> None:
    await token_of(site.manager, "root", Kind.ADMIN)
    headers = {"Origin": site.url}
    if kind != KINDS[0]:
        verbs = tuple(Verb)
        headers |= bearer(await token_of(site.manager, "ann", Kind(kind), verbs=verbs))
    method, path = route.split()
    response = await site.session.request(method, f"{site.url}{path}", headers=headers)
    refused = 401 if kind == KINDS[0] else 403
    assert (response.status == refused) is not allowed, response.status
