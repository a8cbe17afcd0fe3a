"""docs/api/*.json are the contract: valid, made from this code, and no break passes unnamed."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from comfyline.contract.comfy_v2.openapi import document as comfy
from comfyline.contract.problems import PROBLEMS
from comfyline.contract.v1.asyncapi import document as asyncapi
from comfyline.contract.v1.examples import EXAMPLES
from comfyline.contract.v1.messages import RECEIVED, SENT
from comfyline.contract.v1.openapi import document as openapi
from comfyline.contract.v1.operations import OPERATIONS
from comfyline.contract.v1.problem import Problem
from tests.support.contract_changes import asyncapi_changes, openapi_changes, unnamed
from tests.support.documents import ROOT
from tools.contract_documents import BASELINE, DOCUMENTS, FOLDER, written
from tools.reference_pages import HTTP, LIVE, SOCKET, http_page, live_page, socket_page

# The AsyncAPI project's own schema of version 3.0.0, from its npm package @asyncapi/specs 6.11.1.
ASYNCAPI_SCHEMA = Path(__file__).with_name("asyncapi_schema") / "3.0.0.json.gz"
# No release has had comfy.json.
COMPARED = {"openapi.json": openapi_changes, "asyncapi.json": asyncapi_changes}
HOW_TO = """Breaking changes of the public contract. Undo them, or name each one in CHANGELOG.md
under Unreleased, with its place in backticks and what a caller must do:"""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_committed_document_is_made_from_this_code(name: str) -> None:
    # A plain comparison, since the difference of two long texts would be shown at length.
    is_current = (FOLDER / name).read_text() == written(name)
    assert is_current, f"docs/api/{name} is not what the code says; run: make docs"


def test_the_pages_to_read_are_made_from_this_code() -> None:
    made = {LIVE: live_page(), SOCKET: socket_page(), HTTP: http_page()}
    old = [path.name for path, text in made.items() if path.read_text() != text]
    assert old == [], "run: make docs"


@pytest.mark.parametrize(
    ("types", "name"), [("http.ts", "openapi.json"), ("live.ts", "asyncapi.json")]
)
def test_the_types_of_the_typescript_client_are_made_from_this_document(
    types: str, name: str
) -> None:
    """The client's own tests compare the types themselves; this test needs no Node."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    text = (ROOT / "clients" / "typescript" / "src" / "generated" / types).read_text()
    is_current = f"// {name}: sha256 {digest}\n" in text
    assert is_current, f"clients/typescript/src/generated/{types} is out of date; run: make docs"


@pytest.mark.parametrize("name", COMPARED)
def test_a_breaking_change_is_named_in_the_changelog(name: str) -> None:
    released = json.loads((BASELINE / name).read_text())
    changes = COMPARED[name](released, DOCUMENTS[name]())
    missing = unnamed(changes, (ROOT / "CHANGELOG.md").read_text())
    assert not missing, "\n".join([HOW_TO, *(f"- {change}" for change in missing)])


@pytest.mark.parametrize("document", [openapi, comfy], ids=["v1", "comfy"])
def test_the_openapi_document_is_valid(document: Callable[[], dict[str, Any]]) -> None:
    assert list(OpenAPIV31SpecValidator(document()).iter_errors()) == []


def test_the_asyncapi_document_is_valid() -> None:
    schema = json.loads(gzip.decompress(ASYNCAPI_SCHEMA.read_bytes()))
    errors = jsonschema_rs.Draft7Validator(schema).iter_errors(asyncapi())
    assert [error.message for error in errors] == []


OURS = {"openapi": openapi(), "asyncapi": asyncapi()}
both = pytest.mark.parametrize("document", OURS.values(), ids=OURS)
# Words of which a quantity's description must have one, by how the field's name ends.
UNITS = {"seconds": "second", "bytes": "byte", "width": "pixel", "height": "pixel"}
# Numbers of requests without a largest one, and why.
UNBOUNDED = {
    "TextToImageRequest.batch_size": "a key may have another limit",
    "Subscribe.after": "any version is a number",
}


def fields(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every field of every model: `<model>.<field>`."""
    return {
        f"{model}.{field}": about
        for model, schema in document["components"]["schemas"].items()
        for field, about in schema["properties"].items()
    }


def says(about: dict[str, Any], *words: str) -> bool:
    """Whether the field's schema, or one of its alternatives, has one of the words."""
    return any(word in part for part in (about, *about.get("anyOf", ())) for word in words)


def kinds(about: dict[str, Any]) -> set[str]:
    return {part.get("type") for part in (about, *about.get("anyOf", ()))} - {None, "null"}


@pytest.mark.parametrize("document", [*OURS.values(), comfy()], ids=DOCUMENTS)
def test_every_model_and_field_has_a_description(document: dict[str, Any]) -> None:
    parts = {**document["components"]["schemas"], **fields(document)}
    assert [name for name, about in parts.items() if not about.get("description")] == []


@both
def test_every_field_has_an_example(document: dict[str, Any]) -> None:
    """A field that has listed values, or holds a model whose fields have examples, needs none."""
    assert [
        name
        for name, about in fields(document).items()
        if not says(about, "examples", "const", "enum") and "$ref" not in str(about)
    ] == []


@both
def test_every_number_has_bounds_and_every_quantity_a_unit(document: dict[str, Any]) -> None:
    numbers = {n: a for n, a in fields(document).items() if kinds(a) & {"integer", "number"}}
    assert [name for name, about in numbers.items() if not says(about, "minimum")] == []
    sent = [name for name in numbers if "Request." in name or name.startswith("Subscribe.")]
    unbounded = {name for name in sent if not says(numbers[name], "maximum")}
    assert unbounded <= UNBOUNDED.keys()
    for name, about in numbers.items():
        for ending, unit in UNITS.items():
            if name.endswith(ending):
                assert unit in about["description"], name


def test_every_text_of_a_request_has_a_bound() -> None:
    free = [
        name
        for name, about in fields(openapi()).items()
        if "Request." in name and kinds(about) == {"string"}
        if not says(about, "maxLength", "pattern", "enum")
    ]
    assert free == []


def test_every_operation_is_described_with_samples() -> None:
    tags = {tag["name"] for tag in openapi()["tags"] if tag["description"]}
    for path, methods in openapi()["paths"].items():
        for method, about in methods.items():
            assert about["summary"], (method, path)
            assert about["description"]
            assert set(about["tags"]) <= tags
            languages = [sample["lang"] for sample in about["x-codeSamples"]]
            is_for_tools = not path.startswith("/api/")
            assert languages == ["Shell", *([] if is_for_tools else ["Python", "TypeScript"])]


def test_every_parameter_header_and_answer_has_a_description_and_an_example() -> None:
    for methods in openapi()["paths"].values():
        for about in methods.values():
            headers = [h for a in about["responses"].values() for h in a["headers"].values()]
            for part in (*about["parameters"], *headers):
                assert part["description"]
                assert says(part["schema"], "examples", "const"), part
            for status, answer in about["responses"].items():
                assert answer["description"], (about["operationId"], status)


def test_every_refusal_has_an_example_of_each_of_its_codes() -> None:
    examples = openapi()["components"]["examples"]
    for operation in OPERATIONS.values():
        for code in operation.codes:
            Problem.model_validate(examples[code]["value"])
            assert examples[code]["value"]["status"] == PROBLEMS[code].status
    assert {code for one in OPERATIONS.values() for code in one.codes} == examples.keys()


@pytest.mark.parametrize(
    ("model", "example"), EXAMPLES.items(), ids=lambda part: getattr(part, "__name__", "")
)
def test_the_example_of_a_model_has_a_value_for_every_field(
    model: type[BaseModel], example: dict[str, Any]
) -> None:
    assert json.loads(model.model_validate(example).model_dump_json(exclude_unset=True)) == example
    assert set(example) == set(model.model_fields)


def test_every_message_is_described_with_an_example() -> None:
    for name, message in asyncapi()["components"]["messages"].items():
        assert message["summary"], name
        assert message["examples"]
    channel = asyncapi()["channels"]["live"]
    for told in ("x-handshake-refusals", "x-close-codes"):
        assert all(channel[told].values())


def test_the_server_is_the_folder_of_the_document() -> None:
    """Whatever base path the deployment has: that of a stage, of the emulator, or none."""
    (server,) = openapi()["servers"]
    for base in (
        "https://a.example",
        "https://a.example/prod",
        "http://b.example/_aws/execute-api/1",
    ):
        assert urljoin(f"{base}/openapi.json", server["url"]).rstrip("/") == base


def test_every_problem_code_is_listed() -> None:
    about, live = openapi()["info"]["description"], asyncapi()["info"]["description"]
    for code, kind in PROBLEMS.items():
        assert (f"| `{code}` | {kind.status} |" in about) == (kind.status is not None)
        assert (f"| `{code}` |" in live) == kind.on_socket


def test_every_operation_answers_with_the_codes_that_it_lists() -> None:
    paths = openapi()["paths"]
    for (method, path), operation in OPERATIONS.items():
        answers = paths[path][method.lower()]["responses"]
        assert [int(status) for status in answers] == operation.statuses
        for code in operation.codes:
            assert f"`{code}`" in answers[str(PROBLEMS[code].status)]["description"]


@pytest.mark.parametrize(
    ("model", "example"),
    [(model, one) for model, shown in {**RECEIVED, **SENT}.items() for one in shown],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_an_example_is_what_travels(model: type[BaseModel], example: dict[str, Any]) -> None:
    message = model.model_validate(example)
    assert json.loads(message.model_dump_json(exclude_none=True)) == example
    schemas = asyncapi()["components"]["schemas"]
    text = json.dumps({"$ref": f"#/$defs/{model.__name__}", "$defs": schemas})
    schema = json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    jsonschema_rs.validate(schema, example)
