"""Generators and libraries of other people read the OpenRPC document that is committed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kaiju_tasks import schemas
from tests.support.node import FOLDER, Node

DOCUMENT = schemas.FOLDER / "openrpc.json"
PACKAGES = FOLDER / "node_modules"
TYPINGS = PACKAGES / "@open-rpc/typings/build/cli.js"
GENERATOR = PACKAGES / "@open-rpc/generator/build/cli.js"
TSC = PACKAGES / "typescript/bin/tsc"
STRICT = ["--strict", "--skipLibCheck", "--noEmit", "--target", "es2020"]
MODULES = ["--module", "es2022", "--moduleResolution", "bundler", "--esModuleInterop"]

# Calls, and whether they fit what the document says of them.
CALLS: list[tuple[str, dict[str, Any], bool]] = [
    ("tasks.get", {"id": "a"}, True),
    ("tasks.get", {"id": 7}, False),
    ("tasks.get", {}, False),
    ("tasks.create", {"data": {"commands": [{"method": "a"}], "group_id": 7}}, True),
    ("tasks.create", {"data": {"commands": []}}, False),
    ("tasks.create", {"data": {"commands": [{"method": "a"}], "status": "IDLE"}}, False),
    ("tasks.list", {"conditions": {"status": ["IDLE"], "priority": {"ge": 1}}}, True),
    ("tasks.list", {"conditions": {"kws": 1}}, False),
    ("tasks.list", {"sort": ["-created", {"desc": "id"}], "columns": ["id"]}, True),
    ("tasks.list", {"columns": ["nope"]}, False),
    ("tasks.update", {"id": "a", "data": {"priority": 1}}, True),
    ("tasks.update", {"id": "a", "data": {"priority": "high"}}, False),
    ("tasks.message", {"id": "a", "data": {"any": [None, 1]}}, True),
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(json.loads(DOCUMENT.read_bytes()))


@pytest.fixture(scope="module")
def found(node: Node, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What @open-rpc/schema-utils-js finds."""
    calls = tmp_path_factory.mktemp("calls") / "calls.json"
    calls.write_text(json.dumps([call[:2] for call in CALLS]))
    return read(node, DOCUMENT, calls)


def read(node: Node, document: Path, calls: Path) -> dict[str, Any]:
    return dict(json.loads(node.run("tools.mjs", document, calls)))


def test_the_document_fits_the_meta_schema(found: dict[str, Any]) -> None:
    assert found["refused"] is None


def test_a_document_that_does_not_fit_is_refused(
    node: Node, document: dict[str, Any], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(document | {"servers": [{"url": 7}]}))
    script = (
        'const { validateOpenRPCDocument } = require("@open-rpc/schema-utils-js");'
        f"const said = validateOpenRPCDocument(require({json.dumps(str(wrong))}));"
        "console.log(said === true)"
    )
    assert node.run("-e", script).strip() == "false"


def test_it_dereferences_to_the_end(found: dict[str, Any], document: dict[str, Any]) -> None:
    assert found["references"] == 0
    assert found["methods"] == [method["name"] for method in document["methods"]]


@pytest.mark.parametrize("index", range(len(CALLS)), ids=[str(call[:2]) for call in CALLS])
def test_it_judges_calls_as_the_manager_does(found: dict[str, Any], index: int) -> None:
    fits = CALLS[index][2]
    assert (found["verdicts"][index] == []) is fits


def test_typings_are_written_and_compile(
    node: Node, document: dict[str, Any], tmp_path: Path
) -> None:
    node.run(TYPINGS, "-d", DOCUMENT, "--output-ts", tmp_path, "--name-ts", "typings")
    written = tmp_path / "typings.ts"
    node.run(TSC, *STRICT, written)
    text = written.read_text()
    for name in document["components"]["schemas"]:
        assert re.search(rf"export (type|interface) {name}\b", text), name
    assert re.search(r"^export type TaskStatus = \"", text, re.MULTILINE)


def test_the_generator_writes_a_client_with_every_method(
    node: Node, document: dict[str, Any], tmp_path: Path
) -> None:
    text = generate(node, DOCUMENT, tmp_path).read_text()
    for method in document["methods"]:
        assert f"public {method['name']}:" in text


def test_its_client_compiles_when_names_have_no_dots(
    node: Node, document: dict[str, Any], tmp_path: Path
) -> None:
    """A dot in the name of a method is no TypeScript in what it generates: the one limit."""
    for method in document["methods"]:
        method["name"] = method["name"].replace(".", "_")
    undotted = tmp_path / "undotted.json"
    undotted.write_text(json.dumps(document))
    client = generate(node, undotted, tmp_path)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    node.run(TSC, *STRICT, *MODULES, client)


def generate(node: Node, document: Path, folder: Path) -> Path:
    """Run @open-rpc/generator.

    :returns: the source of the client
    """
    client = {"type": "client", "name": "kaiju", "language": "typescript"}
    config = folder / "generator.json"
    config.write_text(
        json.dumps(
            {"openrpcDocument": str(document), "outDir": str(folder), "components": [client]}
        )
    )
    node.run(GENERATOR, "generate", "-c", config)
    return folder / "client/typescript/src/index.ts"
